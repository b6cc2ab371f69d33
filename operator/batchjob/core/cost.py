"""What the tokens of a run cost. Pure."""

from collections.abc import Mapping
from typing import Final

from batchjob.api.blocks.ai_batch import Prices
from batchjob.api.v1alpha1 import BatchJobSpec

TOKENS: Final = ("promptTokens", "completionTokens")  # of the usage: what went to a model, and what it said
MOST: Final = 2**63 - 1  # that a status can say


def prices_of(spec: BatchJobSpec) -> Prices | None:
    """What its endpoint asks; None where nobody said."""
    return spec.ai_batch.model.prices if spec.ai_batch else None


def cost_of(prices: Prices, usage: Mapping[str, int]) -> float:
    """The cost in millionths of the currency: so much is a token, at a price for a million."""
    asked, answered = (usage.get(name, 0) for name in TOKENS)
    return asked * prices.input_per_million + answered * prices.output_per_million


def with_cost(spec: BatchJobSpec, usage: Mapping[str, int]) -> dict[str, int]:
    """The usage and, where there are prices, its cost in whole millionths of the currency, such as `costMicroUSD`."""
    prices = prices_of(spec)
    cost = {f"costMicro{prices.currency}": min(round(cost_of(prices, usage)), MOST)} if prices else {}
    return {**usage, **cost}
