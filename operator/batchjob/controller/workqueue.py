"""The keyed queue of the controller: many hints become one look.

A key that is added while it waits is looked at once; one that is added while its look is going on is looked at once
more afterwards. So a key never has two workers, and no hint is lost. Delays coalesce too: the earliest wins. Failures
back off by key, so that one broken object costs the others nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from batchjob.metrics import WORKQUEUE_DEPTH

FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0  # the longest that a cause, once mended, goes unnoticed where no event tells of it

Key = TypeVar("Key", bound=Hashable)


class Workqueue(Generic[Key]):
    """Keys to look at. Not for several event loops: call it from the loop that runs `work`."""

    def __init__(self, tell_depth: Callable[[float], None] = WORKQUEUE_DEPTH.set) -> None:
        self._tell_depth = tell_depth
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()  # in `_ready`, each once
        self._busy: set[Key] = set()
        self._again: set[Key] = set()  # added while busy
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Look at the key as soon as a worker is free."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)
            self._tell_depth(len(self._waiting))

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key in so many seconds, unless it is looked at earlier for another reason."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        earlier = self._timers.get(key)
        if key in self._waiting or (earlier and earlier.when() <= due):
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
            key = await self._ready.get()
            self._waiting.discard(key)
            self._tell_depth(len(self._waiting))
            self._busy.add(key)
            try:
                await look(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def clear(self) -> None:
        """Forget every key: another replica leads now."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._failures.clear()
        self._again.clear()
        self._waiting.clear()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._tell_depth(0)
