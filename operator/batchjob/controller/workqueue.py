"""The keyed queue of the controller: many hints become one look.

A key that is added while it waits is looked at once; one that is added while its look is going on is looked at once
more afterwards. So a key never has two workers, and no hint is lost. Delays coalesce too: the earliest wins. Failures
back off by key, so that one broken object costs the others nothing.

There are two lanes: what is to be started goes before what is already on its way, else a burst would wait behind the
bookkeeping of its own beginning. It never has all looks, so however many arrive, what runs comes to its end.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from batchjob.metrics import WORKQUEUE_DEPTH

FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0  # the longest that a cause, once mended, goes unnoticed where no event tells of it
SHARE_OF_REST: Final = 4  # of so many looks one goes to the rest, where keys of both lanes wait

Key = TypeVar("Key", bound=Hashable)


class Workqueue(Generic[Key]):
    """Keys to look at. Not for several event loops: call it from the loop that runs `work`."""

    def __init__(self, tell_depth: Callable[[float], None] = WORKQUEUE_DEPTH.set) -> None:
        self._tell_depth = tell_depth
        self._first: OrderedDict[Key, None] = OrderedDict()
        self._rest: OrderedDict[Key, None] = OrderedDict()
        self._ready = asyncio.Semaphore(0)  # as often as keys wait
        self._taken = 0
        self._busy: set[Key] = set()
        self._again: dict[Key, bool] = {}  # added while busy; whether to be looked at first
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    @property
    def first_waiting(self) -> int:
        """How many keys wait in the first lane."""
        return len(self._first)

    def expects(self, key: Key) -> bool:
        """Whether the key will be looked at without another hint."""
        return self._waits(key) or key in self._busy or key in self._timers

    def add(self, key: Key, *, first: bool = False) -> None:
        """Look at the key as soon as a worker is free; `first`: before those that were not added so."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again[key] = first or self._again.get(key, False)
        elif not self._waits(key):
            (self._first if first else self._rest)[key] = None
            self._ready.release()
            self._tell()
        elif first and key in self._rest:
            del self._rest[key]
            self._first[key] = None

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key in so many seconds, unless it is looked at earlier for another reason."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        earlier = self._timers.get(key)
        if self._waits(key) or (earlier and earlier.when() <= due):
            return
        if earlier:
            earlier.cancel()
        self._timers[key] = loop.call_at(due, self.add, key)

    def back_off(self, key: Key) -> float:
        """Look again later, each time later, with jitter; returns the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        grown: float = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures, 10))
        seconds = grown * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, guards nothing
        self.add_after(key, seconds)
        return seconds

    def forget_failures(self, key: Key) -> None:
        """The look went well: the next failure begins with a short wait."""
        self._failures.pop(key, None)

    async def work(self, look: Callable[[Key], Awaitable[None]], workers: int) -> None:
        """Look at keys for ever, `workers` at a time. `look` must not raise."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(look))

    async def _worker(self, look: Callable[[Key], Awaitable[None]]) -> None:
        while True:
            await self._ready.acquire()
            key = self._take()
            self._busy.add(key)
            try:
                await look(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self.add(key, first=self._again.pop(key))

    def _take(self) -> Key:
        self._taken += 1
        lanes = [self._first, self._rest]
        if self._taken % SHARE_OF_REST == 0:
            lanes.reverse()
        key, _ = next(lane for lane in lanes if lane).popitem(last=False)
        self._tell()
        return key

    def _waits(self, key: Key) -> bool:
        return key in self._first or key in self._rest

    def _tell(self) -> None:
        self._tell_depth(len(self._first) + len(self._rest))

    def clear(self) -> None:
        """Forget every key: another replica leads now. Not while somebody works."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._failures.clear()
        self._again.clear()
        self._first.clear()
        self._rest.clear()
        self._ready = asyncio.Semaphore(0)
        self._tell()
