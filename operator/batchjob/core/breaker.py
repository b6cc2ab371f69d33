"""The circuit breaker of a run, as operator and store speak of it: what trips it, and what it says when it has. Pure.

It trips over items that fail and over a budget that is used up. The store decides (`breaker_watch.lua`), because only
there the next grant can be refused in the very step that was one too many; the operator decides what follows.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from batchjob.api.policies import FailurePolicy
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.reasons import Reason

ALL: Final = 100  # percent: no more than all can fail, so nothing ever trips


class Trip(NamedTuple):
    """That it tripped: so many of the last items had failed, and so much was allowed."""

    failed: int
    items: int
    percent: int
    at: datetime  # by the store's clock


class Spent(NamedTuple):
    """That it tripped: so many tokens were used, and so many were allowed."""

    tokens: int
    budget: int
    at: datetime  # by the store's clock


def breaker_of(spec: BatchJobSpec) -> str:
    """The breaker as the store keeps it: percent/window/least, and /tokens with a budget; empty: nothing trips it."""
    policy = spec.failure_policy or FailurePolicy()
    budget = spec.ai_batch.budget if spec.ai_batch else None
    if policy.max_failed_percent >= ALL and budget is None:
        return ""
    watched = f"{policy.max_failed_percent}/{policy.window_items}/{policy.min_items}"
    return f"{watched}/{budget.tokens}" if budget else watched


def read_trip(text: str) -> Trip | Spent:
    """From what the store wrote; ValueError for anything else."""
    kind, _, rest = text.partition(" ")
    if kind == "tokens":
        tokens, budget, at_ms = map(int, rest.split("/"))
        return Spent(tokens, budget, _time(at_ms))
    failed, items, percent, at_ms = map(int, text.split("/"))
    if items < 1:
        raise ValueError(f"a circuit breaker cannot trip over {items} items")
    return Trip(failed, items, percent, _time(at_ms))


def reason_of(trip: Trip | Spent) -> Reason:
    """Why the run is held, as one word."""
    return Reason.FAILURE_THRESHOLD if isinstance(trip, Trip) else Reason.BUDGET_EXCEEDED


def describe(trip: Trip | Spent, classes: Sequence[str]) -> str:
    """`30 of the last 100 items failed, which is 30% …`; `classes`: those of the last errors, newest first."""
    if isinstance(trip, Spent):
        return f"The run has used {trip.tokens} tokens, and spec.aiBatch.budget.tokens is {trip.budget}."
    share = f"{100 * trip.failed / trip.items:.4g}%"
    said = (
        f"{trip.failed} of the last {trip.items} items failed, which is {share}; spec.failurePolicy.maxFailedPercent "
        f"allowed {trip.percent}"
    )
    if not classes:
        return f"{said}."
    name, times = Counter(classes).most_common(1)[0]
    return f"{said}. Most often: {name} ({times} of the last {len(classes)} that failed)."


def _time(at_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{at_ms} is no time") from error
