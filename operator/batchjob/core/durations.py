"""How long items took, as a sketch that can be added up: counts in buckets that grow by a fixed ratio. Pure.

It is DDSketch (Masson, Rim, Lee: VLDB 2019) with bounds: a quantile of it is at most 5 % off, whatever the
distribution, and the sum of two sketches is the sketch of both. So a worker adds to a few counters, a run has one small
map, and a report of a week adds up maps.
"""

from collections.abc import Mapping
from math import ceil, log
from typing import Final

ACCURACY: Final = 0.05  # of a quantile: nobody acts on less, and a day fits into 184 buckets
_RATIO: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG: Final = log(_RATIO)
SHORTEST_SECONDS: Final = 0.001  # what is shorter is in bucket 0
LONGEST_SECONDS: Final = 86_400.0  # the most that spec.itemTimeoutSeconds may be
LAST: Final = ceil(log(LONGEST_SECONDS / SHORTEST_SECONDS) / _LOG)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration, from 0 to LAST."""
    if seconds <= SHORTEST_SECONDS:
        return 0
    return min(ceil(log(seconds / SHORTEST_SECONDS) / _LOG), LAST)


def quantile(sketch: Mapping[int, int], share: float) -> float | None:
    """Seconds within which that share (0 to 1) of what was counted lies; None where nothing was."""
    left = share * sum(sketch.values())
    found = None
    for bucket in sorted(bucket for bucket, number in sketch.items() if number > 0):
        found = SHORTEST_SECONDS * (1 if bucket == 0 else 2 * _RATIO**bucket / (_RATIO + 1))
        left -= sketch[bucket]
        if left <= 0:
            break
    return found
