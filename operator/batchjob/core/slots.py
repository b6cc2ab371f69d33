"""How many worker pods a run can use. Pure."""

from math import ceil
from typing import Final

from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.items import RunState
from batchjob.core.snapshot import Snapshot

# An item that waits for its turn of a rate takes no longer than this, we assume: what it takes more costs pods that
# idle, what it takes less costs nothing.
RATED_ITEM_SECONDS: Final = 10.0
# Pods that wait for longer than this may as well go and come back: twice what Kubernetes needs to start them.
IDLE_SECONDS: Final = 60.0
EARLY_SECONDS: Final = 10.0  # pods come back so long before they are needed


def fed_slots(per_minute: float, concurrency: int = 1) -> int:
    """Pods, of so many items at once each, that a rate of items can feed."""
    return max(1, ceil(per_minute / 60 * RATED_ITEM_SECONDS / concurrency))


def wanted_slots(spec: BatchJobSpec, open_items: int | None, per_minute: float | None) -> int:
    """Pods for `open_items` (None: not known yet) of which `per_minute` (None: any number) may start.

    Never more than items, and never more than the rate can feed.
    """
    slots = spec.parallelism if open_items is None else min(spec.parallelism, open_items)
    if per_minute is not None:
        slots = min(slots, fed_slots(per_minute, spec.concurrency))
    return max(slots, 1)


def idle_seconds(snapshot: Snapshot) -> float:
    """For how long no pod is needed, because every item waits for a later attempt; 0 where one is.

    While the source is read its loader needs its pod, whatever the items do.
    """
    counts = snapshot.counts
    if snapshot.state is not RunState.OPEN or counts.waiting or counts.active or not counts.delayed:
        return 0.0
    return max(0.0, (snapshot.next_due_ms or 0) / 1000 - EARLY_SECONDS)
