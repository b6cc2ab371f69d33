"""The naive limit: a plain list, pipelined. No leases, no retries, no progress: what is popped and lost is lost."""

import time
from typing import Any, Final

from tests.bench.items.process import TEXT, fresh_broker

PIPELINED: Final = 1000  # commands a round trip


async def repetition(items: int) -> dict[str, Any]:
    """LPUSH, then RPOP, an item a command."""
    async with fresh_broker() as broker:
        empty, began = await broker.bytes_used(), time.perf_counter()
        for first in range(0, items, PIPELINED):
            pipeline = broker.redis.pipeline(transaction=False)
            for n in range(first, min(first + PIPELINED, items)):
                pipeline.lpush("plain", f'{{"id":"i{n:08d}","text":"{TEXT}"}}')
            await pipeline.execute()
        loaded, weight = time.perf_counter(), await broker.bytes_used() - empty
        popped = 0
        while popped < items:
            pipeline = broker.redis.pipeline(transaction=False)
            for _ in range(PIPELINED):
                pipeline.rpop("plain")
            popped += sum(item is not None for item in await pipeline.execute())
        done = time.perf_counter()
    return {
        "items": items,
        "loaded_per_second": items / (loaded - began),
        "bytes_per_item": weight / items,
        "items_per_second": items / (done - loaded),
    }
