"""What a BatchJob costs the operator: writes, CPU, memory and time, from a burst of BatchJobs to the last Complete.

The real operator runs beside a real API server and controller manager without a kubelet. No pod runs: the bench does
the workers' part straight in the store, so that what is measured is the control plane alone. The rate of writes is
set beside what this API server takes from one busy client in the same run.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from batchjob.api.run import StoreAccess
from batchjob.core.items import Item, RunState, Succeeded
from batchjob.kube import BATCH_JOBS, CONFIG_MAPS, Access, Kube
from batchjob.store import Commit, Store
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.crds import install_crds
from tests.support.kubectl import Kubectl
from tests.support.manifests import config_map, inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

RUNS: Final = 200
ITEMS: Final = 3
CLIENTS: Final = 16
NAMESPACE: Final = "default"
PATIENCE_SECONDS: Final = 300


def measure(scale: float) -> Iterator[dict[str, Any]]:
    """Figures of one burst, of the same size at any scale: it takes a minute."""
    del scale
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        redis = RedisServer(folder / "redis").start()
        try:
            with ControlPlane(folder / "control-plane") as plane:
                yield _with(plane, redis, folder)
        finally:
            redis.kill()


def _with(plane: ControlPlane, redis: RedisServer, folder: Path) -> dict[str, Any]:
    admin = Kubectl(kubectl(), plane.kubeconfig)
    install_crds(admin)
    # As the chart sets it, not as the tests hurry it along.
    settings = {"pod_namespace": NAMESPACE, "progress_seconds": 5, "sweep_seconds": 60, "users_seconds": 5}
    with OperatorProcess(plane.kubeconfig, redis.url, folder, **settings) as operator:
        if operator.process is None:
            raise RuntimeError("the operator does not run")
        pid = operator.process.pid
        idle = _rss_mib(pid)
        writes, cpu = operator.writes(), _cpu_seconds(pid)
        limit, seconds = asyncio.run(_burst(plane.kubeconfig, redis.url))
        writes, cpu = operator.writes() - writes, _cpu_seconds(pid) - cpu
        figures = {
            "complete_per_second": RUNS / seconds,
            "writes_per_batchjob": writes / RUNS,
            "operator_cpu_ms_per_batchjob": 1000 * cpu / RUNS,
            "operator_rss_mib_idle": idle,
            "operator_rss_mib_after": _rss_mib(pid),
            "writes_per_second": writes / seconds,
            "api_server_limit_writes_per_second": limit,
            "ratio_to_limit": writes / seconds / limit,
        }
    return {"batchjobs": RUNS, **{name: round(value, 2) for name, value in figures.items()}}


async def _burst(kubeconfig: Path, url: str) -> tuple[float, float]:
    """Writes a second that the API server takes, and the seconds from the first BatchJob to the last Complete."""
    async with (
        Kube(Access.from_kubeconfig(kubeconfig)) as kube,
        Store.connect(StoreAccess(url=url), name="bench") as store,
    ):
        began = time.perf_counter()
        await _create_all(kube, CONFIG_MAPS, [config_map(f"limit-{n}", key="value") for n in range(RUNS)])
        limit = RUNS / (time.perf_counter() - began)
        worked = asyncio.create_task(_work_all(store))
        began = time.perf_counter()
        await _create_all(kube, BATCH_JOBS, [noop(f"burst-{n}", inline(ITEMS)) for n in range(RUNS)])
        await worked
        await _until_complete(kube)
        return limit, time.perf_counter() - began


async def _until_complete(kube: Kube) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await kube.list(BATCH_JOBS, NAMESPACE, fields="status.phase=Succeeded")
            if len(found.items) == RUNS:
                return
            await asyncio.sleep(0.05)


async def _create_all(kube: Kube, resource: Any, objects: list[dict[str, Any]]) -> None:
    gate = asyncio.Semaphore(CLIENTS)

    async def create(body: dict[str, Any]) -> None:
        async with gate:
            await kube.create(resource, NAMESPACE, body)

    await asyncio.gather(*map(create, objects))


async def _work_all(store: Store) -> None:
    """The part of the workers, for every run that the operator opens."""
    done: set[str] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(done) < RUNS:
            for uid in (await store.runs()).keys() - done:
                await _work(store, uid)
                done.add(uid)
            await asyncio.sleep(0.02)


async def _work(store: Store, uid: str) -> None:
    run = store.run(uid, "bench")
    load = await run.claim_load()
    if load is None:
        raise RuntimeError(f"run {uid} cannot be loaded")
    await load.put([[Item(n, f"i{n}", {}) for n in range(ITEMS)]])
    await load.finish(ITEMS, None, None)
    (chunk,) = (await run.exchange([], ITEMS)).chunks
    outcomes = [Succeeded(item.position) for item in chunk.items]
    grant = await run.exchange([Commit(chunk.id, chunk.fence, outcomes)], 0)
    seal = await run.claim_seal()
    if grant.state is not RunState.SEALING or seal is None:
        raise RuntimeError(f"run {uid} is not finished: {grant.state}")
    await seal.finish(None, None)


def _rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
