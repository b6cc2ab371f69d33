"""Many that have ended: the memory and the CPU of an operator that is started beside them, and what it writes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from batchjob.controller.manifests import SELECTOR
from batchjob.kube import BATCH_JOBS, SECRETS
from tests.bench.control.stage import NAMESPACE, Stage
from tests.bench.figures import Line, cpu_seconds, rss_mib

EMPTY: Final = "tests.bench.control.empty"
IDLE_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 2.0
QUIET_CORES: Final = 0.05  # a process that takes no more has done what it does at its start


async def finished(stage: Stage, scale: float) -> list[Line]:
    """A line for the operator and one for an empty handler of kopf's."""
    seconds = max(10.0, IDLE_SECONDS * min(1.0, 10 * scale))
    objects = len(stage.admin("get", "batchjobs", "-o", "name").splitlines())
    while (await stage.kube.list(SECRETS, NAMESPACE, labels=SELECTOR)).items:
        await _cores(stage.operator_pid, QUIET_SECONDS)  # the last ones are still being tidied up
    stage.operator.stop()
    before, leases = stage.written(), stage.lease_patches()
    stage.operator.start()
    ours = await _idle(stage.operator_pid, seconds)
    writes = stage.operator.writes() - (stage.lease_patches() - leases)
    ours |= {"writes": writes, "written_by_all": {**(stage.written() - before)}}
    with _empty_handler(stage) as pid:
        theirs = await _idle(pid, seconds)
    both = {"batchjob": ours, "kopf": theirs}
    return [{"figure": "finished", "who": who, "objects": objects, **found} for who, found in both.items()]


@contextmanager
def _empty_handler(stage: Stage) -> Iterator[int]:
    environment = {**os.environ, "KUBECONFIG": str(stage.kubeconfig)}
    with subprocess.Popen([sys.executable, "-m", EMPTY, str(BATCH_JOBS.page_size)], env=environment) as process:
        try:
            yield process.pid
        finally:
            process.kill()


async def _idle(pid: int, seconds: float) -> Line:
    """Once it is quiet: what its start took, and what it takes from then on."""
    began = time.perf_counter()
    while await _cores(pid, QUIET_SECONDS) > QUIET_CORES or time.perf_counter() - began < 5 * QUIET_SECONDS:
        pass
    start = cpu_seconds(pid)
    return {"start_cpu_seconds": start, "idle_cores": await _cores(pid, seconds), "rss_mib": rss_mib(pid)}


async def _cores(pid: int, seconds: float) -> float:
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds
