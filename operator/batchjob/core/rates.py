"""Rates that many share: how much at once, how far apart. Pure.

The promise is about the receiver: never more than the limit in any minute. What is sent evenly arrives unevenly, so
a minute is planned a little longer than it is.
"""

import hashlib
from typing import Final, NamedTuple, Self

PLANNED_SECONDS: Final = 62.0  # for a minute: what is on its way may be overtaken by that much
SHARE: Final = 60  # of a minute's limit may come at once


class Rate(NamedTuple):
    """At most `burst` units at once, then one each `interval_us`."""

    interval_us: int
    burst: int

    @classmethod
    def per_minute(cls, limit: int | None) -> Self:
        """Any minute holds at most the burst and what was let go in it: together the limit. None: no limit."""
        if limit is None:
            return cls(0, 1)
        burst = max(1, limit // SHARE)
        return cls(round(PLANNED_SECONDS * 1_000_000 / (limit - burst + 1)), burst)


def rate_key(namespace: str, name: str) -> str:
    """Names a rate that the BatchJobs of a namespace share; others cannot reach it."""
    return hashlib.sha256(f"{namespace}\0{name}".encode()).hexdigest()[:32]
