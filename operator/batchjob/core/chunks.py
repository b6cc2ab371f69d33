"""How many items travel under one lease. Pure."""

from math import ceil, exp
from typing import Final

# Items packed together, and so the most that one lease costs the price of one. Measured: from 64 to 256 the server's
# CPU an item falls by a third, and beyond no further.
LARGEST: Final = 256
MANY_ITEMS: Final = 64  # in the hands of one `process_many` that says nothing else
LOOK_AHEAD: Final = 4096  # items read before the size is chosen; a larger source has work for everybody anyway
SHARES: Final = 4  # chunks a worker, where the source is small: uneven items even out
# Work that is leased ahead, where items are slow enough to count in seconds. Longer would save few calls, and keep
# items from workers that have nothing to do.
LEASED_SECONDS: Final = 2.0


def chunk_size(total: int | None, parallelism: int) -> int:
    """Items in a chunk of a source of `total` items (None: more than `LOOK_AHEAD`) for so many workers."""
    if total is None:
        return LARGEST
    return min(max(ceil(total / (parallelism * SHARES)), 1), LARGEST)


def smoothed(pace: float, finished: int, seconds: float) -> float:
    """Items a second over about `LEASED_SECONDS`, after `finished` more in so many seconds.

    An exponential mean over time: a few slow items that happen to finish together do not look like a fast run.
    """
    weight = exp(-seconds / LEASED_SECONDS)
    return pace * weight + finished / seconds * (1 - weight)


def to_lease(pace: float, reach: int, held: int) -> int:
    """Items to lease for a worker that does `pace` items a second and holds `held` ahead of its slots.

    It keeps `LEASED_SECONDS` of work, at most a whole chunk, and at least twice the `reach` of one exchange; and it
    fills up once half of that is gone, so that chunks are taken in large pieces and not in crumbs.
    """
    ahead = max(2 * reach, min(ceil(pace * LEASED_SECONDS), LARGEST))
    return ahead - held if held <= ahead // 2 else 0
