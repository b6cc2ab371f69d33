"""What a Redis takes, and the shape of a contender."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import Redis

from tests.support.redis_server import RedisServer

PATIENCE_SECONDS: Final = 1800
POLL_SECONDS: Final = 0.01
TEXT: Final = "x" * 177  # {"id":"i00000001","text":"…"} takes 200 bytes


class Broker(NamedTuple):
    """A Redis of its own, and the folder beside it."""

    server: RedisServer
    redis: Redis
    folder: Path

    async def cpu_seconds(self) -> float:
        """CPU of the server so far; rewrites of its log, which run in a child, left out."""
        found = await self.redis.info("cpu")
        return float(found["used_cpu_user"] + found["used_cpu_sys"])

    async def bytes_used(self) -> int:
        """Memory of the data: without buffers of clients and of the log."""
        found = await self.redis.info("memory")
        return int(found["used_memory"] - found["mem_clients_normal"] - found["mem_aof_buffer"])

    async def crash(self) -> float:
        """SIGKILL and restart; the moment at which it answers again."""
        self.server.kill()
        self.server.start()
        answering = time.perf_counter()
        await self.redis.connection_pool.disconnect()
        return answering


class Contender(Protocol):
    """What is measured."""

    name: str

    async def repetition(self, items: int) -> dict[str, Any]:
        """Load and work on a fresh server."""

    async def latency(self, samples: int) -> dict[str, float]:
        """From adding an item under an idle worker to its start."""

    async def until_taken_over(self, broker: Broker, wait_seconds: float) -> float:
        """Seconds from SIGKILL of a worker to the start of what it held in another."""

    async def until_going_on(self, broker: Broker, items: int) -> float:
        """Seconds from a killed and restarted Redis' first answer to the next item finished."""


@asynccontextmanager
async def fresh_broker() -> AsyncIterator[Broker]:
    """A Redis that nobody used before."""
    with tempfile.TemporaryDirectory() as name:
        server = RedisServer(Path(name)).start()
        try:
            async with Redis.from_url(server.url) as redis:
                yield Broker(server, redis, Path(name))
        finally:
            server.kill()


async def until(look: Callable[[], Any]) -> float:
    """The moment at which an awaited look is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await look():  # noqa: ASYNC110 - of another process: nothing here could set an event
            await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter()


def per_item(items: int, seconds: float, worker_cpu: float, broker_cpu: float) -> dict[str, float]:
    """The figures of working through items."""
    return {
        "items_per_second": items / seconds,
        "worker_cpu_ms_per_1000": 1e6 * worker_cpu / items,
        "broker_cpu_ms_per_1000": 1e6 * broker_cpu / items,
        "cpu_ms_per_1000": 1e6 * (worker_cpu + broker_cpu) / items,
    }
