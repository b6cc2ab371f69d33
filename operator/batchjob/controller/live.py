"""Events for people: a duty of the leader, beside the looks at BatchJobs and never in their way.

Four times a second at most, what moved is gone through: what became of items, as the runs' own events in the store say,
and where the BatchJobs stand. Both are told in the stream of the owner (see `core.events`, `store.live`), in two round
trips for hundreds of BatchJobs. The store remembers what was told, and refuses who tells it from an older memory: so
each turn is told once, also across restarts, and where two believe that they lead. What a leader could not tell before
its end the next one does, for it begins with a glance at all: the phase in the status says what is missing.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from batchjob import log
from batchjob.api.status import BatchJobStatus, Phase
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.core.events import BEGINNING, ENDS, PROGRESS_MS, Standing, Told, news, turn
from batchjob.core.records import owner_key
from batchjob.core.standings import build_standing
from batchjob.errors import ApiUnavailable, BatchJobError, KubernetesError
from batchjob.kube import BATCH_JOBS, Kube
from batchjob.metrics import LIVE_EVENTS
from batchjob.store import Store, Telling
from batchjob.store.events import PAGE
from batchjob.store.live import TOLD_KEPT_MS, Record

AT_ONCE: Final = 500  # BatchJobs of a round trip
PAUSE_SECONDS: Final = 1.0  # after an error
REST: Final = 4  # times as long as a pass: where very many move, people hear less often, and looks go on
LOOK_BACK: Final = timedelta(hours=1)  # an end that no leader told within this time nobody waits for any more

logger = log.get(__name__)


class Live:
    """Tells people what moves."""

    def __init__(self, kube: Kube, known: KnownBatchJobs, store: Store) -> None:
        self._kube = kube
        self._known = known
        self._store = store
        self._moved: dict[str, None] = {}  # uids, in order
        self._standings: dict[str, list[Standing]] = {}  # not told yet, by uid
        self._records: dict[str, Record] = {}  # by uid, of those that have not ended
        self._wake = asyncio.Event()

    def moved(self, uid: str) -> None:
        """Something became of the items of a run, or its BatchJob went and nothing is to be remembered of it."""
        self._moved[uid] = None
        self._wake.set()

    def turned(self, entry: Entry, body: dict[str, Any]) -> None:
        """A BatchJob has come into another phase."""
        if standing := read_standing(body):
            self._standings.setdefault(entry.uid, []).append(standing)
            self.moved(entry.uid)

    async def lead(self) -> None:
        """Tell, until cancelled."""
        horizon = datetime.now(UTC) - LOOK_BACK
        for entry in self._known.entries():
            if not entry.ended or (entry.end and entry.end > horizon):
                self.moved(entry.uid)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                began = time.monotonic()
                pause = PROGRESS_MS / 1000 if await self._pass() else PAUSE_SECONDS
                await asyncio.sleep(max(pause, REST * (time.monotonic() - began)))
        finally:
            for memory in (self._moved, self._standings, self._records):
                memory.clear()

    async def _pass(self) -> bool:
        """Go once through what moved; whether it went well. Nothing that goes wrong here may end the operator."""
        waiting, self._moved = iter(self._moved), {}
        well = True
        while well and (uids := list(islice(waiting, AT_ONCE))):
            taken = {uid: self._standings.pop(uid, []) for uid in uids}
            try:
                left = await self._tell(taken)
            except Exception as error:
                well, left = False, taken
                known = None if isinstance(error, BatchJobError) else error
                logger.warning("people cannot be told of what moves", error=str(error), exc_info=known)
            for uid, standings in left.items():
                if standings:
                    self._standings[uid] = [*standings, *self._standings.get(uid, ())]
                self.moved(uid)
        for uid in waiting:
            self.moved(uid)
        return well

    async def _tell(self, taken: dict[str, list[Standing]]) -> dict[str, list[Standing]]:
        """Tell of some BatchJobs; what is to be told with the next pass."""
        entries = list(self._there(taken))
        await self._remember([entry.uid for entry in entries])
        now_ms = time.time_ns() // 1_000_000
        seen = await self._store.live.run_events([(entry.uid, self._cursor(entry.uid, now_ms)) for entry in entries])
        tellings, left = list[Telling](), dict[str, list[Standing]]()
        for entry, events in zip(entries, seen, strict=True):
            job, record = f"{entry.namespace}.{entry.name}", self._records[entry.uid]
            standings = taken[entry.uid] or await self._standing(entry, record.told)
            found = news(job, record.told, events, standings, now_ms, more=len(events) == PAGE)
            if found.told != record.told:
                owner = owner_key(entry.namespace, entry.owner)
                tellings.append(Telling(entry.uid, owner, job, record, found.told, found.events))
            if found.again:
                left[entry.uid] = list(found.left)
        for telling, record in zip(tellings, await self._store.live.tell(tellings), strict=True):
            self._records[telling.uid] = record
            if record.told != telling.told:  # somebody else told meanwhile: again, from what is known now
                left[telling.uid] = taken[telling.uid]
            else:
                _count(telling)
        self._forget(entries, left)
        return left

    def _there(self, uids: Iterable[str]) -> Iterable[Entry]:
        for uid in uids:
            key = self._known.key_of(uid)
            entry = self._known.get(key) if key else None
            if entry is not None:
                yield entry
            else:
                self._records.pop(uid, None)

    async def _remember(self, uids: Sequence[str]) -> None:
        unknown = [uid for uid in uids if uid not in self._records]
        self._records |= zip(unknown, await self._store.live.told(unknown), strict=True)

    def _cursor(self, uid: str, now_ms: int) -> str:
        """After which event of its run to go on. Where nothing is remembered, what is older may have been told."""
        cursor = self._records[uid].told.cursor
        return str(now_ms - TOLD_KEPT_MS) if cursor == BEGINNING else cursor

    async def _standing(self, entry: Entry, told: Told) -> list[Standing]:
        """What no turn brought and is not told all the same: a leader before us did not come to it."""
        if entry.phase not in set(Phase) or turn(told, Phase(entry.phase)) is None:
            return []
        try:
            body = entry.body or await self._kube.get(BATCH_JOBS, entry.namespace, entry.name)
        except ApiUnavailable:
            raise
        except KubernetesError:  # gone, or not for us to read: the others are to hear of theirs
            return []
        standing = read_standing(body)
        return [standing] if standing else []

    def _forget(self, entries: Iterable[Entry], left: dict[str, list[Standing]]) -> None:
        """Nothing more is told of one that has ended: only the store needs to know that."""
        for entry in entries:
            if entry.uid not in left and self._records[entry.uid].told.stands in ENDS:
                del self._records[entry.uid]


def read_standing(body: dict[str, Any]) -> Standing | None:
    """Where a BatchJob stands now; None where its status says nothing, or is of a newer version than ours."""
    try:
        status = BatchJobStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return None
    return build_standing(status, time.time_ns() // 1_000_000)


def _count(telling: Telling) -> None:
    for event in telling.events:
        LIVE_EVENTS.labels(type=event.type.removeprefix("batch:")).inc()
