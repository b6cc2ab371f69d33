"""A token bucket: the operator's share of the API server, so that a storm of BatchJobs does not starve others."""

import asyncio
import time
from collections.abc import Callable


class Throttle:
    """Lets `rate` calls a second through, after a burst; waiting callers go in the order they came."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def reserve(self) -> float:
        """Take one token; returns the seconds until it is there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    async def acquire(self) -> None:
        """Wait for a token."""
        if (seconds := self.reserve()) > 0:
            await asyncio.sleep(seconds)
