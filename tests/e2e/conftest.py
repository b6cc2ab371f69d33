"""One installation for all end-to-end tests: the chart, and the neighbours in the namespace of the tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.installation import Installation
from tests.support.kubectl import Kubectl
from tests.support.manifests import S3_SECRET
from tests.support.neighbours.client import Neighbours

NAMESPACE: Final = "batchjob-e2e"


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """The product, installed as the README says; removed at the end."""
    installed = Installation()
    installed.install()
    yield installed
    installed.cluster("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout=150)
    installed.uninstall()


@pytest.fixture(scope="session")
def namespace(installation: Installation) -> Kubectl:
    """kubectl in the namespace of the tests, where the neighbours run."""
    there = installation.install_neighbours(NAMESPACE)
    there.apply(S3_SECRET)
    return there


@pytest.fixture(scope="session")
def neighbours(namespace: Kubectl) -> Iterator[Neighbours]:
    """The neighbours' control port and S3 store, reached from here."""
    with ExitStack() as forwards:
        control, s3 = (
            forwards.enter_context(namespace.port_forward("service/neighbours", port)) for port in (8080, 9000)
        )
        yield Neighbours(f"http://127.0.0.1:{control}", s3=f"http://127.0.0.1:{s3}")


@pytest.fixture(autouse=True)
def no_faults(neighbours: Neighbours) -> Iterator[None]:
    """Every test begins with neighbours that behave."""
    neighbours.clear_faults()
    yield
    neighbours.clear_faults()


@pytest.fixture
def jobs(namespace: Kubectl) -> Iterator[Jobs]:
    """Apply BatchJobs, wait for them, and delete them at the end."""
    applied = Jobs(namespace)
    yield applied
    applied.delete_all()
