"""Which BatchJobs of a queue may run: by priority, then owners in turn, then age. Pure.

Owners share by start-time fair queueing (Goyal, Vin and Cheng 1996), which is deficit round robin with every BatchJob
weighing the same: each owner has a tag that grows by 1/weight with each start, the smallest tag is next, and who had
nothing to run comes back with the tag of the moment, so that nobody saves up turns.

Nothing that runs is ever taken back for another (no preemption): a change of limits, priorities or weights decides
about what starts next.
"""

import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple

from batchjob.core.reasons import Reason

UNLIMITED: Final = 1_000_000_000
NEAR: Final = 10  # places in line of which each step is told
POSITIONS_SECONDS: Final = 1.0  # positions are counted at most so often


def is_news(told: int | None, position: int) -> bool:
    """Whether a place in line (0: none) is worth saying: one of the first, or half or twice what was told."""
    if told is None or position in (0, told):
        return told is None and position != 0
    return position <= NEAR or 2 * position <= told or position >= 2 * told


@dataclass(frozen=True)
class Rules:
    """What a queue says."""

    paused: bool = False
    max_active: int = UNLIMITED  # BatchJobs
    max_workers: int = UNLIMITED  # worker pods of all
    max_active_per_owner: int = UNLIMITED
    weights: Mapping[str, int] = field(default_factory=dict)
    max_fed: int = UNLIMITED  # worker pods that the rate limits can feed

    def weight(self, owner: str) -> int:
        """BatchJobs of this owner that start for each of another's with weight 1."""
        return self.weights.get(owner, 1)


class Claim(NamedTuple):
    """A BatchJob that could run now, as its queue sees it. In the order in which an owner's own go."""

    priority: int  # 1 first
    created: str  # RFC 3339
    uid: str
    owner: str
    workers: int  # pods that it could use


class Place(NamedTuple):
    """Where a BatchJob stands in its queue."""

    workers: int  # that it may have; 0: it waits
    reason: Reason | None = None  # why it waits
    message: str = ""
    position: int = 0  # from 1


