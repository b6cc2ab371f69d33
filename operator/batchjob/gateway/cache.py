"""What was asked of others a moment ago: bounded, and forgotten after some seconds. Clocks are arguments."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_ENTRIES: Final = 10_000  # of a few hundred bytes each; the oldest goes


class Cache(Generic[K, V]):
    """Answers by question. Two who ask the same at the same moment may both ask on."""

    def __init__(self, seconds: float, most: int = MOST_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer that is known, else that of `ask`. What `ask` raises is not remembered."""
        found = self._entries.get(key)
        if found is not None and found[0] > self._clock():
            return found[1]
        answer = await ask()
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + self._seconds, answer)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
        return answer
