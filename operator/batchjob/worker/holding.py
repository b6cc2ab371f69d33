"""What a worker holds: leased chunks, how much of each may be started, and the news that no commit has told yet.

The worker starts no item that it has not declared to the store, and declares no more than it expects to begin until
the next exchange: if it is lost, exactly the declared items count as lost. Bookkeeping only; no I/O.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from batchjob.core.durations import bucket_of
from batchjob.core.items import Chunk, Item, Outcome
from batchjob.store import Commit, Progress

if TYPE_CHECKING:
    from batchjob.worker.execution import Attempt

UNTOLD: Final = Progress(0, "", "")


class Holding:
    """One leased chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self.id = chunk.id
        self.fence = chunk.fence
        self.items = chunk.items
        self.since = time.monotonic()  # when it came
        self.attempts: set[Attempt] = set()  # in flight
        self.declared = 0  # items that the store knows may be started
        self._next = 0  # index of the first item not started
        self._finished = 0  # items whose outcome is known, or that go back, told or not
        self._announced = 0  # `declared` once the commit at hand has arrived
        self._outcomes: list[Outcome] = []
        self._returned: list[int] = []  # positions
        self._usage: dict[str, int] = {}
        self._parts: dict[str, bytes] = {}
        self._durations: dict[int, int] = {}
        self._progress = UNTOLD  # as the store knows it

    @property
    def lease(self) -> tuple[str, int]:
        """What a call of the store names to show that the chunk is in hand."""
        return self.id, self.fence

    @property
    def undeclared(self) -> int:
        """Items that may not be started yet."""
        return len(self.items) - self.declared

    @property
    def open(self) -> int:
        """Items whose outcome is not known."""
        return len(self.items) - self._finished

    @property
    def startable(self) -> int:
        """Items that may be started now."""
        return self.declared - self._next

    @property
    def open_declared(self) -> int:
        """Items that would count as lost."""
        return self.declared - self._finished

    @property
    def has_news(self) -> bool:
        """Whether a commit would tell more than that the worker lives."""
        is_any = self._outcomes or self._returned or self._usage or self._parts
        return bool(is_any) or self._announced > self.declared

    @property
    def is_done(self) -> bool:
        """Whether every outcome is known and told."""
        return not self.open and not self.has_news

    def announce(self, more: int) -> int:
        """Declare up to `more` items with the next commit; returns how many."""
        self._announced = min(self.declared + max(more, 0), len(self.items))
        return self._announced - self.declared

    def take(self, limit: int) -> Sequence[Item]:
        """Start up to `limit` declared items; empty where none may be started."""
        first, self._next = self._next, min(self._next + limit, self.declared)
        return self.items[first : self._next]

    def untake(self, items: Sequence[Item]) -> bool:
        """See `Holdings.untake`."""
        if tuple(self.items[self._next - len(items) : self._next]) != tuple(items):
            return False
        self._next -= len(items)
        return True

    def record(
        self, outcomes: Sequence[Outcome], usage: dict[str, int], parts: dict[str, bytes], seconds: float = 0.0
    ) -> None:
        """Keep news of an attempt for the next commit; items that went together share its `seconds`."""
        self._outcomes.extend(outcomes)
        self._finished += len(outcomes)
        bucket = bucket_of(seconds / max(len(outcomes), 1))
        self._durations[bucket] = self._durations.get(bucket, 0) + len(outcomes)
        for name, amount in usage.items():
            self._usage[name] = self._usage.get(name, 0) + amount
        self._parts.update(parts)

    def commit(self, *, release: bool = False) -> Commit:
        """All news as a commit that from now on must reach the store; the news here begins anew."""
        returned = [] if release else self._returned  # else all goes back, in one piece
        news = (self._outcomes, self._usage, release, self._announced, self._parts, self._new_progress(), returned)
        commit = Commit(self.id, self.fence, *news, self._durations)
        self._outcomes, self._returned, self._usage, self._parts, self._durations = [], [], {}, {}, {}
        return commit

    def _new_progress(self) -> Progress | None:
        """How far the items in flight are, where that has changed. It goes along with a commit and causes none."""
        told = [one for attempt in self.attempts for one in attempt.context.told.copy().values()]
        progress = UNTOLD
        if told:
            last = max(told, key=lambda one: one.at)
            progress = Progress(round(1000 * sum(one.fraction for one in told)), last.item, last.message)
        if progress == self._progress:
            return None
        self._progress = progress
        return progress

    def confirm(self) -> None:
        """The commit arrived: what it declared may be started."""
        self.declared = self._announced

    def give_back_rest(self) -> None:
        """Return what was not started, while what is in flight keeps the lease."""
        rest = self.items[self._next :]
        self._next = self.declared = self._announced = len(self.items)
        self.give_back(rest)

    def give_back(self, items: Sequence[Item]) -> None:
        """Return items as they are, without an attempt."""
        self._returned.extend(item.position for item in items)
        self._finished += len(items)


class Holdings:
    """All chunks of a worker, in the order in which they came."""

    def __init__(self) -> None:
        self._chunks: dict[str, Holding] = {}
        self._startable: deque[Holding] = deque()

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._chunks.values())

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def open(self) -> int:
        """Items whose outcome is not known."""
        return sum(holding.open for holding in self)

    @property
    def has_news(self) -> bool:
        """Whether a commit would tell more than that the worker lives."""
        return any(holding.has_news for holding in self)

    @property
    def has_startable(self) -> bool:
        """Whether an item may be started now."""
        return any(holding.startable for holding in self)

    @property
    def has_undeclared(self) -> bool:
        """Whether an exchange would let more items start."""
        return any(holding.undeclared for holding in self)

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Hold new chunks."""
        for chunk in chunks:
            self._chunks[chunk.id] = Holding(chunk)

    def announce(self, limit: int, unit: int) -> None:
        """Declare items with the next commits until `limit` would count as lost, `unit` of a chunk at a time."""
        room = limit - sum(holding.open_declared for holding in self)
        for holding in self:
            room -= holding.announce(-(-room // unit) * unit)

    def confirm(self, told: Iterable[Holding]) -> None:
        """Commits of these chunks arrived."""
        for holding in told:
            if not self._holds(holding):
                continue
            before = holding.declared
            holding.confirm()
            if holding.declared > before:
                self._startable.append(holding)

    def take(self, limit: int) -> tuple[Holding, Sequence[Item]] | None:
        """Start up to `limit` items of one chunk; None where none may be started."""
        while self._startable:
            holding = self._startable[0]
            if self._holds(holding) and (items := holding.take(limit)):
                return holding, items
            self._startable.popleft()
        return None

    def untake(self, holding: Holding, items: Sequence[Item]) -> bool:
        """The items taken last of this chunk were not started after all; False where others were taken since."""
        if not holding.untake(items):
            return False
        self._startable.append(holding)
        return True

    def drop(self, chunk_id: str) -> Holding | None:
        """Hold a chunk no longer."""
        return self._chunks.pop(chunk_id, None)

    def drop_done(self) -> None:
        """Hold no longer what is finished and told."""
        for chunk_id in [holding.id for holding in self if holding.is_done]:
            del self._chunks[chunk_id]

    def _holds(self, holding: Holding) -> bool:
        """Whether it is held still: a chunk that was lost may come again, under the same id and another fence."""
        return self._chunks.get(holding.id) is holding
