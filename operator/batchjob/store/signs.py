"""Signs of life of workers: when each last renewed or finished something it holds.

A lease ends a fixed time after its worker was last heard, so that moment follows from its end; by the store's clock.
Who holds nothing, for there is nothing to do, gives no sign.
"""

import re
from collections.abc import Sequence
from typing import Final

from batchjob.store.connection import Connection
from batchjob.store.keys import run_key

MOST_LEASES: Final = 2000  # of a run; the latest
_OWNER: Final = re.compile(rb"\d+/\d+/\d+/\d+/(?:\d+/)?([^/]+)")  # as items.lua writes it


async def read_signs(connection: Connection, uids: Sequence[str]) -> dict[str, float]:
    """Worker → when it was last heard, in seconds since 1970, of some runs."""
    batch = [
        command
        for uid in uids
        for command in (
            ("HGET", run_key(uid, "meta"), "lease_ms"),
            ("ZRANGE", run_key(uid, "lease"), 0, MOST_LEASES - 1, "REV", "WITHSCORES"),
        )
    ]
    answers = await connection.commands(batch) if batch else []
    # A run's user may write its own keys by hand: one of another type is that run's trouble alone.
    read = [
        (uid, int(lease_ms), leases)
        for uid, lease_ms, leases in zip(uids, answers[::2], answers[1::2], strict=True)
        if isinstance(lease_ms, bytes) and lease_ms.isdigit() and isinstance(leases, list) and leases
    ]
    owners = await connection.commands([("HMGET", run_key(uid, "owner"), *leases[::2]) for uid, _, leases in read])
    found: dict[str, float] = {}
    for (_, lease_ms, leases), names in zip(read, owners, strict=True):
        for end_ms, owner in zip(leases[1::2], names if isinstance(names, list) else (), strict=False):
            if match := _OWNER.fullmatch(owner or b""):
                worker = match[1].decode(errors="replace")
                found[worker] = max(found.get(worker, 0.0), (float(end_ms) - lease_ms) / 1000)
    return found
