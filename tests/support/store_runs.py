"""Runs for the store tests, and the blows of fate that they have to stand."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.core.items import LEASE_MS, Chunk, Item, Outcome, RunRules, Succeeded
from batchjob.store import Commit, Store
from batchjob.store.keys import run_key
from tests.support.store_oracle import Oracle

STAY: Final = RunRules()  # in the store, however many


def done(chunk: Chunk) -> Commit:
    """Every item of the chunk succeeded."""
    return commit(chunk, [Succeeded(item.position) for item in chunk.items])


def commit(chunk: Chunk, outcomes: Sequence[Outcome] = (), *, started: int = 0, release: bool = False) -> Commit:
    """News of a chunk."""
    return Commit(chunk.id, chunk.fence, outcomes, started=started, release=release)


def positions(chunks: Sequence[Chunk]) -> list[int]:
    """The items of some chunks."""
    return [item.position for chunk in chunks for item in chunk.items]


async def started_items(redis: Redis, uid: str, worker: str) -> int:
    """Items that count as lost if this worker is lost now."""
    owners: Any = await redis.hgetall(run_key(uid, "owner"))
    marks: Any = await redis.hgetall(run_key(uid, "checkpoint"))
    started = 0
    for chunk, owner in owners.items():
        _, declared, _, _, name = owner.decode().split("/", 4)
        if name == worker:
            started += int(declared) - marks.get(chunk, b"")[: int(declared)].count(b"1")
    return started


class Runs:
    """Makes runs and looks at them."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self.store = store
        self.redis = redis
        self._numbers = itertools.count(1)

    async def open_empty(self, *, max_losses: int = 3, lease_ms: int = LEASE_MS, rules: RunRules = STAY) -> str:
        """A run that is not loaded; returns its uid."""
        uid = f"run-{next(self._numbers)}"
        await self.store.open_run(
            uid,
            epoch="one",
            created_for="team/run",
            max_losses=max_losses,
            lease_ms=lease_ms,
            rules=rules,
        )
        return uid

    async def open(
        self,
        items: int = 8,
        chunk: int = 4,
        *,
        max_losses: int = 3,
        lease_ms: int = LEASE_MS,
        rules: RunRules = STAY,
    ) -> str:
        """A loaded run of `items` items in chunks of `chunk`; returns its uid."""
        uid = await self.open_empty(max_losses=max_losses, lease_ms=lease_ms, rules=rules)
        lease = await self.store.run(uid, "loader").claim_load()
        assert lease is not None
        todo = [Item(position, f"item-{position}", {"n": position}) for position in range(items)]
        await lease.put([todo[first : first + chunk] for first in range(0, items, chunk)])
        await lease.finish(items, "0" * 64, None)
        return uid

    def oracle(self, uid: str) -> Oracle:
        """What must be true of a run."""
        return Oracle(self.redis, uid)

    async def claim(self, uid: str, worker: str = "w1", want: int = 100) -> list[Chunk]:
        """Chunks for a worker that has nothing to commit."""
        return (await self.store.run(uid, worker).exchange([], want, want)).chunks

    async def claim_started(self, uid: str, worker: str = "w1", want: int = 100) -> list[Chunk]:
        """Chunks, all of whose items may have been started."""
        chunks = await self.claim(uid, worker, want)
        started = [commit(chunk, started=len(chunk.items)) for chunk in chunks]
        await self.store.run(uid, worker).exchange(started, 0)
        return chunks

    async def lose_loader(self, uid: str) -> None:
        """Whoever loads or seals falls silent for longer than its lease."""
        await self.redis.hset(run_key(uid, "duty"), "deadline", "1")

    async def lose_workers(self, uid: str) -> None:
        """Every worker falls silent for longer than its lease: the deadlines move to the past."""
        await self._move_to_the_past(uid, "lease")

    async def let_retries_fall_due(self, uid: str) -> None:
        """Time passes: every delayed item is due."""
        await self._move_to_the_past(uid, "retry")

    async def _move_to_the_past(self, uid: str, name: str) -> None:
        for chunk in await self.oracle(uid).read("ZRANGE", name, 0, -1):
            await self.redis.zadd(run_key(uid, name), {chunk: 1})