class Line:
    """The BatchJobs of one queue that wait or run."""

    def __init__(self, rules: Rules | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.rules = rules or Rules()
        self._clock = clock
        self._waiting: dict[str, Claim] = {}
        self._order: dict[int, dict[str, list[Claim]]] = {}  # priority → owner → claims by age
        self._active: dict[str, tuple[Claim, int]] = {}  # with the workers that it may have
        self._short: set[str] = set()  # those that run and would like more workers
        self._smaller: list[str] = []  # those that want fewer than they had
        self._per_owner: dict[str, int] = defaultdict(int)  # BatchJobs that run
        self._workers = 0  # that those that run may have
        self._tags: dict[str, float] = {}
        self._now = 0.0  # tag of the latest start
        self._positions: dict[str, int] = {}
        self._positions_at = -POSITIONS_SECONDS
        self._moved = False  # since the positions were counted

    # ---- what changes

    def run(self, claim: Claim, workers: int) -> None:
        """It runs already, with so many workers: an earlier leader let it start."""
        self.leave(claim.uid)
        self._start(claim, workers)

    def ask(self, claim: Claim) -> None:
        """It would like to run, or wants another number of workers than before."""
        if claim.uid in self._active:
            _, workers = self._active[claim.uid]
            self._set(claim, min(workers, claim.workers))
            if claim.workers < workers:
                self._smaller.append(claim.uid)
        elif (before := self._waiting.get(claim.uid)) != claim:
            self.leave(claim.uid)
            if before and before.priority != claim.priority:
                self._positions_at = -POSITIONS_SECONDS  # somebody changed it, and wants to see what became of it
            self._waiting[claim.uid] = claim
            insort(self._order.setdefault(claim.priority, {}).setdefault(claim.owner, []), claim)
            self._moved = True

    def keep(self, uid: str, workers: int) -> None:
        """It wants no more workers than these, which it has: it ended, and they have yet to leave."""
        if uid in self._active:
            self._set(self._active[uid][0]._replace(workers=workers), workers)

    def leave(self, uid: str) -> bool:
        """It ended, was paused or deleted; returns whether it was here."""
        if uid in self._active:
            claim, workers = self._active.pop(uid)
            self._short.discard(uid)
            self._workers -= workers
            self._per_owner[claim.owner] -= 1
            if not self._per_owner[claim.owner]:
                del self._per_owner[claim.owner]
        elif uid in self._waiting:
            self._forget(self._waiting.pop(uid))
        else:
            return False
        return True

    def admit(self) -> list[str]:
        """Let start whatever may, and give those that run the workers they want where there are any.

        Returns the uids of BatchJobs that may have another number of workers than before.
        """
        changed, self._smaller = [uid for uid in self._smaller if uid in self._active], []
        for claim in self._starts():
            self._waiting.pop(claim.uid)
            self._forget(claim)
            self._start(claim, min(claim.workers, self._free_workers()))
            changed.append(claim.uid)
        for claim in sorted(self._active[uid][0] for uid in self._short) if self._free_workers() else ():
            workers = self._active[claim.uid][1]
            self._set(claim, min(claim.workers, workers + self._free_workers()))
            if self._active[claim.uid][1] != workers:
                changed.append(claim.uid)
        return list(dict.fromkeys(changed))

    # ---- what is so

    @property
    def waiting(self) -> int:
        """BatchJobs that wait."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """BatchJobs that may run."""
        return len(self._active)

    @property
    def workers(self) -> int:
        """Worker pods that they may have."""
        return self._workers

    def oldest(self) -> str | None:
        """When the first of those that wait was created."""
        return min((claim.created for claim in self._waiting.values()), default=None)

    def place(self, uid: str) -> Place | None:
        """Where a BatchJob stands; None: it is not here."""
        if uid in self._active:
            return Place(self._active[uid][1])
        claim = self._waiting.get(uid)
        if claim is None:
            return None
        return Place(0, *self._why(claim), self._position(uid))

    # ---- how

    def _position(self, uid: str) -> int:
        """As of at most a second ago: in a burst of ten thousand it is not counted ten thousand times."""
        now = self._clock()
        if self._moved and now - self._positions_at >= POSITIONS_SECONDS:
            self._positions = {claim.uid: n for n, claim in enumerate(self._sequence(), 1)}
            self._positions_at, self._moved = now, False
        return self._positions.get(uid, self.waiting)

    def _why(self, claim: Claim) -> tuple[Reason, str]:
        rules = self.rules
        if rules.paused:
            return Reason.QUEUE_PAUSED, "The queue is paused (BatchQueue, spec.paused)."
        if self._per_owner.get(claim.owner, 0) >= rules.max_active_per_owner:
            limit = f"limits.maxActiveJobsPerOwner is {rules.max_active_per_owner}"
            return Reason.OWNER_LIMIT, f"As many BatchJobs of the same owner run as the queue allows: {limit}."
        if self.active < rules.max_active and rules.max_fed < rules.max_workers:
            message = f"More than {rules.max_fed} worker pods would only wait for the queue's rateLimits."
            return Reason.RATE_LIMITED, f"{message} Waits until others end."
        jobs, pods = f"maxActiveJobs is {rules.max_active}", f"maxWorkers is {rules.max_workers}"
        limit = jobs if self.active >= rules.max_active else pods
        return Reason.CONCURRENCY_LIMIT, f"The queue is full: {limit}. Waits until others end."

    def _start(self, claim: Claim, workers: int) -> None:
        self._active[claim.uid] = claim, 0
        self._set(claim, workers)
        self._per_owner[claim.owner] += 1
        self._now = self._tag(claim.owner)
        self._tags[claim.owner] = self._now + 1 / self.rules.weight(claim.owner)
        if len(self._tags) > 2 * (len(self._per_owner) + len(self._waiting)) + 16:
            self._tags = {owner: tag for owner, tag in self._tags.items() if tag > self._now}

    def _set(self, claim: Claim, workers: int) -> None:
        self._workers += workers - self._active[claim.uid][1]
        self._active[claim.uid] = claim, workers
        (self._short.add if workers < claim.workers else self._short.discard)(claim.uid)

    def _free_workers(self) -> int:
        return max(0, min(self.rules.max_workers, self.rules.max_fed) - self._workers)

    def _tag(self, owner: str) -> float:
        return max(self._tags.get(owner, 0.0), self._now)

    def _starts(self) -> Iterator[Claim]:
        """The claims that start, each once the one before it has; in the midst of it nothing else may change.

        A start changes the rank of its own owner alone: it had the smallest tag, so nobody else's is behind the moment.
        """
        most = self.rules.max_active_per_owner
        for priority in sorted(self._order) if self._has_room() else ():
            owners = self._order[priority]
            heads = [self._rank(owner, owners) for owner in owners if self._per_owner.get(owner, 0) < most]
            heapify(heads)
            while heads and self._has_room():
                owner = heads[0][-1]
                yield owners[owner][0]
                if owner in owners and self._per_owner.get(owner, 0) < most:
                    heapreplace(heads, self._rank(owner, owners))
                else:
                    heappop(heads)

    def _rank(self, owner: str, owners: Mapping[str, list[Claim]]) -> tuple[float, int, Claim, str]:
        return self._tag(owner), self._per_owner.get(owner, 0), owners[owner][0], owner

    def _has_room(self) -> bool:
        return not self.rules.paused and self.active < self.rules.max_active and self._free_workers() > 0

    def _sequence(self) -> Iterator[Claim]:
        """Those that wait, in the order in which they would start if nothing else came."""
        tags = {owner: self._tag(owner) for owners in self._order.values() for owner in owners}
        for priority in sorted(self._order):
            heads = [(tags[owner], claims[0], claims, 0) for owner, claims in self._order[priority].items()]
            heapify(heads)
            while heads:
                tag, claim, claims, at = heads[0]
                yield claim
                tags[claim.owner] = tag + 1 / self.rules.weight(claim.owner)
                if at + 1 < len(claims):
                    heapreplace(heads, (tags[claim.owner], claims[at + 1], claims, at + 1))
                else:
                    heappop(heads)

    def _forget(self, claim: Claim) -> None:
        owners = self._order[claim.priority]
        owners[claim.owner].remove(claim)
        if not owners[claim.owner]:
            del owners[claim.owner]
        if not owners:
            del self._order[claim.priority]
        self._moved = True
