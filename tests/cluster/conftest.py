"""One control plane for all tests of this folder: etcd, API server and controller manager, without nodes.

The operator under test runs as the chart's service account, so every test here also shows that its rights suffice.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.accounts import SYSTEM, operator_kubeconfig
from tests.support.cluster_jobs import BATCH_JOBS, Jobs, api_client, own_namespace
from tests.support.crds import install_crds
from tests.support.gateway_world import TEAM, World
from tests.support.kubectl import Kubectl
from tests.support.operator_process import OperatorProcess
from tests.support.pods import PodRunner
from tests.support.redis_server import RedisServer

__all__ = ["SYSTEM", "AskStore", "Operators", "own_namespace", "runs_and_users"]  # what tests here import from here

AskStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]

# By itself kube-controller-manager makes 20 calls a second: after a crowd of Jobs the next one would wait for its turn.
UNHINDERED = ("--kube-api-qps=200", "--kube-api-burst=400")

# Dozens of operators and workers start here. Each takes three times as long where Python may not keep what it compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows our CRDs."""
    folder = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(folder, controller_manager_arguments=UNHINDERED) as running:
        install_crds(Kubectl(kubectl(), running.kubeconfig))
        yield running


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Kubectl:
    """kubectl as the administrator."""
    return Kubectl(kubectl(), control_plane.kubeconfig)


@pytest.fixture(scope="session")
def operator_account(control_plane: ControlPlane, admin: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's service account, with the rights that the chart gives it."""
    return operator_kubeconfig(control_plane.kubeconfig, admin, tmp_path_factory.mktemp("operator-account"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The store of all operators here."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def ask_store(redis_server: RedisServer) -> AskStore:
    """Ask the store something as its administrator."""

    async def asked(question: Callable[[Store], Awaitable[Any]]) -> Any:
        async with Store.connect(StoreAccess(url=redis_server.url), name="test") as store:
            await store.load_scripts()
            return await question(store)

    return lambda question: asyncio.run(asked(question))


async def runs_and_users(store: Store) -> set[str]:
    """The uids of which the store has a run or a user."""
    return (await store.runs()).keys() | await store.user_names()


@pytest.fixture
def jobs(admin: Kubectl) -> Iterator[Jobs]:
    """BatchJobs in a namespace of this test alone."""
    with own_namespace(admin) as found:
        yield found


@pytest.fixture(scope="module")
def operator(
    operator_account: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator, running. Tests that stop and start operators make their own."""
    folder = tmp_path_factory.mktemp("operator")
    with OperatorProcess(operator_account, redis_server.url, folder, pod_namespace=SYSTEM) as running:
        yield running


@pytest.fixture(scope="module")
def world(
    admin: Kubectl, control_plane: ControlPlane, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Where gateways work. What they were asked for goes with the module: the next operator would start all of it."""
    made = World(admin, control_plane.kubeconfig, redis_server.url, tmp_path_factory.mktemp("world"))
    yield made
    objects = CustomObjectsApi(api_client(admin.kubeconfig))  # kubectl deletes one by one, which takes minutes
    for kind in ("batchschedules", "batchjobs"):
        objects.delete_collection_namespaced_custom_object(*BATCH_JOBS, TEAM, kind)
    objects.delete_collection_cluster_custom_object(*BATCH_JOBS, "batchqueues")


class Operators:
    """Several operators of one installation."""

    def __init__(self, account: Path, redis: RedisServer, folder: Path) -> None:
        self._account = account
        self._redis = redis
        self._folder = folder
        self._made: list[OperatorProcess] = []

    def make(self, name: str = "operator", **settings: Any) -> OperatorProcess:
        """One that is not started yet."""
        told = {"pod_name": name, "pod_namespace": SYSTEM} | settings
        self._made.append(OperatorProcess(self._account, self._redis.url, self._folder, **told))
        return self._made[-1]

    def kill_all(self) -> None:
        """SIGKILL."""
        for operator in self._made:
            operator.kill()


@pytest.fixture
def operators(operator_account: Path, redis_server: RedisServer, tmp_path: Path) -> Iterator[Operators]:
    """Operators to start; all that still run are killed at the end."""
    started = Operators(operator_account, redis_server, tmp_path)
    yield started
    started.kill_all()


@pytest.fixture
def free_lease(admin: Kubectl) -> Iterator[None]:
    """An operator that is killed keeps the Lease: here it ends with the test."""
    yield
    admin.within(SYSTEM)("delete", "lease", "batchjob-operator", "--ignore-not-found")


@pytest.fixture
def hurry(tmp_path: Path) -> Path:
    """Once this file is there, slow items are done at once."""
    return tmp_path / "hurry"


@pytest.fixture
def pods(control_plane: ControlPlane, jobs: Jobs, tmp_path: Path) -> Iterator[PodRunner]:
    """Runs the worker pods of this test as local processes."""
    with PodRunner(control_plane.kubeconfig, jobs.kubectl.namespace, tmp_path / "pods") as runner:
        yield runner
