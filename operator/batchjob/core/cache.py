"""Whose cache a run uses, and how much of it stays where all of them have too much. Pure."""

import hashlib
from collections.abc import Mapping

from batchjob.api.run import Run


def cache_name(run: Run) -> str:
    """Names the cache that an owner's runs of a namespace share; others cannot reach it.

    Of the namespace too: where no policy checks `spec.owner`, it is but a claim.
    """
    return hashlib.sha256(f"{run.namespace}\0{run.effective.owner or ''}".encode()).hexdigest()[:32]


def shares(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """What each cache may keep of those that have to let something go, so that all together have `limit` at most.

    The largest are cut to one level, and who has less than that loses nothing.
    """
    left, many = limit, len(sizes)
    for size in sorted(sizes.values()):
        if size * many > left:
            level = left // many
            return {name: level for name, found in sizes.items() if found > level}
        left, many = left - size, many - 1
    return {}
