"""What an item costs: one worker process on no-op items with progress on, beside BullMQ and beside the naive limit.

Each repetition runs on a Redis of its own, as the chart configures it. The contenders take turns, so that a machine
that is busy for a while is busy for all. An item is a JSON document of 200 bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from batchjob import log
from tests.bench.figures import Line, medians
from tests.bench.items import limit, recovery, store_alone
from tests.bench.items.ours import Ours
from tests.bench.items.peer import FOLDER, BullMQ
from tests.bench.items.table import table
from tests.bench.npm import install

ITEMS: Final = 1_000_000
PEER_ITEMS: Final = 200_000  # of BullMQ: enough for its code to be compiled; a million would take an hour
REPETITIONS: Final = 5
RECOVERY_ITEMS: Final = 10_000  # work in the midst of which Redis is killed; ten times as many for ours
GROWTH: Final = (1_000, 10_000, 100_000, 1_000_000)
TUNING: Final = (16, 32, 64, 128, 256)  # concurrency of BullMQ: the best of these is what it is measured with
TUNING_ITEMS: Final = 20_000
LATENCY_SAMPLES: Final = 200

__all__ = ["measure", "table"]


def measure(scale: float) -> Iterator[Line]:
    """A line a repetition, then the summary of medians."""
    log.configure("warning")
    lines = []
    with asyncio.Runner() as runner:
        stream = _measure(scale)
        while (line := runner.run(anext(stream, None))) is not None:
            lines.append(line)
            yield line
    yield _summary(lines)


async def _measure(scale: float) -> AsyncIterator[Line]:
    install(FOLDER)
    ours, peer = Ours(), BullMQ(concurrency=0)
    for concurrency in TUNING:
        tried = await BullMQ(concurrency).repetition(_scaled(TUNING_ITEMS, scale))
        yield {"figure": "tuning", "concurrency": concurrency, **tried}
        if tried["items_per_second"] > peer.best:
            peer = BullMQ(concurrency, tried["items_per_second"])
    for _ in range(REPETITIONS):
        yield {"figure": "items", "who": ours.name, **await ours.repetition(_scaled(ITEMS, scale))}
        yield {"figure": "items", "who": peer.name, **await peer.repetition(_scaled(PEER_ITEMS, scale))}
        yield {"figure": "limit", **await limit.repetition(_scaled(ITEMS, scale) // 5)}
        yield {"figure": "store", **await store_alone.repetition(_scaled(ITEMS, scale) // 5)}
    for contender in (ours, peer):
        for items in sorted({_scaled(size, scale) for size in GROWTH}):
            yield {"figure": "growth", "who": contender.name, **await contender.repetition(items)}
        waits = await contender.latency(_scaled(LATENCY_SAMPLES, scale, least=20))
        yield {"figure": "latency", "who": contender.name, **waits}
        for repeated in await asyncio.gather(*(recovery.of_worker(contender, n) for n in range(REPETITIONS))):
            yield {"figure": "recovery", "who": contender.name, "killed": "worker", "seconds": repeated}
        for _ in range(REPETITIONS):
            seconds = await recovery.of_redis(contender, RECOVERY_ITEMS)
            yield {"figure": "recovery", "who": contender.name, "killed": "redis", "seconds": seconds}


def _scaled(count: int, scale: float, least: int = 1000) -> int:
    return min(count, max(round(count * scale), least))


def _summary(lines: list[Line]) -> Line:
    growth = [line for line in lines if line["figure"] == "growth"]
    return {
        "figure": "summary",
        "repetitions": REPETITIONS,
        "medians": medians(lines, apart={"tuning", "growth"}),
        "growth": growth,
    }
