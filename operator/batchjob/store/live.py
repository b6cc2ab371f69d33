"""Events for people: a stream an owner, from which every gateway reads what it missed, and a bell for all of them.

The operator alone writes here; no worker's user may reach these keys. What was told of a BatchJob is compared and
changed in one step with the events, so two operators that follow each other tell nothing twice. A gateway waits at the
bell, one connection however many watch, and reads the streams of those owners that somebody watches. The keys share a
hash tag, so that one script writes all of them in a cluster too; all of them have a TTL.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from batchjob.core.events import BEGINNING, LiveEvent, RunEvent, Told
from batchjob.store import keys, scripts
from batchjob.store.connection import BLOCK_LIMIT_SECONDS, Connection, answered
from batchjob.store.events import PAGE, build_run_event

EVENTS_KEPT: Final = 10_000  # of an owner, about: 40 minutes of one BatchJob's progress, 2 MB
EVENTS_KEPT_MS: Final = 24 * 3_600_000  # after the last
TOLD_KEPT_MS: Final = 7 * 24 * 3_600_000  # a BatchJob of which nothing is told for so long counts from 1 again
RINGS_KEPT: Final = 5_000  # about: who misses more reads the streams of all that it watches

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Told).decode


class Record(NamedTuple):
    """What the store has of the telling of one BatchJob: `raw` is compared when it is changed."""

    raw: bytes
    told: Told


class Telling(NamedTuple):
    """What is to be told of a BatchJob, in place of `before`."""

    uid: str
    owner: str  # as `core.records.owner_key` names it
    job: str
    before: Record
    told: Told
    events: Sequence[LiveEvent]


class LiveEntry(NamedTuple):
    """One event as it lies in an owner's stream; `data` is JSON."""

    id: str  # ascending in the stream of an owner
    job: str
    type: str
    time_ms: int
    seq: int
    data: bytes
    uid: str = ""  # of the BatchJob: one that is made again under the same name is another


NOTHING: Final = Record(b"", Told())


class LiveStore:
    """The streams. Errors of every call: StoreUnavailable, StoreNotReady; StoreFull for `tell`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def told(self, uids: Sequence[str]) -> list[Record]:
        """What was told of some BatchJobs."""
        if not uids:
            return []
        found = await self._connection.command("MGET", *map(keys.live_told_key, uids))
        return [_record(raw) for raw in found]

    async def run_events(self, cursors: Sequence[tuple[str, str]]) -> list[list[RunEvent]]:
        """Of some runs (uid, id) the events after the one with that id, a page at most; in one round trip a server."""
        batch = [("XRANGE", keys.run_key(uid, "events"), f"({after}", "+", "COUNT", PAGE) for uid, after in cursors]
        answers = await self._connection.commands(batch) if batch else []
        # A run's user may write its own keys by hand: one of another type is that run's trouble alone.
        lists = [[] if isinstance(answer, Exception) else answer for answer in answers]
        return [[build_run_event(*entry) for entry in found] for found in lists]

    async def tell(self, tellings: Sequence[Telling]) -> list[Record]:
        """Tell of some BatchJobs; what was told of each, from now on or by somebody else meanwhile."""
        answers = await self._connection.commands([_command(telling) for telling in tellings]) if tellings else []
        return [
            Record(_encode(telling.told), telling.told) if answered(answer) is None else _record(answer)
            for telling, answer in zip(tellings, answers, strict=True)
        ]

    async def last(self, owner: str) -> str:
        """The id of the last event of an owner."""
        return await self._last(keys.live_events_key(owner))

    async def read(self, owner: str, after: str) -> list[LiveEntry]:
        """Events of an owner after the one with that id, oldest first, a page at most."""
        [found] = await self.read_many([(owner, after)])
        return found

    async def read_many(self, cursors: Sequence[tuple[str, str]]) -> list[list[LiveEntry]]:
        """The same of several owners (owner, id), in one round trip."""
        return await self._ranges([(owner, f"({after}") for owner, after in cursors])

    async def read_from(self, owner: str, first: str) -> list[LiveEntry]:
        """The same with that one, if it is still there."""
        [found] = await self._ranges([(owner, first)])
        return found

    async def last_ring(self) -> str:
        """The id of the last ring of the bell."""
        return await self._last(keys.LIVE_BELL)

    async def wait(self, after: str, seconds: float = BLOCK_LIMIT_SECONDS) -> tuple[str, set[str] | None]:
        """Wait for the bell, at most so long and 5 s: the id of its last ring, and of which owners something was told.

        None where that cannot be said: it rang more often than is kept.
        """
        block = max(round(1000 * min(seconds, BLOCK_LIMIT_SECONDS)), 1)
        answer = await self._connection.command(
            "XREAD", "COUNT", RINGS_KEPT, "BLOCK", block, "STREAMS", keys.LIVE_BELL, after
        )
        if answer is None:
            return after, set()
        [[_, rings]] = answer
        owners = {fields[1].decode() for _, fields in rings}
        return rings[-1][0].decode(), None if len(rings) == RINGS_KEPT else owners

    async def _last(self, key: str) -> str:
        found = await self._connection.command("XREVRANGE", key, "+", "-", "COUNT", 1)
        return found[0][0].decode() if found else BEGINNING

    async def _ranges(self, firsts: Sequence[tuple[str, str]]) -> list[list[LiveEntry]]:
        batch = [("XRANGE", keys.live_events_key(owner), first, "+", "COUNT", PAGE) for owner, first in firsts]
        found = [answered(answer) for answer in await self._connection.commands(batch)]
        return [[_entry(entry_id, fields[1::2]) for entry_id, fields in entries] for entries in found]


def _record(raw: bytes | None) -> Record:
    return Record(raw, _decode(raw)) if raw else NOTHING


def _entry(entry_id: bytes, fields: list[bytes]) -> LiveEntry:
    job, kind, time_ms, seq, data, uid = fields
    return LiveEntry(entry_id.decode(), job.decode(), kind.decode(), int(time_ms), int(seq), data, uid.decode())


def _command(telling: Telling) -> tuple[str | bytes | int, ...]:
    names = keys.live_told_key(telling.uid), keys.live_events_key(telling.owner), keys.LIVE_BELL
    kept = TOLD_KEPT_MS, EVENTS_KEPT_MS, EVENTS_KEPT, RINGS_KEPT
    flat: list[str | bytes | int] = []
    for event in telling.events:
        flat += (telling.job, event.type, event.time_ms, event.seq, _encode(event.data), telling.uid)
    head = telling.before.raw, _encode(telling.told), telling.owner
    return "EVALSHA", scripts.LIVE_PUT.sha, len(names), *names, *head, *kept, *flat
