"""The rates that a run shares with others: an item is started once it has its share of each.

Waiting happens before an attempt begins, so it counts against no time limit, and what waits is given back at once
when the worker has to go. Leases are renewed meanwhile, as for items in flight.

Shares are taken one after the other, those of the queue first, by one slot at a time: what is held while the next one
is waited for, and so may be used later than it was meant, is one share a worker.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.cost import TOKENS
from batchjob.core.items import Outcome, Retried
from batchjob.core.rates import Rate, SharedRate, own_rates, queue_rates, requests_of
from batchjob.core.retry import MAX_AFTER_SECONDS
from batchjob.errors import StoreNotReady, StoreUnavailable
from batchjob.store import RunStore
from batchjob.worker.execution import Attempt
from batchjob.worker.patience import patiently

HORIZON_SECONDS: Final = 5.0  # a share whose turn is further away is not taken: a worker that dies would take it along
FREE_SECONDS: Final = 0.25  # where there is no rate, so often somebody's hold is looked for
AWAY_SECONDS: Final = 1.0  # until a store that does not answer is asked again
ANY_SECONDS: Final = 1e9  # a horizon for what has been used already
NEWEST: Final = 0.2  # weight of the newest attempt in the mean of its tokens

logger = log.get(__name__)


class Limiter:
    """One rate, for one worker."""

    def __init__(self, store: RunStore, name: str, rate: Rate, *, counts_tokens: bool = False) -> None:
        self.counts_tokens = counts_tokens  # else attempts of items
        self._store = store
        self._name = name
        self._rate = rate
        self._free_until = 0.0

    @property
    def is_bound(self) -> bool:
        """Whether there is a limit, and not only what somebody may be told."""
        return bool(self._rate.interval_us)

    async def take(self, weight: int) -> tuple[bool, float]:
        """Whether a share is ours, and the seconds to wait: until it may be used, else until it is worth asking."""
        if not self._rate.interval_us and time.monotonic() < self._free_until:
            return True, 0.0
        try:
            taken, seconds = await self._store.take_rate(self._name, self._rate, weight, HORIZON_SECONDS)
        except (StoreUnavailable, StoreNotReady) as error:
            logger.warning("waiting for the store", error=str(error), seconds=AWAY_SECONDS)
            return False, AWAY_SECONDS
        if taken and not seconds:
            self._free_until = time.monotonic() + FREE_SECONDS
        return taken, seconds if taken else min(seconds, HORIZON_SECONDS)

    async def charge(self, weight: int) -> None:
        """Take what was used already, or give back what was not."""
        await self._store.take_rate(self._name, self._rate, weight, ANY_SECONDS)

    async def hold(self, seconds: float) -> None:
        """Nobody takes a share before so many seconds are over."""
        self._free_until = 0.0
        await patiently(lambda: self._store.hold_rate(self._name, seconds))


class Limits:
    """Every rate of a run, for one worker."""

    def __init__(self, store: RunStore, run: Run) -> None:
        self._store = store
        self._spec = run.spec
        self._own = [Limiter(store, rate.key, rate.rate, counts_tokens=rate.counts_tokens) for rate in own_rates(run)]
        self._of_queue: dict[SharedRate, Limiter] = {}
        self._turn = asyncio.Lock()
        self._mean_tokens = 0.0  # of an item's attempt, of late
        self.follow(run)

    def follow(self, run: Run) -> None:
        """The rates of the queue are those of this run by now; what goes on as it was keeps what it knows."""
        known = self._of_queue
        self._of_queue = {
            rate: known.get(rate) or Limiter(self._store, rate.key, rate.rate, counts_tokens=rate.counts_tokens)
            for rate in queue_rates(run)
        }

    @property
    def are_any(self) -> bool:
        """Whether an attempt has to wait for anything."""
        return bool(self._own or self._of_queue)

    async def admit(self, attempt: Attempt, ends_within: Callable[[float], Awaitable[bool]]) -> bool:
        """Wait for the attempt's share of each rate; False where `ends_within` says that the worker has to go."""
        async with self._turn:
            if await ends_within(0):
                return False
            attempt.tokens = round(self._mean_tokens * len(attempt.items))
            for rate in list(self._of_queue):
                while limiter := self._of_queue.get(rate):  # it may be gone meanwhile
                    is_ours, ends = await self._try(limiter, attempt, len(attempt.items), ends_within)
                    if ends:
                        return False
                    if is_ours:
                        break
            requests = requests_of(self._spec, len(attempt.items))
            for limiter in self._own:
                is_ours = False
                while not is_ours:
                    is_ours, ends = await self._try(limiter, attempt, requests, ends_within)
                    if ends:
                        return False
        return True

    @staticmethod
    async def _try(
        limiter: Limiter, attempt: Attempt, requests: int, ends_within: Callable[[float], Awaitable[bool]]
    ) -> tuple[bool, bool]:
        """Whether a share is ours now, and whether the worker has to go."""
        taken, seconds = await limiter.take(attempt.tokens if limiter.counts_tokens else requests)
        return taken, await ends_within(seconds)

    async def settle(self, attempt: Attempt) -> None:
        """Tell the rates what the attempt used, and what the other side said."""
        await self._heed(attempt.outcomes, attempt.context.holds)
        requests = requests_of(self._spec, len(attempt.items))
        more = attempt.context.usage_sums.get("requests", requests) - requests
        if self._own and self._own[0].is_bound and more:
            await self._charge(self._own[0], more)
        limiters = [limiter for limiter in (*self._of_queue.values(), *self._own) if limiter.counts_tokens]
        if not limiters:
            return
        used = sum(attempt.context.usage_sums.get(name, 0) for name in TOKENS)
        if used:
            mean = used / len(attempt.items)
            self._mean_tokens += (mean - self._mean_tokens) * (NEWEST if self._mean_tokens else 1)
        if used != attempt.tokens:
            for limiter in limiters:
                await self._charge(limiter, used - attempt.tokens)

    async def _charge(self, limiter: Limiter, weight: int) -> None:
        try:
            await limiter.charge(weight)
        except (StoreUnavailable, StoreNotReady) as error:  # an answer that was lost must not be charged twice
            logger.warning("what was used is not counted in a limit", used=weight, error=str(error))

    async def _heed(self, outcomes: Sequence[Outcome], asked: Sequence[float]) -> None:
        """Where the other side said "not so fast", nobody takes a share of the run's own rate before it wants.

        Shares that were taken before, at most HORIZON_SECONDS ahead, are still used.
        """
        told = (outcome.hold_ms / 1000 for outcome in outcomes if isinstance(outcome, Retried))
        seconds = min(max([0.0, *asked, *told]), MAX_AFTER_SECONDS)
        if seconds and self._own:
            logger.warning("told to slow down: nobody who shares the rate goes on before", seconds=seconds)
            await self._own[0].hold(seconds)
