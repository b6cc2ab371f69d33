"""How many BatchJobs ended in each hour of the last day: read once for all who look, every few seconds at most.

A day's records are up to a hundred thousand: to read them for each page of each tab would be most of the store's work.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from batchjob.gateway.ui.views_queues import HOUR_SECONDS, HOURS, Ended, PerHour, per_hour
from batchjob.store import Store

KEPT_SECONDS: Final = 10.0  # what is shown is by the hour


class Day:
    """The last day, of all and of each owner."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._reading = asyncio.Lock()  # many pages read themselves again at the same moment
        self._read_at = float("-inf")
        self._all: PerHour = {}
        self._of: dict[str | None, PerHour] = {}

    async def ended(self, store: Store, owner: str | None) -> PerHour:
        """By queue; `owner`: whose, None: everybody's."""
        async with self._reading:
            now = self._clock()
            if now - self._read_at >= KEPT_SECONDS:
                found: defaultdict[str | None, list[Ended]] = defaultdict(list)
                async for record in store.history.read(now - HOURS * HOUR_SECONDS, now):
                    found[record.owner].append(Ended(record.queue, record.phase, record.ended))
                self._all = per_hour((one for ended in found.values() for one in ended), now)
                self._of = {of: per_hour(ended, now) for of, ended in found.items()}
                self._read_at = now
        return self._all if owner is None else self._of.get(owner, {})


def day_of(request: Request) -> Day:
    """That of this process."""
    state = request.app.state
    if not hasattr(state, "day"):
        state.day = Day()
    found: Day = state.day
    return found
