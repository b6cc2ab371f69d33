"""The slots of a worker: each makes one attempt after the other from what may be started."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final

from batchjob import log
from batchjob.core.items import Failed, Item, Retried, Succeeded
from batchjob.worker.context import Context
from batchjob.worker.execution import Attempt, Execution
from batchjob.worker.holding import Holding, Holdings
from batchjob.worker.rate import Limits
from batchjob.worker.tally import Tally
from batchjob.worker.traced import around_attempts

TURNS_BEFORE_YIELD: Final = 32  # attempts of a slot that never wait, before the other tasks get a turn

logger = log.get(__name__)


@dataclass(frozen=True)
class Shape:
    """How much goes on at once: `slots` attempts of up to `unit` items."""

    slots: int
    unit: int

    @property
    def items(self) -> int:
        """Items in flight."""
        return self.slots * self.unit


class Slots:
    """The tasks that call the processor. `news` is set whenever the claim loop should look at them."""

    def __init__(
        self, execution: Execution, context: Context, holdings: Holdings, shape: Shape, limits: Limits
    ) -> None:
        self.news = asyncio.Event()
        self.hungry = 0  # slots with nothing to start
        self.stuck = 0  # slots taken by threads that outlived their time limit
        self.finished = 0  # items finished so far
        self.tally = Tally(context.run)
        self.failure: BaseException | None = None  # of our own code: nothing can go on
        self._execution = execution
        self._context = context
        self._holdings = holdings
        self._shape = shape
        self._limits = limits
        self._around = around_attempts(context.run)
        self._food = asyncio.Event()
        self._closed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def closed(self) -> bool:
        """Whether nothing new starts."""
        return self._closed.is_set()

    @closed.setter
    def closed(self, closed: bool) -> None:
        (self._closed.set if closed else self._closed.clear)()

    @property
    def all_stuck(self) -> bool:
        """Whether no slot will ever start anything again."""
        return self.stuck == self._shape.slots

    def start(self) -> None:
        """Make the tasks."""
        for _ in range(self._shape.slots):
            task = asyncio.create_task(self._run())
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def feed(self) -> None:
        """There may be something to start."""
        self._food.set()

    async def end(self) -> None:
        """Cancel the tasks, with whatever they are doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        turns = 0
        while True:
            holding, attempt = self._next() or await self._fed()
            if self._limits.are_any and not await self._admitted(attempt):
                self._give_back(holding, attempt)
                continue
            begun = time.monotonic()
            self.tally.waits.observe(begun - holding.since)
            with self._around(attempt):
                await self._execution(attempt)
            seconds = time.monotonic() - begun
            self.tally.times.observe(seconds)
            self._record(holding, attempt, seconds)
            if self._limits.are_any:
                await self._limits.settle(attempt)
            if attempt.straggler is not None:
                await self._outlast(attempt.straggler)
            turns += 1
            if turns % TURNS_BEFORE_YIELD == 0:
                await asyncio.sleep(0)

    def _next(self) -> tuple[Holding, Attempt] | None:
        if self.closed or (taken := self._holdings.take(self._shape.unit)) is None:
            return None
        holding, items = taken
        attempt = Attempt(items, self._context.holding(items, self._execution.seconds, holding.lease))
        holding.attempts.add(attempt)
        return holding, attempt

    async def _fed(self) -> tuple[Holding, Attempt]:
        self.hungry += 1
        try:
            while True:
                if (begun := self._next()) is not None:
                    return begun
                self._food.clear()
                self.news.set()
                await self._food.wait()
        finally:
            self.hungry -= 1

    async def _admitted(self, attempt: Attempt) -> bool:
        """Wait for the attempt's share of each rate; False where the worker has to go meanwhile."""

        async def ends_within(seconds: float) -> bool:
            return self.closed or attempt.abandoned or (seconds > 0 and await self._closes_within(seconds))

        asked = time.monotonic()
        if not await self._limits.admit(attempt, ends_within) or attempt.abandoned:
            return False
        self.tally.rate_waits.observe(time.monotonic() - asked)
        attempt.context = attempt.context.holding(attempt.items, self._execution.seconds)  # its time begins now
        return True

    async def _closes_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._closed.wait()
        return False

    def _give_back(self, holding: Holding, attempt: Attempt) -> None:
        holding.attempts.discard(attempt)
        self.news.set()
        if not attempt.abandoned and not self._holdings.untake(holding, attempt.items):
            holding.give_back(attempt.items)

    def _record(self, holding: Holding, attempt: Attempt, seconds: float) -> None:
        holding.attempts.discard(attempt)
        self.news.set()
        if attempt.abandoned:
            return
        context = attempt.context
        succeeded = False
        for item, outcome in zip(attempt.items, attempt.outcomes, strict=True):
            self.tally.count(outcome)
            if isinstance(outcome, Succeeded):
                succeeded = True
            elif isinstance(outcome, Retried | Failed):
                _report(item, outcome)
        self.finished += len(attempt.outcomes)
        if context.usage_sums:
            self.tally.used.update(context.usage_sums)
        holding.record(attempt.outcomes, context.usage_sums, context.new_parts if succeeded else {}, seconds)

    async def _outlast(self, thread: asyncio.Future[object]) -> None:
        """Wait for a thread that outlived its time limit: its slot is taken."""
        self.stuck += 1
        self.news.set()
        logger.warning("a thread outlived its time limit; its slot stays taken until it ends", stuck=self.stuck)
        await asyncio.wait([thread])
        self.stuck -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = task.exception()
            self.news.set()


def _report(item: Item, outcome: Retried | Failed) -> None:
    details = {"item": item.id, "attempt": item.attempt, "error_class": outcome.error_class, "error": outcome.message}
    if isinstance(outcome, Retried):
        logger.info("an attempt failed", counts=outcome.counts, again_in_ms=outcome.delay_ms, **details)
    else:
        logger.warning("an item is given up", **details)
