"""The circuit breaker of a run, as operator and store speak of it: what trips it, and what it says when it has. Pure.

The store decides (`watch_failures.lua`), because only there the next grant can be refused in the very step in which
one item too many has failed; the operator decides what follows.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from batchjob.api.policies import FailurePolicy

ALL: Final = 100  # percent: no more than all can fail, so nothing ever trips


class Trip(NamedTuple):
    """That it tripped: so many of the last items had failed, and so much was allowed."""

    failed: int
    items: int
    percent: int
    at: datetime  # by the store's clock


def breaker_of(policy: FailurePolicy | None) -> str:
    """The breaker as the store keeps it: percent/window/least; empty where nothing can trip it."""
    if policy is None or policy.max_failed_percent >= ALL:
        return ""
    return f"{policy.max_failed_percent}/{policy.window_items}/{policy.min_items}"


def read_trip(text: str) -> Trip:
    """From what the store wrote; ValueError for anything else."""
    failed, items, percent, at_ms = map(int, text.split("/"))
    if items < 1:
        raise ValueError(f"a circuit breaker cannot trip over {items} items")
    try:
        return Trip(failed, items, percent, datetime.fromtimestamp(at_ms / 1000, UTC))
    except (OverflowError, OSError) as error:
        raise ValueError(f"{at_ms} is no time") from error


def describe(trip: Trip, classes: Sequence[str]) -> str:
    """`30 of the last 100 items failed, which is 30% …`; `classes`: those of the last errors, newest first."""
    share = f"{100 * trip.failed / trip.items:.4g}%"
    said = (
        f"{trip.failed} of the last {trip.items} items failed, which is {share}; spec.failurePolicy.maxFailedPercent "
        f"allowed {trip.percent}"
    )
    if not classes:
        return f"{said}."
    name, times = Counter(classes).most_common(1)[0]
    return f"{said}. Most often: {name} ({times} of the last {len(classes)} that failed)."
