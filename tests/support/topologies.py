"""More than one Redis: a cluster of three masters, and a master with a replica that a sentinel watches."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.redis_server import RedisServer
from tests.support.workers import wait_for

SLOTS: Final = 16384
MASTER: Final = "store"


async def ask(server: RedisServer, *command: Any) -> Any:
    """One command, as the server's administrator."""
    async with Redis.from_url(server.url) as client:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def a_cluster(folder: Path, masters: int = 3) -> AsyncIterator[list[RedisServer]]:
    """Masters that share the slots."""
    async with AsyncExitStack() as stack:
        servers = [
            _start(stack, folder / f"master-{n}", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            for n in range(masters)
        ]
        share = SLOTS // masters
        for n, server in enumerate(servers):
            last = SLOTS - 1 if n == masters - 1 else (n + 1) * share - 1
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", n * share, last)
            await ask(server, "CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        for server in servers:
            await wait_for(_says(server, ("CLUSTER INFO",), "cluster_state", "ok"), "the cluster to be whole")
        yield servers


@asynccontextmanager
async def a_watched_pair(folder: Path) -> AsyncIterator[tuple[RedisServer, RedisServer, str]]:
    """A master, its replica, and the URL that leads to whichever of them a sentinel calls the master."""
    async with AsyncExitStack() as stack:
        master = _start(stack, folder / "master")
        replica = _start(stack, folder / "replica", "--replicaof", "127.0.0.1", str(master.port))
        await wait_for(_says(replica, ("INFO", "replication"), "master_link_status", "up"), "the replica to follow")
        sentinel = _start(stack, folder / "sentinel", sentinel=partial(_watch, master.port))
        yield master, replica, f"redis+sentinel://127.0.0.1:{sentinel.port}/{MASTER}"


def _watch(master_port: int, port: int) -> str:
    return (
        f"port {port}\nbind 127.0.0.1\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 1\n"
        f"sentinel down-after-milliseconds {MASTER} 3000\n"  # less, and a busy machine looks like a dead master
        f"sentinel failover-timeout {MASTER} 3000\n"
    )


def _start(
    stack: AsyncExitStack, folder: Path, *options: str, sentinel: Callable[[int], str] | None = None
) -> RedisServer:
    folder.mkdir()
    server = RedisServer(folder, *options, sentinel=sentinel).start()
    stack.callback(server.kill)
    return server


def _says(server: RedisServer, command: tuple[str, ...], name: str, value: str) -> Callable[[], Awaitable[bool | None]]:
    async def look() -> bool | None:
        with suppress(RedisError, OSError):  # a server that changes its part hangs up
            answer = await ask(server, *command)
            return True if answer.get(name) == value else None
        return None

    return look


async def promoted(server: RedisServer) -> None:
    """Wait until it is the master."""
    await wait_for(_says(server, ("INFO", "replication"), "role", "master"), "the replica to be made the master")
