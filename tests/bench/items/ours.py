"""BatchJob: `batchjob worker` as a pod runs it, and the operator's part played by the bench."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from batchjob.api.run import Run, StoreAccess
from batchjob.core.items import Item, RunState
from batchjob.store import Store
from batchjob.store.keys import run_key
from batchjob.worker import Context, Processor
from tests.bench.figures import cpu_seconds, peak_mib, percentile
from tests.bench.items.process import (
    TEXT,
    Broker,
    fresh_broker,
    per_item,
    until,
)
from tests.support.workers import Workers

HELD: Final = 8  # items in the hands of the worker that is killed
SPEC: Final[dict[str, Any]] = {
    "type": "custom",
    "custom": {"processor": "noop"},
    "source": {"configMapRef": {"name": "items", "key": "items.jsonl"}},
    "concurrency": 8,
}


class Ours:
    """One worker process; its progress is exact at any time."""

    name = "batchjob"

    async def repetition(self, items: int) -> dict[str, Any]:
        """Load under a pause, so that what is loaded can be weighed; then work."""
        async with fresh_broker() as broker, _store(broker) as store:
            workers = Workers(store, broker.server.url, broker.folder)
            run = await workers.open(SPEC)
            _write_items(workers, run, items)
            empty = await broker.bytes_used()
            await store.pause(run.uid)
            with workers.process(run) as process:
                began = await until(lambda: _is_loading(broker, run))
                loaded = await until(lambda: _is(store, run, RunState.OPEN))
                weight = await broker.bytes_used() - empty
                peak = peak_mib(process.pid)
                worker_cpu, broker_cpu = cpu_seconds(process.pid), await broker.cpu_seconds()
                resumed = time.perf_counter()
                await store.resume(run.uid)
                while not await _is(store, run, RunState.CLOSED):
                    peak = max(peak, peak_mib(process.pid))
                    await asyncio.sleep(0.02)
                seconds = time.perf_counter() - resumed
                worker_cpu = cpu_seconds(process.pid) - worker_cpu
                broker_cpu = await broker.cpu_seconds() - broker_cpu
            counts = (await workers.snapshot(run)).counts
            if counts.succeeded != items:
                raise RuntimeError(f"not every item succeeded: {counts}")
            return {
                "items": items,
                "load_seconds": loaded - began,
                "loaded_per_second": items / (loaded - began),
                "bytes_per_item": weight / items,
                **per_item(items, seconds, worker_cpu, broker_cpu),
                "worker_peak_mib": peak,
            }

    async def latency(self, samples: int) -> dict[str, float]:
        """A run of one item, loaded while its worker waits; they share a process, as the peer's do."""
        waits = []
        async with fresh_broker() as broker, _store(broker) as store:
            workers = Workers(store, broker.server.url, broker.folder)
            for _ in range(samples):
                run = await workers.open(SPEC)
                lease = await store.run(run.uid, "bench").claim_load()
                if lease is None:
                    raise RuntimeError("the run is loaded already")
                processor = _Clock()
                working = asyncio.create_task(workers.work(run, processor))
                await until(lambda: _waits(broker))
                began = time.perf_counter()
                await lease.put([[Item(0, "i00000000", {"id": "i00000000", "text": TEXT})]])
                await lease.finish(1, None, None)
                await working
                waits.append(1000 * (processor.started - began))
        return {"samples": samples, "p50_ms": percentile(waits, 50), "p99_ms": percentile(waits, 99)}

    async def until_taken_over(self, broker: Broker, wait_seconds: float) -> float:
        """Until the store hears from the second worker that it may have started what the first held."""
        async with _store(broker) as store:
            workers = Workers(store, broker.server.url, broker.folder)
            items = [{"id": f"i{n}", "data": {"do": "sleep", "seconds": "600"}} for n in range(HELD)]
            chaos = {"type": "custom", "custom": {"processor": "chaos"}, "source": {"items": items}}
            run = await workers.open({**chaos, "concurrency": HELD})

            async def started(name: str) -> int:
                owners: list[Any] = await broker.redis.hvals(run_key(run.uid, "owner"))
                parts = [owner.decode().split("/") for owner in owners]
                return sum(int(part[1]) for part in parts if part[-1] == name)

            async def held_by(name: str) -> bool:
                return await started(name) == HELD

            with workers.process(run, "first") as first:
                await until(lambda: held_by("first"))
                with workers.process(run, "second"):
                    await until(lambda: _waits(broker))
                    await asyncio.sleep(wait_seconds)
                    first.kill()
                    killed = time.perf_counter()
                    return await until(lambda: held_by("second")) - killed

    async def until_going_on(self, broker: Broker, items: int) -> float:
        """Until a commit is counted; the bench makes the run's user again at once, as the operator does."""
        async with _store(broker) as store:
            workers = Workers(store, broker.server.url, broker.folder)
            run = await workers.open(SPEC)
            _write_items(workers, run, 10 * items)  # it is faster: it must not end before the kill

            async def more_than(finished: int) -> bool:
                return (await workers.snapshot(run)).counts.succeeded > finished

            with workers.process(run):
                await until(lambda: more_than(items))
                answering = await broker.crash()
                await store.grant(run.uid, "secret")
                finished = (await workers.snapshot(run)).counts.succeeded
                return await until(lambda: more_than(finished)) - answering


class _Clock(Processor):
    """Notes when its item starts."""

    started = 0.0

    async def process(self, item: Item, context: Context) -> None:
        del item, context
        self.started = time.perf_counter()


def _write_items(workers: Workers, run: Run, items: int) -> None:
    workers.reference(run, "source", items__jsonl="")
    with (workers.folder(run) / "references" / "source" / "items.jsonl").open("w") as file:
        file.writelines(f'{{"id":"i{n:08d}","text":"{TEXT}"}}\n' for n in range(items))


async def _is(store: Store, run: Run, state: RunState) -> bool:
    snapshot = await store.snapshot(run.uid)
    return snapshot is not None and snapshot.state is state


async def _is_loading(broker: Broker, run: Run) -> bool:
    """Whether it is loaded by now, or was: a thousand items may be in between two looks."""
    return bool(await broker.redis.exists(run_key(run.uid, "duty"), run_key(run.uid, "data")))


async def _waits(broker: Broker) -> bool:
    """Whether a worker waits on the server for something to do."""
    return bool((await broker.redis.info("clients"))["blocked_clients"])


@asynccontextmanager
async def _store(broker: Broker) -> AsyncIterator[Store]:
    async with Store.connect(StoreAccess(url=broker.server.url), name="bench") as store:
        await store.load_scripts()
        yield store
