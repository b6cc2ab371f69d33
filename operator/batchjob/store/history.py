"""The runs that have ended: a record each, for 90 days, whatever becomes of their items and of the BatchJobs.

No worker's user may reach these keys; the operator writes and reads them. An index by owner serves a report, which may
see the records of one owner alone. The keys share a hash tag, so that one script writes all of them in a cluster too.
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from batchjob.core.records import KEPT_SECONDS, RECORD_BYTES, RunRecord, owner_key
from batchjob.store import keys, scripts
from batchjob.store.connection import Connection

RECORDS_KEPT: Final = 100_000  # 50 MB where records are as they are; a thousand runs a day for 90 days and a little
TOTALS_KEPT: Final = 10_000  # queues times phases: whoever names queues that are not there fills no memory
PAGE: Final = 500  # records a call

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(RunRecord).decode


class History:
    """The records. Errors of every call: StoreUnavailable, StoreNotReady; StoreFull for `put`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, record: RunRecord) -> None:
        """Remember a run; of one that is known already, what is said now."""
        body = _encode(record)
        if len(body) > RECORD_BYTES:  # whatever was counted of it, that it ended is to be known
            body = _encode(msgspec.structs.replace(record, durations={}, usage={}, failures={}))
        names = (*keys.history_keys(owner_key(record.namespace, record.owner)), keys.HISTORY_TOTALS)
        arguments = (record.uid, int(record.ended * 1000), body, KEPT_SECONDS * 1000, RECORDS_KEPT)
        kind = f"{record.queue}:{record.phase}"
        await self._connection.command("EVALSHA", scripts.HISTORY_PUT.sha, 4, *names, *arguments, kind, TOTALS_KEPT)

    async def totals(self) -> dict[tuple[str, str], int]:
        """How many runs ended, ever, by queue and phase; of a queue that was named, whether it is there or not."""
        found = await self._connection.command("HGETALL", keys.HISTORY_TOTALS)
        counts = {bytes(kind).decode(): int(count) for kind, count in zip(found[::2], found[1::2], strict=True)}
        return {(kind.partition(":")[0], kind.partition(":")[2]): count for kind, count in counts.items()}

    async def read(self, since: float, until: float, owner: str | None = None) -> AsyncIterator[RunRecord]:
        """Records of runs that ended in [since, until), the oldest first; of all, or of one owner.

        `owner`: as `core.records.owner_key` names it.
        """
        records, ended, of_owner = keys.history_keys(owner or "")
        index = ended if owner is None else of_owner
        span = (int(since * 1000), f"({int(until * 1000)}")
        uids = await self._connection.command("ZRANGE", index, *span, "BYSCORE")
        for first in range(0, len(uids), PAGE):
            for body in await self._connection.command("HMGET", records, *uids[first : first + PAGE]):
                if body is not None:  # it was the oldest of too many
                    yield _decode(body)

    async def begins(self) -> float | None:
        """When the oldest run ended that is remembered, whoever's; None where none is."""
        _, ended, _ = keys.history_keys("")
        first = await self._connection.command("ZRANGE", ended, 0, 0, "WITHSCORES")
        return float(first[1]) / 1000 if first else None
