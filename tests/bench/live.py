"""What live events cost: a thousand people on one gateway, each with a BatchJob of their own that moves all the time.

From the moment at which the operator's half begins to tell until the client has the event in hand: the store, the bell,
the gateway's one reader and the WebSocket are in it, and so are the clients, which all live in this process.
"""

import asyncio
import gc
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection

from batchjob.api.run import StoreAccess
from batchjob.core.events import LiveEvent, LiveType, Told
from batchjob.core.records import owner_key
from batchjob.store import Store, Telling
from batchjob.store.live import NOTHING, Record
from tests.bench.figures import Line, cpu_seconds, percentile, rss_mib
from tests.support.live_gateway import ApiServer, GatewayProcess
from tests.support.redis_server import RedisServer

CLIENTS: Final = 1000
ROUNDS_A_SECOND: Final = 4
SECONDS: Final = 30
AT_ONCE: Final = 20  # that sign in at a time


def measure(scale: float) -> Iterator[Line]:
    """One line."""
    gc.disable()  # the thousand are one process here, whose pauses are none of the gateway's
    try:
        yield asyncio.run(_measure(max(10, round(CLIENTS * scale)), max(5, round(SECONDS * scale))))
    finally:
        gc.enable()


async def _measure(clients: int, seconds: int) -> Line:
    names = [f"u{number}" for number in range(clients)]
    api = ApiServer()
    api.users = set(names)
    with tempfile.TemporaryDirectory() as folder, api.serving() as url:
        server = RedisServer(Path(folder)).start()
        gateway = GatewayProcess(url, server.url, Path(folder) / "gateway").start()
        try:
            async with Store.connect(StoreAccess(url=server.url), name="bench") as store, AsyncExitStack() as stack:
                await store.load_scripts()
                return await _watch(store, gateway, names, seconds, stack)
        finally:
            gateway.kill()
            server.kill()


async def _watch(store: Store, gateway: GatewayProcess, names: list[str], seconds: int, stack: AsyncExitStack) -> Line:
    assert gateway.process
    pid = gateway.process.pid
    idle = rss_mib(pid)
    gate = asyncio.Semaphore(AT_ONCE)

    async def sign_in(name: str) -> ClientConnection:
        async with gate:
            return await stack.enter_async_context(await gateway.watch(name, ping_interval=None))

    sockets = await asyncio.gather(*map(sign_in, names))
    rounds = seconds * ROUNDS_A_SECOND
    readers = [asyncio.create_task(_read(socket, rounds)) for socket in sockets]
    before, began = cpu_seconds(pid), time.monotonic()
    await _tell(store, names, rounds)
    delays = [delay for found in await asyncio.gather(*readers) for delay in found]
    took, cpu = time.monotonic() - began, cpu_seconds(pid) - before
    return {
        "figure": "delivery",
        "clients": len(names),
        "events": len(delays),
        "events_a_second": len(delays) / took,
        "p50_ms": 1000 * percentile(delays, 50),
        "p99_ms": 1000 * percentile(delays, 99),
        "cpu_ms_an_event": 1000 * cpu / len(delays),
        "rss_mib": rss_mib(pid),
        "kib_a_client": 1024 * (rss_mib(pid) - idle) / len(names),
    }


async def _read(socket: ClientConnection, most: int) -> list[float]:
    found: list[float] = []
    while len(found) < most:
        event: dict[str, Any] = json.loads(await socket.recv())
        if "seq" in event:
            found.append(time.time() - event["data"]["at"])
    return found


async def _tell(store: Store, names: list[str], rounds: int) -> None:
    """One event for each, again and again: as the operator does it, hundreds in a round trip."""
    known: dict[str, Record] = dict.fromkeys(names, NOTHING)
    async for number in _beats(rounds):
        for first in range(0, len(names), 500):
            page = names[first : first + 500]
            at = time.time()
            event = LiveEvent(LiveType.PROGRESS, round(1000 * at), number, {"at": at, "processed": number})
            tellings = [
                Telling(name, owner_key("team", name), f"team.{name}", known[name], Told(seq=number), [event])
                for name in page
            ]
            known |= zip(page, await store.live.tell(tellings), strict=True)


async def _beats(rounds: int) -> AsyncIterator[int]:
    """1, 2, …, each at its time; late ones at once."""
    began = time.monotonic()
    for number in range(1, rounds + 1):
        yield number
        await asyncio.sleep(max(0.0, began + number / ROUNDS_A_SECOND - time.monotonic()))
