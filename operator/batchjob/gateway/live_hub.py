"""Live events within one gateway: one reader for all who watch, a bounded queue for each of them.

The reader waits at the store's bell and then reads the streams of those owners that somebody watches, each once
however many do. Who comes, or comes back with the id of the last event seen, first reads what is kept, at their own
pace and straight from the store, and joins where that ends: no event is missed, none comes twice, whichever replica
they come to. Who does not keep up is let go, so nobody costs more than a full queue. No web framework here.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, NamedTuple

from batchjob import log
from batchjob.core.event_data import Gap
from batchjob.errors import BatchJobError
from batchjob.gateway.live_frames import GAP, Frame, build_frame, build_notice
from batchjob.metrics import LIVE_CLIENTS, LIVE_DROPPED
from batchjob.store import LiveEntry, LiveStore
from batchjob.store.events import PAGE

QUEUE: Final = 1000  # events that may wait for one watcher: four minutes of one BatchJob, a second of a crowd
MOST_OF_OWNER: Final = 200  # watchers at once of what is one owner's: a hundred tabs, and no more
MOST_OF_USER: Final = 400  # of who watches, over all owners and namespaces; pages that listen count too
PAUSE_SECONDS: Final = 0.05  # between two reads: what comes together is read together
RETRY_SECONDS: Final = 1.0  # after an error of the store
EAR_SECONDS: Final = 1.0  # between two words to one who listens: each has a page read again
FROM_BEGINNING: Final = "0"

logger = log.get(__name__)


class TooSlow(Exception):
    """The watcher did not keep up. It may come back with the id of the last event it saw."""


class GoingAway(Exception):
    """This gateway ends. Another one goes on, for who comes back with that id."""


class TooManyWatchers(Exception):
    """As many as may watch this owner do already, or as many as one user may have."""


class _Id(NamedTuple):
    """An id of an event, to be compared."""

    ms: int
    n: int


def _id(text: str) -> _Id:
    ms, _, n = text.partition("-")
    return _Id(int(ms), int(n or 0))


class Watcher:
    """One who watches what is an owner's: all of it, or one BatchJob. Not for several tasks."""

    def __init__(self, hub: "Hub", owner: str, job: str | None, after: str | None) -> None:
        self.owner = owner
        self.position = after or FROM_BEGINNING  # id of the last event that was read
        self._hub = hub
        self._job = job
        self._returns = after not in {None, FROM_BEGINNING}
        self._joined = False
        self._over: type[TooSlow | GoingAway] | None = None
        self._queue: deque[Frame] = deque()
        self._wake = asyncio.Event()

    async def take(self, seconds: float) -> list[Frame]:
        """What is new, oldest first; none within that time is an empty list. Errors: TooSlow, GoingAway, StoreError."""
        while not self._joined:
            if found := await self._catch_up():
                return found
        if not self._queue and not self._over:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        if self._over:
            raise self._over
        found = [*self._queue]
        self._queue.clear()
        return found

    def offer(self, frames: Iterable[Frame]) -> bool:
        """Put what is new into the queue; whether it still keeps up. A queue that is full is emptied at once."""
        position = _id(self.position)
        self._queue += (frame for frame in frames if self._job in {None, frame.job} and _id(frame.id) > position)
        if len(self._queue) > QUEUE:
            self.part(TooSlow)
        if self._queue:
            self._wake.set()
        return self._over is None

    def part(self, why: type[TooSlow | GoingAway]) -> None:
        """Have it go; nothing of the queue is of use any more."""
        self._over = self._over or why
        self._queue.clear()
        self._wake.set()

    async def _catch_up(self) -> list[Frame]:
        """A page of what is kept; once there is no more, it joins those to whom the reader hands on."""
        frames: list[Frame] = []
        if self._returns:
            entries = await self._hub.live.read_from(self.owner, self.position)
            if entries and entries[0].id == self.position:
                entries = entries[1:]
            else:  # it is not kept any more, and others after it may be gone too
                frames.append(build_notice("gap", time.time_ns() // 1_000_000, Gap(self.position, GAP).to_json()))
                self.position = entries[0].id if entries else await self._hub.live.last(self.owner)
            self._returns = False
        else:
            entries = await self._hub.live.read(self.owner, self.position)
            if not entries:
                self._joined = await self._hub.join(self, self.position)
        self.position = entries[-1].id if entries else self.position
        return [*frames, *(build_frame(entry) for entry in entries if self._job in {None, entry.job})]


class Ear:
    """One who hears that something was told of some owners, and not what: enough to read a page again."""

    def __init__(self, owners: frozenset[str] | None) -> None:
        self.owners = owners  # as `core.records.owner_key` names them; None: of anybody
        self._rung = asyncio.Event()
        self._heard = 0.0
        self._leaves = False

    async def take(self, seconds: float) -> list[Frame]:
        """A word that something is new, at most one an EAR_SECONDS; nothing within that time is an empty list."""
        await asyncio.sleep(self._heard + EAR_SECONDS - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        if self._leaves:
            raise GoingAway
        if not self._rung.is_set():
            return []
        self._rung.clear()
        self._heard = time.monotonic()
        return [build_notice("changed", time.time_ns() // 1_000_000)]

    def ring(self, owners: set[str] | None) -> None:
        """Something was told of these (none: the bell was only waited for); None: of whom is not known."""
        if owners is None or (owners if self.owners is None else owners & self.owners):
            self._rung.set()

    def part(self) -> None:
        """Have it go."""
        self._leaves = True
        self._rung.set()


class _Channel:
    """What is one owner's, as far as somebody watches it."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        self.watchers: set[Watcher] = set()

    def hand_on(self, entries: Sequence[LiveEntry]) -> None:
        """Give what is new to all; it may have been read twice at the same time."""
        frames = [build_frame(entry) for entry in entries if _id(entry.id) > _id(self.cursor)]
        if frames:
            self.cursor = frames[-1].id
            self.watchers = {watcher for watcher in self.watchers if watcher.offer(frames)}


class Hub:
    """All who watch, in this process. `run` is to go on as long as it is used."""

    def __init__(self, live: LiveStore) -> None:
        self.live = live
        self._channels: dict[str, _Channel] = {}
        self._watchers: dict[str, set[Watcher]] = {}  # by owner; those that still catch up are in no channel
        self._ears = set[Ear]()
        self._users = Counter[str]()
        self._leaves = False

    @asynccontextmanager
    async def watch(
        self, owner: str, job: str | None = None, after: str | None = None, *, who: str = ""
    ) -> AsyncIterator[Watcher]:
        """Watch what is told of an owner (as `core.records.owner_key` names it), or of one BatchJob of theirs.

        `after`: the id of the last event seen; FROM_BEGINNING: all that is kept; None: what comes from now on, that is
        once this is entered. `who` watches; by default the owner. Errors: TooManyWatchers; StoreError without `after`.
        """
        if len(self._watchers.get(owner, ())) >= MOST_OF_OWNER:
            raise TooManyWatchers
        with self._place(who or owner):
            watcher = Watcher(self, owner, job, after)
            if self._leaves:
                watcher.part(GoingAway)
            self._watchers.setdefault(owner, set()).add(watcher)
            try:
                if after is None:  # read here, not at the first take: who is told to be watching misses nothing
                    watcher.position = await self.live.last(owner)
                yield watcher
            except TooSlow:
                LIVE_DROPPED.inc()
                raise
            finally:
                self._forget(watcher)

    @asynccontextmanager
    async def listen(self, who: str, ear: Ear) -> AsyncIterator[Ear]:
        """Have an ear of somebody's hear whenever something is told. Raises TooManyWatchers."""
        with self._place(who):
            if self._leaves:
                ear.part()
            self._ears.add(ear)
            try:
                yield ear
            finally:
                self._ears.discard(ear)

    @contextmanager
    def _place(self, who: str) -> Iterator[None]:
        if self._users[who] >= MOST_OF_USER:
            raise TooManyWatchers
        self._users[who] += 1
        LIVE_CLIENTS.inc()
        try:
            yield
        finally:
            LIVE_CLIENTS.dec()
            self._users[who] -= 1
            self._users += Counter()  # drops who has none

    def leave(self) -> None:
        """Have all go, and who still comes."""
        self._leaves = True
        for ear in self._ears:
            ear.part()
        for mine in self._watchers.values():
            for watcher in mine:
                watcher.part(GoingAway)

    async def join(self, watcher: Watcher, position: str) -> bool:
        """Hand on to a watcher from a position; False: there is more to read before."""
        channel = self._channels.setdefault(watcher.owner, _Channel(position))
        if _id(channel.cursor) > _id(position):
            return False
        channel.watchers.add(watcher)
        # The bell may have rung for this owner after the watcher's read, and before the reader knew that it matters.
        await self._read([watcher.owner])
        return True

    async def run(self) -> None:
        """Read, for ever."""
        ring: str | None = None
        while True:
            try:
                if ring is None:  # the store may be another one than before: what was missed is not in its bell
                    ring, owners = await self.live.last_ring(), None
                else:
                    ring, owners = await self.live.wait(ring)
                await self._read([owner for owner in self._channels if owners is None or owner in owners])
                for ear in self._ears:
                    ear.ring(owners)
            except Exception as error:  # the reader of all may not end
                ring = None
                known = None if isinstance(error, BatchJobError) else error
                logger.warning("live events cannot be read", error=str(error), exc_info=known)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self, owners: Sequence[str]) -> None:
        """Read what is new of some owners, to its end."""
        due = [(owner, self._channels[owner]) for owner in owners]
        while due:
            pages = await self.live.read_many([(owner, channel.cursor) for owner, channel in due])
            for (_, channel), entries in zip(due, pages, strict=True):
                channel.hand_on(entries)
            due = [one for one, entries in zip(due, pages, strict=True) if len(entries) == PAGE]

    def _forget(self, watcher: Watcher) -> None:
        mine = self._watchers[watcher.owner]
        mine.discard(watcher)
        channel = self._channels.get(watcher.owner)
        if channel is not None:
            channel.watchers.discard(watcher)
        if not mine:
            del self._watchers[watcher.owner]
            self._channels.pop(watcher.owner, None)
