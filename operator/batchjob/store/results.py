"""Results and dead letters of a run, read with plain commands.

A run may be allowed to read another's keys, but not to run scripts on it.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from batchjob.errors import RunGone, StoreDamaged
from batchjob.store.connection import Connection, answered
from batchjob.store.keys import run_key
from batchjob.store.snapshot import DeadLetter, ItemResult, read_dead_letter

BATCH: Final = 50  # items a round trip: each may hold a result or a record of 1 MiB and more
BATCH_BYTES: Final = 2 * 2**20  # of results, about: who reads them slowly has them in memory all the time

_unpack = msgspec.msgpack.Decoder(tuple[str, str])


def read_result(position: int, packed: bytes) -> ItemResult:
    """A result from its packed form. Raises StoreDamaged if a tenant wrote nonsense into its own keys."""
    try:
        item_id, result = _unpack.decode(packed)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise StoreDamaged(f"the result of item {position} is damaged: {error}") from error
    return ItemResult(position, item_id, result.encode())


async def iterate(
    connection: Connection, uid: str, first: int = 0, end: int | None = None
) -> AsyncIterator[ItemResult]:
    """Results in the order of positions from `first` to before `end`; items without one are left out.

    Raises RunGone when the run is unknown, or is deleted or replaced on the way: never a silent end.
    """
    meta, results = run_key(uid, "meta"), run_key(uid, "results")
    epoch, total, loaded, size = await connection.command("HMGET", meta, "epoch", "total", "loaded", "result_bytes")
    items = int(total or loaded or 0)  # items may be done before the source is loaded
    stop = items if end is None else min(end, items)
    if epoch is None:
        raise RunGone(f"the store does not know run {uid}: it was deleted, or the store was emptied")
    if not int(size or 0):
        return  # items are often done without one: nobody has to look at each of millions
    begin, many = first, max(1, min(BATCH, BATCH_BYTES * items // int(size)))
    while begin < stop:
        positions = range(begin, min(begin + many, stop))
        # The epoch is read after the results, so that a deletion in between cannot pass for missing results.
        found, now = await connection.commands([("HMGET", results, *positions), ("HGET", meta, "epoch")])
        if answered(now) != epoch:
            raise RunGone(f"run {uid} was deleted while its results were read")
        begin = positions.stop
        read = sum(len(packed) for packed in answered(found) if packed)
        many = max(1, min(BATCH, 2 * many, many * BATCH_BYTES // max(read, 1)))
        for position, packed in zip(positions, answered(found), strict=True):
            if packed is not None:
                yield read_result(position, packed)


async def read_parts(connection: Connection, uid: str, key: str) -> dict[str, bytes]:
    """A key of descriptions of parts: name → JSON."""
    flat = await connection.command("HGETALL", run_key(uid, key))
    return {name.decode(): part for name, part in zip(flat[::2], flat[1::2], strict=True)}


async def read_letters(connection: Connection, uid: str, limit: int, cursor: int) -> list[DeadLetter]:
    """Dead letters in the order of positions, from position `cursor` on; go on at the last position + 1.

    Fewer than `limit` are the last ones: a position whose record was lost makes no page shorter.
    """
    letters: list[DeadLetter] = []
    while True:
        asked = limit - len(letters)
        found = await connection.command("ZRANGE", run_key(uid, "failed"), cursor, "+inf", "BYSCORE", "LIMIT", 0, asked)
        positions = [int(position) for position in found]
        packed = await connection.command("HMGET", run_key(uid, "dead"), *positions) if positions else []
        records = zip(positions, packed, strict=True)
        letters += [read_dead_letter(position, record) for position, record in records if record is not None]
        if len(positions) < asked or len(letters) == limit:
            return letters
        cursor = positions[-1] + 1


async def iterate_letters(connection: Connection, uid: str) -> AsyncIterator[DeadLetter]:
    """Dead letters of a run that changes no more, in the order of positions.

    Raises RunGone when the run is unknown, is deleted or replaced on the way, or has lost some: never a silent end.
    """
    meta = run_key(uid, "meta")
    epoch = await connection.command("HGET", meta, "epoch")
    if epoch is None:
        raise RunGone(f"the store does not know run {uid}: it was deleted, or the store was emptied")
    counted = await connection.command("HGET", run_key(uid, "counters"), "failed")
    cursor, read = 0, 0
    while page := await read_letters(connection, uid, BATCH, cursor):
        for letter in page:
            yield letter
        read, cursor = read + len(page), page[-1].position + 1
    if read != int(counted or 0) or await connection.command("HGET", meta, "epoch") != epoch:
        raise RunGone(f"dead letters of run {uid} were lost, or it was deleted while they were read")
