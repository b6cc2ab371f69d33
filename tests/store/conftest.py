"""A real Redis for the store tests, and runs in it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.store_runs import Runs
from tests.support.workers import Workers

# What lies beside the runs, and has to go by itself.
PASSING = {
    "rate": "a rate is remembered for ever",
    "cache": "what was cached is remembered for ever",
    "limit": "requests are counted for ever",
    "history": "an ended run is remembered for ever",
    "audit": "what people did is remembered for ever",
    "live": "what was told is remembered for ever",
}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The server as its administrator sees it, empty."""
    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
        yield client


FOR_EVER = -1  # what PTTL says of a key that does not expire


@pytest.fixture
async def store(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Store]:
    """The store as the operator sees it; whatever a test does, deleting its runs must leave no key."""
    async with Store.connect(StoreAccess(url=redis_server.url), name="test") as store:
        await store.load_scripts()
        yield store
        await store.load_scripts()
        for uid in await store.user_names():
            await store.revoke(uid)
        for uid in await store.runs():
            await store.delete_run(uid)
        while await store.changed(0):
            pass
        for prefix, fault in PASSING.items():
            for key in await redis.keys(f"bj:{prefix}:*"):
                assert await redis.pttl(key) != FOR_EVER, fault  # 0: it goes within this millisecond
                await redis.delete(key)
        while rows := await store.index.rows_after("", 1000):
            await store.index.keep(dict.fromkeys(rows), "end")
        await redis.delete("bj:index:{jobs}:mark")
        assert await redis.keys("*") == []


@pytest.fixture
def runs(store: Store, redis: Redis) -> Runs:
    """Makes runs in the store."""
    return Runs(store, redis)


@pytest.fixture
def workers(store: Store, redis_server: RedisServer, tmp_path: Path) -> Workers:
    """Workers, with the operator's half played by hand."""
    return Workers(store, redis_server.url, tmp_path / "pods")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL."""
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def neighbours_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


@pytest.fixture
def neighbours(neighbours_process: Neighbours) -> Neighbours:
    """Neighbours that behave, with empty ledgers."""
    neighbours_process.clear_faults()
    neighbours_process.reset_ledgers()
    return neighbours_process
