"""Where all of it takes place: a control plane without nodes, a store, the operator as the chart sets it, a fake node.

The client that makes Jobs and BatchJobs, and watches what becomes of them, is the bench itself.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batchjob.kube import LEASES, Access, Kube, Resource
from tests.bench.figures import cpu_seconds
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.accounts import SYSTEM, operator_kubeconfig
from tests.support.crds import install_crds
from tests.support.kubectl import Kubectl
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

NODE: Final = "tests.bench.control.node"  # not imported: a module that is would be run a second time
READY: Final = "ready"  # what it says once it watches
NAMESPACE: Final = "default"
CLIENTS: Final = 16  # calls of the client at the same time
CONTROLLER_MANAGER: Final = ("--kube-api-qps=200", "--kube-api-burst=400")
# As the chart sets it, not as the tests hurry it along.
SETTINGS: Final = {"progress_seconds": 5, "sweep_seconds": 60, "users_seconds": 5, "lease_retry_seconds": 2}
# Kubernetes keeps no more terminated pods than this; the largest burst stays below.
KEEP_PODS: Final = "--terminated-pod-gc-threshold=50000"
REQUESTS: Final = re.compile(
    r'^apiserver_request_total\{(?:.*,)?resource="([^"]*)".*,verb="([^"]*)".*\} (\S+)$', re.MULTILINE
)
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})


@dataclass(frozen=True)
class Stage:
    """Everything that runs."""

    admin: Kubectl
    kubeconfig: Path  # the operator's account
    folder: Path
    operator: OperatorProcess
    kube: Kube  # the client's
    pids: Mapping[str, int]  # of etcd, API server and controller manager

    @property
    def operator_pid(self) -> int:
        """The operator's process."""
        if self.operator.process is None:
            raise RuntimeError("the operator does not run")
        return self.operator.process.pid

    def operator_cpu(self) -> float:
        """CPU seconds of the operator so far."""
        return cpu_seconds(self.operator_pid)

    def control_plane_cpu(self) -> float:
        """CPU seconds of Kubernetes so far."""
        return sum(map(cpu_seconds, self.pids.values()))

    def writes(self) -> int:
        """How often everybody has written so far."""
        return self.written().total()

    def written(self) -> Counter[str]:
        """What everybody has written so far, as the API server counts it; without Leases, which follow the clock."""
        found = Counter[str]()
        for resource, verb, count in self._requests():
            if verb in WRITES and resource != LEASES.plural:
                found[f"{verb} {resource}"] += round(count)
        return found

    def operator_writes(self) -> float:
        """What the operator has written so far, its Lease left out; not for one that was started again."""
        return self.operator.writes() - self.lease_patches()

    def lease_patches(self) -> float:
        """How often an operator has patched its Lease so far; nobody else patches one."""
        return sum(count for resource, verb, count in self._requests() if (resource, verb) == (LEASES.plural, "PATCH"))

    def _requests(self) -> Iterator[tuple[str, str, float]]:
        for resource, verb, count in REQUESTS.findall(self.admin("get", "--raw", "/metrics")):
            yield resource, verb, float(count)

    async def create_all(self, resource: Resource, objects: list[dict[str, Any]]) -> None:
        """Make objects as fast as the client can."""
        gate = asyncio.Semaphore(CLIENTS)

        async def create(body: dict[str, Any]) -> None:
            async with gate:
                await self.kube.create(resource, NAMESPACE, body)

        await asyncio.gather(*map(create, objects))


@asynccontextmanager
async def a_stage() -> AsyncIterator[Stage]:
    """A stage that nobody used before."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "redis").mkdir()
        redis = RedisServer(folder / "redis").start()
        stack.callback(redis.kill)
        flags = (*CONTROLLER_MANAGER, KEEP_PODS)
        plane = stack.enter_context(ControlPlane(folder / "control-plane", controller_manager_arguments=flags))
        admin = Kubectl(kubectl(), plane.kubeconfig)
        install_crds(admin)
        account = operator_kubeconfig(plane.kubeconfig, admin, folder)
        stack.enter_context(_a_node(plane.kubeconfig, redis.url))
        operator = stack.enter_context(OperatorProcess(account, redis.url, folder, pod_namespace=SYSTEM, **SETTINGS))
        found = {name: plane.processes.pid(name) for name in ("etcd", "apiserver", "controller-manager")}
        pids = {name: pid for name, pid in found.items() if pid}
        async with Kube(Access.from_kubeconfig(plane.kubeconfig)) as kube:
            yield Stage(admin, account, folder, operator, kube, pids)


@contextmanager
def _a_node(kubeconfig: Path, store_url: str) -> Iterator[None]:
    command = [sys.executable, "-m", NODE, str(kubeconfig), store_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline().strip() != READY:
                raise RuntimeError("the fake node did not start")
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the fake node ended with {process.returncode}")
        finally:
            process.kill()
