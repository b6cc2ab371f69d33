"""How many items travel under one lease. Pure."""

from math import ceil
from typing import Final

LARGEST: Final = 64  # measured: the rate no longer grows beyond it, and what a lost worker takes along does
LOOK_AHEAD: Final = 4096  # items read before the size is chosen; a larger source has work for everybody anyway
SHARES: Final = 4  # chunks a worker, where the source is small: uneven items even out


def chunk_size(total: int | None, parallelism: int) -> int:
    """Items in a chunk of a source of `total` items (None: more than `LOOK_AHEAD`) for so many workers."""
    if total is None:
        return LARGEST
    return min(max(ceil(total / (parallelism * SHARES)), 1), LARGEST)
