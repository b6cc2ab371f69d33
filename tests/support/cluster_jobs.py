"""BatchJobs on a cluster: apply, wait, look at what became of them and at the pods that do the work.

What is asked ten times a second while a test waits goes to the API server directly: starting kubectl for each look
took a third of the tests' time.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi, V1Namespace, V1ObjectMeta
from kubernetes.client.exceptions import NotFoundException
from kubernetes.config import new_client_from_config

from tests.support.kubectl import PATIENCE_SECONDS, Kubectl, names, wait_until

BATCH_JOBS: Final = ("batchjob.dev", "v1alpha1")
LOOK_SECONDS: Final = 0.1
_teams = itertools.count(1)


@cache
def api_client(kubeconfig: Path) -> ApiClient:
    """An independent client; it keeps its connection."""
    client: ApiClient = new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    return client


class Jobs:
    """The BatchJobs of one test."""

    def __init__(self, kubectl: Kubectl) -> None:
        """Work in kubectl's namespace."""
        self.kubectl = kubectl
        self._applied: list[str] = []

    def apply(self, *manifests: dict[str, Any]) -> None:
        """`kubectl apply` BatchJobs and whatever they need."""
        self.kubectl.apply(*manifests)
        self._applied += [m["metadata"]["name"] for m in manifests if m["kind"] == "BatchJob"]

    def get(self, name: str) -> dict[str, Any]:
        """The BatchJob as it is."""
        api = CustomObjectsApi(api_client(self.kubectl.kubeconfig))
        found: Any = api.get_namespaced_custom_object(*BATCH_JOBS, self.kubectl.namespace, "batchjobs", name)
        return dict(found)

    def status(self, name: str) -> dict[str, Any]:
        """Its status; empty before the operator wrote one."""
        found: dict[str, Any] = self.get(name).get("status", {})
        return found

    def uid(self, name: str) -> str:
        """Its uid."""
        return str(self.get(name)["metadata"]["uid"])

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition; empty while absent."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def wait_complete(self, name: str) -> dict[str, Any]:
        """`kubectl wait --for=condition=Complete`; returns the status."""
        self.kubectl(
            *("wait", f"batchjob/{name}", "--for=condition=Complete", f"--timeout={PATIENCE_SECONDS}s"),
            timeout=PATIENCE_SECONDS + 20,
        )
        return self.status(name)

    def wait_condition(self, name: str, kind: str, reason: str) -> dict[str, Any]:
        """Wait until the condition is True with this reason; returns the condition."""

        def holds(condition: dict[str, Any]) -> bool:
            return condition.get("status") == "True" and condition.get("reason") == reason

        what = f"{name} to be {kind} because of {reason}"
        return wait_until(lambda: self.condition(name, kind), what, until=holds, every=LOOK_SECONDS)

    def wait_phase(self, name: str, phase: str) -> dict[str, Any]:
        """Wait until it is in this phase; returns the status."""

        def holds(status: dict[str, Any]) -> bool:
            return status.get("phase") == phase

        return wait_until(lambda: self.status(name), f"{name} to be {phase}", until=holds, every=LOOK_SECONDS)

    def wait_finished(self, name: str, at_least: int) -> None:
        """Wait until so many items are terminal."""

        def enough(status: dict[str, Any]) -> bool:
            counts = status.get("counts", {})
            return int(counts.get("succeeded", 0)) + int(counts.get("failed", 0)) >= at_least

        what = f"{at_least} items of {name} to be finished"
        wait_until(lambda: self.status(name), what, until=enough, every=LOOK_SECONDS)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """The worker pods of a BatchJob that have not ended."""
        found = self.kubectl.items("pods", "-l", f"batchjob.dev/name={name}")
        return [pod for pod in found if pod["status"]["phase"] in {"Pending", "Running"}]

    def wait_running_pod(self, name: str) -> dict[str, Any]:
        """Wait for a worker pod whose container runs."""

        def running() -> list[dict[str, Any]]:
            return [pod for pod in self.pods(name) if pod["status"]["phase"] == "Running"]

        return wait_until(running, f"a running pod of {name}")[0]

    def delete(self, name: str) -> None:
        """`kubectl delete`, and wait until the object is gone."""
        self.kubectl("delete", "batchjob", name, "--ignore-not-found", "--timeout=60s")

    def delete_all(self) -> None:
        """Delete what this test applied."""
        if self._applied:
            self.kubectl("delete", "batchjob", *self._applied, "--ignore-not-found", "--timeout=60s")


@contextmanager
def own_namespace(admin: Kubectl) -> Iterator[Jobs]:
    """BatchJobs in a new namespace; it goes with them."""
    team = admin.within(f"team-{next(_teams)}")
    api = CoreV1Api(api_client(team.kubeconfig))
    api.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=team.namespace)))
    yield Jobs(team)
    with suppress(NotFoundException):  # a test may have deleted it
        api.delete_namespace(team.namespace)


def kill_worker(pod: dict[str, Any]) -> None:
    """SIGKILL the worker process of a pod, from the node.

    A container's process 1 cannot be killed from inside, so this looks for it among the machine's processes, by the
    pod's uid in the name of its cgroup: works where the node's processes are this machine's (local, and kind on Linux).
    """
    uid = pod["metadata"]["uid"]
    killed = [_kill(process) for process in Path("/proc").iterdir() if process.name.isdigit() and _runs(process, uid)]
    if not any(killed):
        raise ProcessLookupError(f"no worker process of pod {names([pod])[0]} on this machine")


def _runs(process: Path, uid: str) -> bool:
    try:
        group = (process / "cgroup").read_text()
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False  # ended meanwhile
    return (uid in group or uid.replace("-", "_") in group) and b"batchjob" in command


def _kill(process: Path) -> bool:
    try:
        os.kill(int(process.name), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
