"""The store alone: commit, progress and next lease in one call, in chunks of a large source, with no worker around it.

Every exchange commits a chunk, moves the counters that a status would show, and leases the next: that is the price of
leases, fencing and exact progress.
"""

import time
from typing import Any

from batchjob.api.run import StoreAccess
from batchjob.core.chunks import LARGEST as CHUNK
from batchjob.core.items import Item, Succeeded
from batchjob.store import Commit, Store
from tests.bench.items.process import TEXT, Broker, fresh_broker


async def repetition(items: int) -> dict[str, Any]:
    """Load and work through the items."""
    async with fresh_broker() as broker, Store.connect(StoreAccess(url=broker.server.url), name="bench") as store:
        await store.load_scripts()
        await store.open_run("bench", epoch="e", max_losses=3, created_for="bench/items")
        loaded = await _load(store, items)
        return {"items": items, "loaded_per_second": loaded, **await _work(store, broker, items)}


async def _load(store: Store, items: int) -> float:
    lease = await store.run("bench", "loader").claim_load()
    if lease is None:
        raise RuntimeError("the run is loaded already")
    began = time.perf_counter()
    for first in range(0, items, CHUNK * 16):
        batch = [
            Item(n, f"i{n:08d}", {"id": f"i{n:08d}", "text": TEXT})
            for n in range(first, min(first + CHUNK * 16, items))
        ]
        await lease.put([batch[at : at + CHUNK] for at in range(0, len(batch), CHUNK)])
    await lease.finish(items, None, None)
    return items / (time.perf_counter() - began)


async def _work(store: Store, broker: Broker, items: int) -> dict[str, float]:
    """The worker loop, double-buffered as the runtime is: it holds two chunks and declares before it starts."""
    run = store.run("bench", "worker")
    began, cpu = time.perf_counter(), await broker.cpu_seconds()
    held = (await run.exchange([], 2 * CHUNK, CHUNK)).chunks
    while held:
        first, *rest = held
        commits = [Commit(first.id, first.fence, [Succeeded(item.position) for item in first.items])]
        commits += [Commit(chunk.id, chunk.fence, started=len(chunk.items)) for chunk in rest]
        held = rest + (await run.exchange(commits, CHUNK, CHUNK)).chunks
    seconds, cpu = time.perf_counter() - began, await broker.cpu_seconds() - cpu
    snapshot = await store.snapshot("bench")
    if snapshot is None or snapshot.counts.succeeded != items:
        raise RuntimeError(f"not every item was counted: {snapshot}")
    return {"items_per_second": items / seconds, "broker_cpu_ms_per_1000": 1e6 * cpu / items}
