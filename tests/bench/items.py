"""Items a second of one worker loop on the store alone: no-op items with progress on, in chunks of 64.

Every exchange commits a chunk, moves the counters that a status would show, and leases the next: that is the price of
leases, fencing and exact progress. Beside it, in the same run on the same server: a plain LPUSH / RPOPLPUSH / LREM
per item, what a simple queue does, and the server's own limit for one connection, pipelined PINGs.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.items import Item, Succeeded
from batchjob.store import Commit, Store
from tests.support.redis_server import RedisServer

ITEMS = 100_000
PLAIN_ITEMS = 5_000  # of the plain loop: it is slow
CHUNK = 64
PINGS = 100_000
PAYLOAD = {"text": "x" * 180}  # some 200 bytes as JSON


async def _load(store: Store, redis: Redis) -> dict[str, float]:
    before = (await redis.info("memory"))["used_memory"]
    await store.open_run("bench", epoch="e", max_losses=3, created_for="bench/items")
    lease = await store.run("bench", "loader").claim_load()
    if lease is None:
        raise RuntimeError("the run is loaded already")
    began = time.perf_counter()
    for first in range(0, ITEMS, CHUNK * 16):
        items = [Item(n, f"item-{n}", PAYLOAD) for n in range(first, min(first + CHUNK * 16, ITEMS))]
        await lease.put([items[at : at + CHUNK] for at in range(0, len(items), CHUNK)])
    await lease.finish(ITEMS, None, None)
    seconds = time.perf_counter() - began
    used = (await redis.info("memory"))["used_memory"] - before
    return {"loaded_per_second": ITEMS / seconds, "bytes_per_item": used / ITEMS}


async def _work(store: Store) -> float:
    """The worker loop, double-buffered as the runtime is: it holds two chunks and declares before it starts."""
    run = store.run("bench", "worker")
    began = time.perf_counter()
    grant = await run.exchange([], 2 * CHUNK, CHUNK)
    held = grant.chunks
    while held:
        first, *rest = held
        commits = [Commit(first.id, first.fence, [Succeeded(item.position) for item in first.items])]
        commits += [Commit(chunk.id, chunk.fence, started=len(chunk.items)) for chunk in rest]
        held = rest + (await run.exchange(commits, CHUNK, CHUNK)).chunks
    seconds = time.perf_counter() - began
    snapshot = await store.snapshot("bench")
    if snapshot is None or snapshot.counts.succeeded != ITEMS:
        raise RuntimeError(f"not every item was counted: {snapshot}")
    return ITEMS / seconds


async def _plain(redis: Redis) -> float:
    payload = b"x" * 200
    pipeline = redis.pipeline(transaction=False)
    for _ in range(PLAIN_ITEMS):
        pipeline.lpush("plain", payload)
    await pipeline.execute()
    began = time.perf_counter()
    while await redis.execute_command("RPOPLPUSH", "plain", "working"):  # type: ignore[no-untyped-call]
        await redis.execute_command("LREM", "working", 1, payload)  # type: ignore[no-untyped-call]
    return PLAIN_ITEMS / (time.perf_counter() - began)


async def _pings(redis: Redis) -> float:
    began = time.perf_counter()
    for _ in range(PINGS // 1000):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(1000):
            pipeline.execute_command("PING")
        await pipeline.execute()
    return PINGS / (time.perf_counter() - began)


async def _measure(url: str) -> dict[str, Any]:
    async with Redis.from_url(url) as redis, Store.connect(StoreAccess(url=url), name="bench") as store:
        await store.load_scripts()
        loaded = await _load(store, redis)
        items = await _work(store)
        plain, pings = await _plain(redis), await _pings(redis)
    figures = {"items_per_second": items, **loaded, "plain_queue_per_second": plain, "pings_per_second": pings}
    ratios = {"times_plain_queue": items / plain, "times_pings": items / pings}
    return {name: round(value, 2) for name, value in {**figures, **ratios}.items()}


def measure() -> dict[str, Any]:
    """Figures and ratios, on a Redis of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            return {"items": ITEMS, "chunk": CHUNK, **asyncio.run(_measure(server.url))}
        finally:
            server.kill()
