"""The proofs of the item engine, and how many trials each takes in full."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.prove.engine import drains, kills, millions, replies, restarts, walks
from tests.prove.proof import Proof
from tests.support.redis_server import RedisServer
from tests.support.workers import Workers


@contextmanager
def a_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis of the trial's own."""
    (folder / "redis").mkdir()
    server = RedisServer(folder / "redis").start()
    try:
        yield server
    finally:
        server.kill()


def walk(number: int, folder: Path) -> dict[str, Any]:
    with a_server(folder) as server:
        return walks.trial(server.url, 500, number)


def with_workers(
    trial: Callable[[Workers, Redis, int, int], Awaitable[dict[str, Any]]], size: int
) -> Callable[[int, Path], dict[str, Any]]:
    """A trial that needs a store and workers, as the tests have them."""

    async def within(number: int, folder: Path, url: str) -> dict[str, Any]:
        async with Store.connect(StoreAccess(url=url), name="operator") as store, Redis.from_url(url) as redis:
            await store.load_scripts()
            return await trial(Workers(store, url, folder / "pods"), redis, size, number)

    def run(number: int, folder: Path) -> dict[str, Any]:
        with a_server(folder) as server:
            return asyncio.run(within(number, folder, server.url))

    return run


def restart(number: int, folder: Path) -> dict[str, Any]:
    return asyncio.run(restarts.trial(folder, lives=10, hang_seconds=30, seed=number))


def spoil(number: int, folder: Path) -> dict[str, Any]:
    """All spoils of the calls numbered `number` of their name."""

    async def within(server: RedisServer) -> dict[str, Any]:
        clean, calls = await replies.learn(server, folder)
        wanted = [one for one in replies.spoils(calls, number) if one.nth == number]
        assert wanted, "nothing is called so often"
        for n, one in enumerate(wanted):
            await replies.trial(server, folder / str(n), clean, one)
        return {"calls_spoiled": len(wanted)}

    with a_server(folder) as server:
        return asyncio.run(within(server))


AT_ONCE: Final = 1  # trials: each has workers of its own, as many as two cores can bear
PROOFS: Final = (
    Proof("walks", "every invariant holds after every step of a random walk through the lives of runs", 14, walk),
    Proof(
        "kills",
        "workers that are killed lose nothing, no more runs again than was in flight, and each result is in one part",
        15,
        with_workers(kills.trial, 100),
    ),
    Proof(
        "drains",
        "workers that are asked to go give back in 2 s what they had not started; nothing repeats, nothing is spent",
        5,
        with_workers(drains.trial, 20),
    ),
    Proof(
        "millions",
        "a million items take 1.15 of their bytes in the store, and no memory grows while they are worked on",
        1,
        with_workers(lambda workers, redis, items, _: millions.trial(workers, redis, items), 1_000_000),
    ),
    Proof(
        "restarts",
        "a store that is killed and that hangs loses no item, counts none twice, and each result is in one part",
        5,
        restart,
    ),
    Proof("replies", "a call of the store that is cut, or whose reply is lost, changes nothing", replies.MOST, spoil),
)
