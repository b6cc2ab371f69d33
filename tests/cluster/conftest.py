"""One control plane for all tests of this folder: etcd, API server and controller manager, without nodes.

The operator under test runs as the chart's service account, so every test here also shows that its rights suffice.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import CoreV1Api, V1Namespace, V1ObjectMeta

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.chart.rendering import objects, of_kind
from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.cluster_jobs import Jobs, api_client
from tests.support.crds import install_crds
from tests.support.kubectl import Kubectl
from tests.support.operator_process import OperatorProcess
from tests.support.pods import PodRunner
from tests.support.redis_server import RedisServer

SYSTEM = "batchjob-system"
AskStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")

# Dozens of operators and workers start here. Each takes three times as long where Python may not keep what it compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows our CRDs."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        install_crds(Kubectl(kubectl(), running.kubeconfig))
        yield running


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Kubectl:
    """kubectl as the administrator."""
    return Kubectl(kubectl(), control_plane.kubeconfig)


@pytest.fixture(scope="session")
def operator_account(control_plane: ControlPlane, admin: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's service account, with the rights that the chart gives it."""
    system = admin.within(SYSTEM)
    system.ensure_namespace()
    system.apply(*of_kind(objects(), *RIGHTS))
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": system("create", "token", "batchjob-operator", "--duration=8h").strip()}
    path = tmp_path_factory.mktemp("operator-account") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


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


_teams = itertools.count(1)


@pytest.fixture
def jobs(admin: Kubectl) -> Iterator[Jobs]:
    """BatchJobs in a namespace of this test alone."""
    with own_namespace(admin) as found:
        yield found


@contextmanager
def own_namespace(admin: Kubectl) -> Iterator[Jobs]:
    """BatchJobs in a new namespace; it goes with them."""
    team = admin.within(f"team-{next(_teams)}")
    api = CoreV1Api(api_client(team.kubeconfig))
    api.create_namespace(V1Namespace(metadata=V1ObjectMeta(name=team.namespace)))
    yield Jobs(team)
    api.delete_namespace(team.namespace)


@pytest.fixture(scope="module")
def operator(
    operator_account: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator, running. Tests that stop and start operators make their own."""
    folder = tmp_path_factory.mktemp("operator")
    with OperatorProcess(operator_account, redis_server.url, folder, pod_namespace=SYSTEM) as running:
        yield running


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
