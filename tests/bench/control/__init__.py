"""What a BatchJob costs the control plane, beside raw Jobs made by the same client in the same run."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from batchjob import log
from batchjob.api.base import API_VERSION
from tests.bench.control.burst import burst, raw_burst
from tests.bench.control.finished import finished
from tests.bench.control.latency import latency
from tests.bench.control.stage import a_stage
from tests.bench.control.table import table
from tests.bench.figures import Line, medians

REPETITIONS: Final = 3
SAMPLES: Final = 100  # one at a time
BURST: Final = 1000
GROWTH: Final = (100, 1000, 10_000)

# Else a queue keeps what the last 1,000 left, and the operator would be clearing up behind the others.
KEEP_ALL: Final = {
    "apiVersion": API_VERSION,
    "kind": "BatchQueue",
    "metadata": {"name": "custom"},
    "spec": {"retention": {"keepCompleted": 100_000}},
}

__all__ = ["measure", "table"]


def measure(scale: float) -> Iterator[Line]:
    """A line a repetition and contender, then the summary of medians."""
    log.configure("warning")
    lines = []
    with asyncio.Runner() as runner:
        stream = _measure(scale)
        while (line := runner.run(anext(stream, None))) is not None:
            lines.append(line)
            yield line
    growth = [line for line in lines if line["figure"] == "growth"]
    yield {"figure": "summary", "medians": medians(lines, apart={"growth"}), "growth": growth}


async def _measure(scale: float) -> AsyncIterator[Line]:
    for repetition in range(REPETITIONS):
        async with a_stage() as stage:
            stage.admin.apply(KEEP_ALL)
            for line in await latency(stage, _scaled(SAMPLES, scale)):
                yield line
            both = (raw_burst, burst)
            for one in both if repetition % 2 else reversed(both):
                yield await one(stage, _scaled(BURST, scale))
    async with a_stage() as stage:
        stage.admin.apply(KEEP_ALL)
        for count in sorted({_scaled(size, scale) for size in GROWTH}):
            yield await burst(stage, count, figure="growth", prefix=f"growth-{count}")
        for line in await finished(stage, scale):
            yield line


def _scaled(count: int, scale: float) -> int:
    return max(round(count * scale), 10)
