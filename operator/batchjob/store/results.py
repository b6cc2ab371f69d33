"""Results of a run, read with plain commands: a run may be allowed to read another's, but not to run scripts on it."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from batchjob.errors import RunGone
from batchjob.store.connection import Connection, answered
from batchjob.store.keys import run_key
from batchjob.store.snapshot import ItemResult

BATCH: Final = 500  # items a round trip

_unpack = msgspec.msgpack.Decoder(tuple[str, str])


async def iterate(connection: Connection, uid: str) -> AsyncIterator[ItemResult]:
    """Results in the order of positions; items without one are left out.

    Raises RunGone when the run is unknown, or is deleted or replaced on the way: never a silent end.
    """
    meta, results = run_key(uid, "meta"), run_key(uid, "results")
    epoch, total = await connection.command("HMGET", meta, "epoch", "total")
    if epoch is None:
        raise RunGone(f"the store does not know run {uid}: it was deleted, or the store was emptied")
    for first in range(0, int(total or 0), BATCH):
        positions = range(first, min(first + BATCH, int(total)))
        # The epoch is read after the results, so that a deletion in between cannot pass for missing results.
        found, now = await connection.commands([("HMGET", results, *positions), ("HGET", meta, "epoch")])
        if answered(now) != epoch:
            raise RunGone(f"run {uid} was deleted while its results were read")
        for position, packed in zip(positions, answered(found), strict=True):
            if packed is not None:
                item_id, result = _unpack.decode(packed)
                yield ItemResult(position, item_id, result.encode())
