"""The claim loop: one exchange commits what is finished and leases what comes next, never one round trip an item.

`concurrency` slots run attempts; one loop talks to the store. It exchanges at the latest 100 ms after an item
finished, at once when a slot has nothing to start, and every 1.5 s in any case, which renews the leases and hears of
a pause or a cancel. How far it reaches ahead of the slots follows from how fast items finish (core/chunks.py): slow
items are leased as slots get free, so that nothing idles elsewhere; fast ones by the thousand.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import Final

from batchjob import log
from batchjob.core.chunks import smoothed, to_lease
from batchjob.core.items import RunState
from batchjob.store import Grant, RunStore
from batchjob.worker.context import Context
from batchjob.worker.execution import Execution
from batchjob.worker.heartbeat import Pulse
from batchjob.worker.holding import Holding, Holdings
from batchjob.worker.patience import patiently
from batchjob.worker.rate import Limits
from batchjob.worker.settings import FLUSH_SECONDS
from batchjob.worker.slots import Shape, Slots

LOADING_WAIT_MS: Final = 1000  # without anything to do, between looks at a load that another worker does
LONGEST_REACH: Final = 2048  # items declared ahead: what fast items need, and what memory and a crash can bear
ABANDON_SECONDS: Final = 2.0  # for attempts to end once they are cut off

logger = log.get(__name__)


class Ending(Enum):
    """Why the claim loop ended."""

    NOTHING_LEFT = auto()  # every item is terminal, or the run has ended
    STILL_LOADING = auto()  # nothing is there to be done yet; whoever loads may be gone
    STOPPED = auto()  # asked to; everything was given back
    STUCK = auto()  # every slot is taken by a thread that outlived its time limit


@dataclass(frozen=True)
class Pace:
    """Times of the loop."""

    renew_seconds: float
    grace_seconds: float


class Work:
    """Claims and processes items until nothing is left, or until told to stop."""

    def __init__(
        self,
        store: RunStore,
        execution: Execution,
        context: Context,
        shape: Shape,
        pace: Pace,
        pulse: Pulse,
        limits: Limits,
    ) -> None:
        self._store = store
        self._shape = shape
        self._pace = pace
        self._pulse = pulse
        self._holdings = Holdings()
        self._slots = Slots(execution, context, self._holdings, shape, limits)
        self._stopping = False
        self._drain_ends: float | None = None  # set while draining: when attempts in flight are cut off
        self._reach = 0  # items to declare ahead of the slots
        self._items_a_second = 0.0
        self._finished = 0  # items that had finished at the last exchange
        self._exchanged = 0.0
        self._dry_until = 0.0  # the last exchange had nothing for hungry slots; no use to ask before

    def stop(self) -> None:
        """Start nothing more, give back what was not started, let what is in flight finish within the grace period."""
        self._stopping = self._slots.closed = True
        self._slots.news.set()

    async def run(self) -> Ending:
        """Work. Raises RunGone when the store no longer knows the run."""
        self._slots.start()
        try:
            return await self._turns()
        finally:
            self._pulse.leases = ()
            await self._slots.end()
            self._slots.tally.tell()

    # ---- the loop

    async def _turns(self) -> Ending:
        grant = await self._exchange()
        while True:
            if grant.state not in {RunState.LOADING, RunState.OPEN}:
                self._abandon_attempts()
                return Ending.NOTHING_LEFT
            await self._mind(grant)
            if not len(self._holdings) and (self._stopping or self._slots.all_stuck):
                return Ending.STOPPED if self._stopping else Ending.STUCK
            idle = not len(self._holdings)
            await self._until_due(grant)
            if self._slots.failure is not None:
                raise self._slots.failure
            grant = await self._exchange()
            if idle and grant.state is RunState.LOADING and self._is_useless:
                return Ending.STILL_LOADING

    @property
    def _is_useless(self) -> bool:
        """Whether this loop has nothing to do. A slot that is stuck would be forgotten if another loop began."""
        return not (len(self._holdings) or self._stopping or self._slots.stuck)

    async def _mind(self, grant: Grant) -> None:
        """Begin, end or finish a drain."""
        if not (self._stopping or grant.paused or self._slots.all_stuck):
            if self._drain_ends is not None:
                logger.info("going on")
                self._dry_until = 0.0
            self._drain_ends = None
            self._slots.closed = False
            self._slots.feed()
            return
        if self._drain_ends is None:
            logger.info("nothing new starts", stopping=self._stopping, paused=grant.paused)
            self._slots.closed = True
            self._drain_ends = time.monotonic() + self._pace.grace_seconds
            for holding in self._holdings:
                if holding.attempts:
                    holding.give_back_rest()
        elif time.monotonic() >= self._drain_ends:
            await self._end_attempts()

    async def _end_attempts(self) -> None:
        """The grace period is over: cut off what is in flight. It goes back without an attempt."""
        self._abandon_attempts()
        ends = time.monotonic() + ABANDON_SECONDS
        while any(holding.attempts for holding in self._holdings) and (left := ends - time.monotonic()) > 0:
            await self._wait_for_news(left)
        for holding in self._holdings:
            holding.attempts.clear()

    def _abandon_attempts(self) -> None:
        for holding in self._holdings:
            for attempt in holding.attempts:
                attempt.abandon()

    async def _until_due(self, grant: Grant) -> None:
        """Wait until an exchange is worth while."""
        if not len(self._holdings) and not self._stopping:
            await self._until_woken(grant)
            return
        while (seconds := self._due() - time.monotonic()) > 0:
            await self._wait_for_news(seconds)

    async def _wait_for_news(self, seconds: float) -> None:
        self._slots.news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._slots.news.wait()

    def _due(self) -> float:
        due = self._exchanged + self._pace.renew_seconds
        if self._holdings.has_news:
            due = min(due, self._exchanged + FLUSH_SECONDS)
        if self._drain_ends is not None:
            can_release = any(not holding.attempts for holding in self._holdings)
            return 0.0 if can_release else min(due, self._drain_ends)
        if self._stopping or self._slots.failure is not None or self._slots.all_stuck:
            return 0.0
        if self._slots.hungry and not self._holdings.has_startable:
            due = min(due, 0.0 if self._holdings.has_undeclared else self._dry_until)
        return due

    async def _until_woken(self, grant: Grant) -> None:
        """Nothing is held: wait on the store for something to claim, a change of state, or a reason to stop."""
        ms = -1 if grant.paused else grant.next_ms
        if grant.state is RunState.LOADING:
            ms = LOADING_WAIT_MS if ms < 0 else min(ms, LOADING_WAIT_MS)
        if self._slots.hungry and not grant.paused and time.monotonic() >= self._dry_until:
            return
        waits = [
            asyncio.create_task(patiently(lambda: self._store.wait(ms))),
            asyncio.create_task(self._told()),
        ]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for wait in done:
            wait.result()

    async def _told(self) -> None:
        while not self._stopping and self._slots.failure is None:
            self._slots.news.clear()
            await self._slots.news.wait()

    # ---- the exchange

    async def _exchange(self) -> Grant:
        shape, holdings = self._shape, self._holdings
        self._slots.tally.tell()
        self._measure()
        want = 0
        if self._drain_ends is None and not self._stopping:
            holdings.announce(shape.items + self._reach, shape.unit)
            want = max(to_lease(self._items_a_second, self._reach, holdings.open - shape.items), 0)
            want = -(-want // shape.unit) * shape.unit
        told = list(holdings)
        releases = {holding.id for holding in told if self._drain_ends is not None and not holding.attempts}
        commits = [holding.commit(release=holding.id in releases) for holding in told]
        begun = time.monotonic()
        grant = await patiently(lambda: self._store.exchange(commits, want, shape.items))
        self._exchanged = time.monotonic()
        self._settle(grant, told, releases)
        self._pulse.renewed = begun
        self._pulse.leases = tuple((holding.id, holding.fence) for holding in holdings)
        wait = self._pace.renew_seconds if grant.next_ms < 0 else grant.next_ms / 1000
        self._dry_until = 0.0 if grant.chunks else self._exchanged + wait
        return grant

    def _measure(self) -> None:
        """How fast items finish, and how many will have begun by the next exchange.

        What may be started is what a lost worker loses, so it grows by doubling only.
        """
        seconds = max(time.monotonic() - self._exchanged, 1e-6)
        finished = self._slots.finished - self._finished
        self._finished = self._slots.finished
        self._items_a_second = smoothed(self._items_a_second, finished, seconds)
        begun = ceil(finished / seconds * FLUSH_SECONDS)
        self._reach = min(begun, max(2 * self._reach, 1), LONGEST_REACH)

    def _settle(self, grant: Grant, told: list[Holding], releases: set[str]) -> None:
        """Bring what is held in line with what the store answered."""
        for chunk_id in grant.lost:
            holding = self._holdings.drop(chunk_id)
            if holding is None or not holding.open:
                continue  # finished: a commit whose answer was lost had arrived
            logger.warning("a lease was lost; another worker goes on with the chunk", chunk=chunk_id)
            self._slots.tally.lost_lease()
            for attempt in holding.attempts:
                attempt.abandon()
        for chunk_id in releases:
            self._holdings.drop(chunk_id)
        self._holdings.confirm(told)
        self._holdings.drop_done()
        self._holdings.add(grant.chunks)
        self._slots.feed()
