"""Items a second of one real worker process on no-op items, with progress on: `batchjob worker` as a pod runs it.

The worker has one core at most (Python), so the figure is set beside what one bare asyncio loop does on this machine
in the same run: one awaited no-op coroutine an item under a time limit, which is the least any worker must do.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from batchjob.api.run import StoreAccess
from batchjob.core.items import RunState
from batchjob.store import Store
from tests.support.redis_server import RedisServer
from tests.support.workers import Workers

ITEMS: Final = 200_000
BARE_ITEMS: Final = 50_000
POLL_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 300
SPEC: Final[dict[str, Any]] = {
    "type": "custom",
    "custom": {"processor": "noop"},
    "source": {"configMapRef": {"name": "items", "key": "items.jsonl"}},
    "concurrency": 8,
}


def measure() -> dict[str, Any]:
    """Figures: items a second while it works, seconds to load, peak memory of the worker, ratio to the bare loop."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder)).start()
        try:
            figures = asyncio.run(_measure(server.url, Path(folder)))
        finally:
            server.kill()
    return {name: round(value, 3) for name, value in figures.items()}


async def _measure(url: str, folder: Path) -> dict[str, float]:
    async with Store.connect(StoreAccess(url=url), name="bench") as store:
        await store.load_scripts()
        workers = Workers(store, url, folder)
        run = await workers.open(SPEC)
        lines = "".join(f'{{"id": "i{n}", "text": "{"x" * 180}"}}\n' for n in range(ITEMS))
        workers.reference(run, "source", items__jsonl=lines)
        began = time.perf_counter()
        with workers.process(run) as process:
            await _until(store, run.uid, RunState.OPEN)
            loaded = time.perf_counter()
            await _until(store, run.uid, RunState.CLOSED)
            done = time.perf_counter()
            peak = _peak_mib(process.pid)
    rate = ITEMS / (done - loaded)
    bare = await _bare()
    return {
        "items_per_second": rate,
        "start_and_load_seconds": loaded - began,
        "worker_peak_mib": peak,
        "bare_loop_items_per_second": bare,
        "ratio_to_bare_loop": rate / bare,
    }


async def _until(store: Store, uid: str, state: RunState) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            snapshot = await store.snapshot(uid)
            if snapshot is not None and snapshot.state in {state, RunState.CLOSED}:
                return
            await asyncio.sleep(POLL_SECONDS)


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")), 0.0)


async def _bare() -> float:
    async def nothing() -> None:
        pass

    began = time.perf_counter()
    for _ in range(BARE_ITEMS):
        async with asyncio.timeout(60):
            await nothing()
    return BARE_ITEMS / (time.perf_counter() - began)
