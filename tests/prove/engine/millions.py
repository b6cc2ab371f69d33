"""A large run: nothing is lost, the store takes little more than the payload, and no memory grows with the work."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.core.items import RunState
from batchjob.store.keys import run_key
from tests.support.crowd import spec
from tests.support.store_oracle import Oracle
from tests.support.workers import Workers

WORKERS: Final = 4
ITEM_BYTES: Final = 200  # of JSON, as in the bench
MOST_BYTES_RATIO: Final = 1.15  # of the payload, once it is loaded
BASE_BYTES: Final = 2**20  # of what a run of one item takes too, and of what the allocator rounds
# Of a worker that works, the loader once it has loaded too. The aim is 55, of the worker image: this environment has
# rich as well, which structlog imports where it is there, and that takes 5.
MOST_MIB: Final = 60.0
MOST_GROWTH_MIB: Final = 4.0  # of a worker, from the middle of its work to the end: what the allocator does
PATIENCE_SECONDS: Final = 900
PAUSE_SECONDS: Final = 0.05  # between two looks


async def trial(workers: Workers, redis: Redis, items: int) -> dict[str, Any]:
    """Load under a pause and weigh it, then let all workers work; AssertionError where a bound does not hold."""
    store = workers.store
    run = await workers.open(spec(parallelism=WORKERS, concurrency=8))
    workers.reference(run, "source", items__jsonl="")
    _write(workers.folder(run) / "references" / "source" / "items.jsonl", items)
    empty = await _used(redis)
    await store.pause(run.uid)
    with ExitStack() as stack:
        processes = [stack.enter_context(workers.process(run, f"w{n}")) for n in range(WORKERS)]
        await workers.wait(run, lambda s: s.state is RunState.OPEN, "the load", PATIENCE_SECONDS)
        loaded = await _used(redis) - empty
        payload = items * ITEM_BYTES
        assert loaded <= MOST_BYTES_RATIO * payload + BASE_BYTES, f"the store takes {loaded} bytes for {payload}"
        await store.resume(run.uid)
        seen: list[tuple[int, list[float]]] = []  # bytes of the store, MiB of each worker
        while await redis.hget(run_key(run.uid, "meta"), "state") == b"open":
            if all(rss := [_status(process.pid, "VmRSS") for process in processes]):
                seen.append((await _used(redis) - empty, rss))
                peaks = [_status(process.pid, "VmHWM") for process in processes]
            await asyncio.sleep(PAUSE_SECONDS)
        await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to close")
    counts = await Oracle(redis, run.uid).check()
    assert counts["succeeded"] == items
    assert max(used for used, _ in seen) <= loaded + BASE_BYTES, "the store grew while items were worked on"
    middle, end = seen[len(seen) // 2 : len(seen) // 2 + 5], seen[-5:]
    growth = max(median(rss[n] for _, rss in end) - median(rss[n] for _, rss in middle) for n in range(WORKERS))
    assert growth <= MOST_GROWTH_MIB, f"a worker grew by {growth:.1f} MiB over the second half"
    at_work = max(max(rss) for _, rss in seen[len(seen) // 2 :])
    assert at_work <= MOST_MIB, f"a worker takes {at_work:.1f} MiB"
    left = await _used(redis) - empty
    assert left <= BASE_BYTES, f"{left} bytes are left of {loaded}"
    return {
        "items": items,
        "missing": 0,
        "store_bytes_an_item": round(loaded / items, 1),
        "worker_mib_at_work": round(at_work, 1),
        "loader_peak_mib": round(max(peaks), 1),
        "other_workers_peak_mib": round(sorted(peaks)[-2], 1),
        "worker_growth_mib": round(growth, 1),
    }


def _write(path: Path, items: int) -> None:
    text = "x" * (ITEM_BYTES - len('{"id":"i00000000","text":""}'))
    with path.open("w") as file:
        file.writelines(f'{{"id":"i{n:08d}","text":"{text}"}}\n' for n in range(items))


async def _used(redis: Redis) -> int:
    """Memory of the data: without buffers of clients and of the log."""
    found = await redis.info("memory")
    return int(found["used_memory"] - found["mem_clients_normal"] - found["mem_aof_buffer"])


def _status(pid: int, name: str) -> float:
    """MiB; 0 once the process has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)
