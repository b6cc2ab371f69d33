"""The keyed queue of the controller: many hints become one look.

A key that is added while it waits is looked at once; one that is added while its look is going on is looked at once
more afterwards. So a key never has two workers, and no hint is lost. Delays coalesce too: the earliest wins. Failures
back off by key, so that one broken object costs the others nothing.

There are two lanes: what is to be started goes before what is already on its way, else a burst would wait behind the
bookkeeping of its own beginning. It never has all looks, so however many arrive, what runs comes to its end. In each
lane groups (namespaces) take turns: who has thousands to look at holds up nobody else.
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


class Lane(Generic[Key]):
    """Keys that wait, each once: groups in turns, the keys of one in the order in which they came."""

    def __init__(self, group: Callable[[Key], Hashable]) -> None:
        self._group = group
        self._groups: OrderedDict[Hashable, OrderedDict[Key, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._length

    def __contains__(self, key: Key) -> bool:
        """Whether this one waits."""
        return key in self._groups.get(self._group(key), ())

    def add(self, key: Key) -> None:
        """Take in a key that does not wait here."""
        self._groups.setdefault(self._group(key), OrderedDict())[key] = None
        self._length += 1

    def remove(self, key: Key) -> None:
        """Let go a key that waits here."""
        group = self._group(key)
        del self._groups[group][key]
        if not self._groups[group]:
            del self._groups[group]
        self._length -= 1

    def take(self) -> Key:
        """The key whose turn it is."""
        group, keys = next(iter(self._groups.items()))
        key = next(iter(keys))
        self._groups.move_to_end(group)
        self.remove(key)
        return key


class Workqueue(Generic[Key]):
    """Keys to look at. Not for several event loops: call it from the loop that runs `work`."""

    def __init__(
        self,
        tell_depth: Callable[[float], None] = WORKQUEUE_DEPTH.set,
        group: Callable[[Key], Hashable] = lambda _: None,
    ) -> None:
        """`group`: those of a key take turns with those of others."""
        self._tell_depth = tell_depth
        self._group = group
        self._first = Lane[Key](group)
        self._rest = Lane[Key](group)
        self._ready = asyncio.Semaphore(0)  # as often as keys wait
        self._taken = 0
        self._busy: dict[Key, bool] = {}  # looked at now; whether it was in the first lane
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
            (self._first if first else self._rest).add(key)
            self._ready.release()
            self._tell()
        elif first and key in self._rest:
            self._rest.remove(key)
            self._first.add(key)

    def add_after(self, key: Key, seconds: float, *, first: bool = False) -> None:
        """Look at the key in so many seconds, unless it is looked at earlier for another reason."""
        if seconds <= 0:
            self.add(key, first=first)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        earlier = self._timers.get(key)
        if self._waits(key) or (earlier and earlier.when() <= due):
            return
        if earlier:
            earlier.cancel()
        self._timers[key] = loop.call_at(due, lambda: self.add(key, first=first))

    def back_off(self, key: Key) -> float:
        """Look again later, each time later, with jitter, in the lane that it came from; returns the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        grown: float = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures, 10))
        seconds = grown * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, guards nothing
        self.add_after(key, seconds, first=self._busy.get(key, False))
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
            try:
                await look(key)
            finally:
                del self._busy[key]
                if key in self._again:
                    self.add(key, first=self._again.pop(key))

    def _take(self) -> Key:
        self._taken += 1
        lanes = [self._first, self._rest]
        if self._taken % SHARE_OF_REST == 0:
            lanes.reverse()
        lane = next(lane for lane in lanes if lane)
        key = lane.take()
        self._busy[key] = lane is self._first
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
        self._first, self._rest = Lane(self._group), Lane(self._group)
        self._ready = asyncio.Semaphore(0)
        self._tell()
