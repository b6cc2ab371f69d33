"""Tokens that are refused are counted, by where they come from and in all: so nobody guesses keys or floods Kubernetes.

Past the limit no token is looked at that this process does not know to be good, not even a right one: else guessing
would go on at full speed. Who signed in lately is let through, whoever else fails from the same address. Failures are
counted in the store, all gateways together, and here alone while it does not answer. Tokens that are new are looked at
a few at a time, so that a thousand at once are not through before the first of them is counted.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from batchjob.errors import StoreError
from batchjob.gateway.addresses import counted_as
from batchjob.gateway.identity import Identity, Unauthenticated
from batchjob.gateway.problems import TOO_MANY, Problem

WINDOW_SECONDS: Final = 60
KNOWN_SECONDS: Final = 600.0  # a token that was good is let through for so long after
AT_ONCE: Final = 8  # tokens that are not known
STORE_SECONDS: Final = 1.0
MOST: Final = 10_000  # addresses, and tokens, that are remembered; the oldest go
ALL: Final = "all"

Count = Callable[[str, int], Awaitable[tuple[int, float]]]  # name, seconds → how many in the window, seconds left
Ask = Callable[[str | None], Awaitable[Identity]]


class Attempts:
    """The attempts of one process. `count`: the store's."""

    def __init__(self, count: Count, each: int, in_all: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._each, self._in_all, self._clock = count, each, in_all, clock
        self._known = _Until(clock)  # hashes of tokens
        self._blocked = _Until(clock)  # addresses
        self._windows = _Until(clock)
        self._here: dict[str, int] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def identify(self, ask: Ask, authorization: str | None, address: str) -> Identity:
        """What `ask` says of an Authorization header; a 429 where too many from there, or in all, were refused."""
        digest = hashlib.sha256((authorization or "").encode()).hexdigest()
        if not authorization:
            return await ask(authorization)  # which refuses it, and nobody was asked
        if self._known.left(digest) > 0:
            try:
                identity = await ask(authorization)
            except Unauthenticated:
                self._known.forget(digest)
                raise
        else:
            source = f"{hashlib.sha256(counted_as(address).encode()).hexdigest()[:32]}"
            async with self._turns:
                self._check(source)
                try:
                    identity = await ask(authorization)
                except Unauthenticated as error:
                    if error.is_guess:
                        await self._failed(source)
                    raise
        self._known.keep(digest, KNOWN_SECONDS)
        return identity

    def _check(self, source: str) -> None:
        left = max(self._blocked.left(source), self._blocked.left(ALL))
        if left > 0:
            after = max(1, round(left))
            raise Problem(
                TOO_MANY,
                f"Too many tokens were refused: none that is new is looked at. Try again in {after} s",
                headers={"Retry-After": str(after)},
            )

    async def _failed(self, source: str) -> None:
        for name, quota in ((source, self._each), (ALL, self._in_all)):
            number, left = await self._counted(f"refused:{name}")
            if number >= quota:
                self._blocked.keep(name, left)

    async def _counted(self, name: str) -> tuple[int, float]:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._count(name, WINDOW_SECONDS)
        except (StoreError, TimeoutError):
            return self._counted_here(name)

    def _counted_here(self, name: str) -> tuple[int, float]:
        if self._windows.left(name) <= 0:
            self._windows.keep(name, WINDOW_SECONDS)
            self._here = {kept: number for kept, number in self._here.items() if self._windows.left(kept) > 0}
            self._here[name] = 0
        self._here[name] += 1
        return self._here[name], self._windows.left(name)


class _Until:
    """Names that are remembered until a moment; bounded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: OrderedDict[str, float] = OrderedDict()

    def left(self, name: str) -> float:
        return self._ends.get(name, 0.0) - self._clock()

    def keep(self, name: str, seconds: float) -> None:
        self._ends.pop(name, None)
        self._ends[name] = self._clock() + seconds
        while len(self._ends) > MOST:
            self._ends.popitem(last=False)

    def forget(self, name: str) -> None:
        self._ends.pop(name, None)
