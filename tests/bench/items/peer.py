"""BullMQ, the queue that most would take for this: Node, and Redis too. Its part is bullmq/peer.mjs.

It is measured with the concurrency that suits it best, and in its own favour: its clock starts when the worker is
connected and stops with the last item, while ours also seals the run.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import cpu_seconds, peak_mib, percentile
from tests.bench.items.process import (
    TEXT,
    Broker,
    fresh_broker,
    per_item,
    until,
)

FOLDER: Final = Path(__file__).with_name("bullmq")
HELD: Final = 8  # items in the hands of the worker that is killed
PAUSE_MS: Final = 20  # between items that are added for their latency


class _Node:
    """One process that carries out one order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.kill = process.kill
        self._process = process

    async def heard(self) -> dict[str, Any]:
        """The next thing it says."""
        if self._process.stdout is None or not (line := await self._process.stdout.readline()):
            raise RuntimeError("BullMQ's process ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def go(self) -> None:
        """Let it go on."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")


@asynccontextmanager
async def _node(broker: Broker, order: str, **arguments: Any) -> AsyncIterator[_Node]:
    told = json.dumps({"port": broker.server.port, "text": TEXT, **arguments})
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", "peer.mjs", order, told, cwd=FOLDER, stdin=pipe, stdout=pipe)
    try:
        yield _Node(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class BullMQ:
    """One worker process of `concurrency`, and `best`, what was measured with it."""

    name = "bullmq"

    def __init__(self, concurrency: int, best: float = 0) -> None:
        self.best = best
        self._concurrency = concurrency

    async def repetition(self, items: int) -> dict[str, Any]:
        """Load in bulk by one process, then work in another."""
        async with fresh_broker() as broker:
            empty = await broker.bytes_used()
            async with _node(broker, "load", items=items) as node:
                loaded = (await node.heard())["seconds"]
            weight = await broker.bytes_used() - empty
            async with _node(broker, "work", items=items, concurrency=self._concurrency) as node:
                await node.heard()
                worker_cpu, broker_cpu = cpu_seconds(node.pid), await broker.cpu_seconds()
                node.go()
                seconds = (await node.heard())["seconds"]
                worker_cpu = cpu_seconds(node.pid) - worker_cpu
                broker_cpu = await broker.cpu_seconds() - broker_cpu
                peak = peak_mib(node.pid)
        return {
            "items": items,
            "load_seconds": loaded,
            "loaded_per_second": items / loaded,
            "bytes_per_item": weight / items,
            **per_item(items, seconds, worker_cpu, broker_cpu),
            "worker_peak_mib": peak,
        }

    async def latency(self, samples: int) -> dict[str, float]:
        """One job after the other, each added to a worker that waits; both in one process."""
        async with fresh_broker() as broker, _node(broker, "latency", samples=samples, pause_ms=PAUSE_MS) as node:
            waits = (await node.heard())["waits_ms"]
        return {"samples": samples, "p50_ms": percentile(waits, 50), "p99_ms": percentile(waits, 99)}

    async def until_taken_over(self, broker: Broker, wait_seconds: float) -> float:
        """Until the second worker starts the last of what the first held."""
        async with _node(broker, "load", items=HELD) as node:
            await node.heard()
        async with _node(broker, "hold", concurrency=HELD) as first:
            for _ in range(1 + HELD):
                await first.heard()
            async with _node(broker, "hold", concurrency=HELD) as second:
                await second.heard()
                await asyncio.sleep(wait_seconds)
                first.kill()
                killed = time.perf_counter()
                for _ in range(HELD):
                    await second.heard()
                return time.perf_counter() - killed

    async def until_going_on(self, broker: Broker, items: int) -> float:
        """Until fewer items wait than the restarted server knew of."""
        async with _node(broker, "load", items=items) as node:
            await node.heard()

        async def fewer_than(waiting: int) -> bool:
            return await broker.redis.llen("bull:bench:wait") < waiting

        async with _node(broker, "work", items=items, concurrency=self._concurrency) as node:
            await node.heard()
            node.go()
            await until(lambda: fewer_than(items * 9 // 10))
            answering = await broker.crash()
            waiting = await broker.redis.llen("bull:bench:wait")
            return await until(lambda: fewer_than(waiting)) - answering
