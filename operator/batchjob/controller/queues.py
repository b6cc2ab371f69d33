"""The queues as the leader keeps them: which BatchJobs of each may run, and with how many workers.

All of it is in memory. A new leader takes over what runs from the BatchJobs and their Jobs (`restore`), and what waits
from its status (`expect`), until it asks again with the next look; only the turns that owners have had are forgotten.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import ValidationError

from batchjob import log
from batchjob.api.queue import BatchQueue, BatchQueueSpec
from batchjob.api.v1alpha1 import JobType
from batchjob.core.admission import UNLIMITED, Claim, Line, Place, Rules
from batchjob.core.rates import requests_per_minute
from batchjob.core.slots import fed_slots

PACE_SECONDS: Final = 3600.0  # over which starts are counted
STARTS_KEPT: Final = 1000
PARTING_SECONDS: Final = 10.0  # `kubectl replace --force` deletes before it creates

logger = log.get(__name__)


class Queues:
    """The lines of all queues, and the BatchQueues that rule them."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is called with the uid of each BatchJob that has something to do or to say now."""
        self._tell = tell
        self._objects: dict[str, BatchQueue] = {}
        self._unreadable: set[str] = set()  # names of BatchQueues that we never could read
        self._parting: dict[str, float] = {}  # names of types' BatchQueues that went: until when they rule all the same
        self._lines: dict[str, Line] = {}
        self._where: dict[str, str] = {}  # uid → queue
        self._starts: dict[str, deque[float]] = {}
        self._rates: dict[str, float] = {}  # uid → items finished a second

    # ---- what queues say

    def spec(self, name: str) -> BatchQueueSpec | None:
        """What a queue says; None where nobody knows, or there is none. Each type has one without any object."""
        if found := self._objects.get(name):
            return found.spec
        return BatchQueueSpec() if name in set(JobType) and not self.is_unreadable(name) else None

    def is_unreadable(self, name: str) -> bool:
        """Whether there is such a BatchQueue and what it says is not known: then nothing starts in it."""
        return name in self._unreadable

    def keep_completed(self, name: str) -> int:
        """How many of a queue's complete BatchJobs keep what they left."""
        spec = self.spec(name)
        return spec.retention.keep_completed if spec else UNLIMITED  # what goes does not come back

    def objects(self) -> Iterable[BatchQueue]:
        """Every BatchQueue."""
        return [queue for name, queue in self._objects.items() if name not in self._parting]

    def names(self) -> list[str]:
        """Every queue that there is: one a type, and every BatchQueue."""
        return sorted({*JobType, *self._objects})

    def seen(self, body: dict[str, Any], gone: bool) -> bool:
        """A BatchQueue changed or went; returns whether that concerns its BatchJobs.

        One that cannot be read (of a newer version) stays as it was; where we never knew that, its BatchJobs wait.
        That of a type rules for another moment once it is gone: without it everything would start (`part`).
        """
        name = body["metadata"]["name"]
        if gone:
            self._unreadable.discard(name)
            if name in self._objects and name in set(JobType):
                self._parting[name] = time.monotonic() + PARTING_SECONDS
                return False
            self._objects.pop(name, None)
        else:
            self._parting.pop(name, None)
            try:
                found = BatchQueue.parse(body)
            except ValidationError as error:
                logger.warning("a BatchQueue cannot be read", queue=name, error=str(error))
                if name in self._objects or self.is_unreadable(name):
                    return False
                self._unreadable.add(name)
                return True
            self._unreadable.discard(name)
            old = self._objects.get(name)
            self._objects[name] = found
            if old and old.spec == found.spec:
                return False
        self._apply(name)
        return True

    def part(self) -> set[str]:
        """Let types' BatchQueues that went a moment ago rule no more; the names of those queues."""
        now = time.monotonic()
        over = {name for name, until in self._parting.items() if until <= now}
        for name in over:
            del self._parting[name], self._objects[name]
            self._apply(name)
        return over

    def _apply(self, name: str) -> None:
        if spec := self.spec(name):  # while there is none nothing starts, and what runs keeps its place
            self.line(name).rules = build_rules(spec)
            self._admit(name)

    # ---- what BatchJobs want

    def restore(self, queue: str, claim: Claim) -> None:
        """A BatchJob that an earlier leader let start."""
        self._where[claim.uid] = queue
        self.line(queue).run(claim, claim.workers)

    def expect(self, queue: str, claim: Claim) -> None:
        """A BatchJob that waited under an earlier leader: nobody of less right goes first until it has asked again."""
        self._where[claim.uid] = queue
        self.line(queue).ask(claim)

    def place(
        self, queue: str, uid: str, claim: Claim | None, *, has: int = 0, rate: float | None = None
    ) -> Place | None:
        """Where a BatchJob stands that wants to run like this now (None: it does not).

        `has`: worker pods that it has, so that who runs and is not in the books (its queue was away) does not wait.
        `rate`: items that it finishes a second, for the queue's throughput.
        """
        is_there = self.spec(queue) is not None
        if claim is None or not (is_there or has):
            self.forget(uid)
            return None
        line = self.line(queue)
        if has and uid not in self._where:
            line.run(claim, has)
        self._where[uid] = queue
        self._rates[uid] = rate or 0.0
        if not is_there:
            return None
        line.ask(claim)
        self._admit(queue, but=uid)
        return line.place(uid)

    def ended(self, uid: str, has: int) -> None:
        """A BatchJob has ended: the worker pods that it `has` count until they have left, and it gets no more."""
        if not has:
            self.forget(uid)
        elif queue := self._where.get(uid):
            self._rates.pop(uid, None)
            self.line(queue).keep(uid, has)
            self._admit(queue)

    def forget(self, uid: str) -> None:
        """A BatchJob that has no pods any more ended, was paused or deleted: what it had is for others."""
        if queue := self._where.pop(uid, None):
            self._rates.pop(uid, None)
            if self.line(queue).leave(uid):
                self._admit(queue)

    def clear(self) -> None:
        """A lead begins: what an earlier one of ours left in the lines is old."""
        self._lines.clear()
        self._where.clear()
        self._starts.clear()
        self._rates.clear()

    # ---- what is worth saying

    def rate(self, name: str) -> float:
        """Items that a queue's BatchJobs finish a second."""
        return sum(rate for uid, rate in self._rates.items() if self._where.get(uid) == name)

    def wait_seconds(self, queue: str, position: int) -> float | None:
        """How long the one at a position would wait, at the pace of late; None where that is not known."""
        starts = self._starts.get(queue, ())
        now = time.monotonic()
        recent = [at for at in starts if now - at < PACE_SECONDS]
        if len(recent) < 2:  # noqa: PLR2004 - a pace needs two
            return None
        return position * (now - recent[0]) / (len(recent) - 1)

    def position(self, uid: str) -> int:
        """The place in line of a BatchJob that waits, from 1; else 0."""
        place = self.line(self._where[uid]).place(uid) if uid in self._where else None
        return place.position if place else 0

    # ---- how

    def line(self, name: str) -> Line:
        """The BatchJobs of a queue."""
        if name not in self._lines:
            self._lines[name] = Line(build_rules(self.spec(name) or BatchQueueSpec()))
        return self._lines[name]

    def _admit(self, name: str, but: str | None = None) -> None:
        line = self.line(name)
        before = line.active
        changed = line.admit()
        if line.active > before:
            starts = self._starts.setdefault(name, deque(maxlen=STARTS_KEPT))
            starts.extend([time.monotonic()] * (line.active - before))
        for uid in changed:
            if uid != but:
                self._tell(uid)


def build_rules(spec: BatchQueueSpec) -> Rules:
    """The rules of admission, from what a queue says."""
    limits = requests_per_minute(spec.rate_limits)
    return Rules(
        paused=spec.paused,
        max_active=spec.max_active_jobs or UNLIMITED,
        max_workers=spec.max_workers or UNLIMITED,
        max_fed=fed_slots(min(limits)) if limits else UNLIMITED,
        max_active_per_owner=spec.limits.max_active_jobs_per_owner or UNLIMITED,
        weights={share.owner: share.weight for share in spec.fair_share.weights},
    )
