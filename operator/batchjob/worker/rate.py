"""The rate that a run shares with others: an item is started once it has its share of it.

Waiting happens before an attempt begins, so it counts against no time limit, and what waits is given back at once
when the worker has to go. Leases are renewed meanwhile, as for items in flight.
"""

import time
from collections.abc import Sequence
from typing import Final

from batchjob import log
from batchjob.core.items import Outcome, Retried
from batchjob.core.rates import Rate
from batchjob.store import RunStore
from batchjob.worker.patience import patiently

HORIZON_SECONDS: Final = 5.0  # a share further away is not taken: a worker that dies would take it along
FREE_SECONDS: Final = 0.25  # where there is no rate, so often somebody's hold is looked for

logger = log.get(__name__)


class Limiter:
    """One rate, for one worker."""

    def __init__(self, store: RunStore, name: str, rate: Rate) -> None:
        self._store = store
        self._name = name
        self._rate = rate
        self._free_until = 0.0

    async def take(self, weight: int) -> tuple[bool, float]:
        """Whether a share is ours, and the seconds to wait: until it may be used, else until it is worth asking."""
        if not self._rate.interval_us and time.monotonic() < self._free_until:
            return True, 0.0
        taken, seconds = await patiently(lambda: self._store.take_rate(self._name, self._rate, weight, HORIZON_SECONDS))
        if taken and not seconds:
            self._free_until = time.monotonic() + FREE_SECONDS
        return taken, min(seconds, HORIZON_SECONDS)

    async def heed(self, outcomes: Sequence[Outcome]) -> None:
        """Where the other side said "not so fast", nobody takes a share of the rate before it wants to be asked.

        Shares that were taken before, at most HORIZON_SECONDS ahead, are still used.
        """
        hold_ms = max((outcome.hold_ms for outcome in outcomes if isinstance(outcome, Retried)), default=0)
        if hold_ms:
            seconds = hold_ms / 1000
            logger.warning("told to slow down: nobody who shares the rate goes on before", seconds=seconds)
            self._free_until = 0.0
            await patiently(lambda: self._store.hold_rate(self._name, seconds))
