"""What Helm does to an installation: its test, an upgrade and a rollback in the middle of a run, and an uninstall."""

import pytest

from tests.e2e.test_control import begin_slowly
from tests.e2e.test_three_types import chat_answers
from tests.support.cluster_jobs import Jobs
from tests.support.installation import RELEASE, SYSTEM, Installation
from tests.support.kubectl import wait_until
from tests.support.neighbours.client import Neighbours

ITEMS = 300


@pytest.fixture
def running(jobs: Jobs, neighbours: Neighbours, request: pytest.FixtureRequest) -> str:
    """A BatchJob of half a minute that has begun."""
    return begin_slowly(jobs, neighbours, request.node.name, ITEMS)


def test_helm_test_runs_three_items_and_leaves_nothing(installation: Installation) -> None:
    told = installation.helm("test", RELEASE, "--timeout", "4m")
    assert "Succeeded" in told
    system = installation.cluster.within(SYSTEM)
    left = "batchjobs,pods,serviceaccounts,roles,rolebindings,configmaps"

    def of_the_test() -> list[str]:
        found = system("get", left, "-o", "name").split()
        return [name for name in found if name.partition("/")[2].startswith(f"{RELEASE}-test")]

    wait_until(of_the_test, "what the test made to go", until=lambda found: not found)


def test_a_run_goes_on_across_an_upgrade_and_a_rollback(
    running: str, jobs: Jobs, installation: Installation, neighbours: Neighbours
) -> None:
    before = operators(installation)
    installation.install("logLevel=debug")
    upgraded = operators(installation)
    installation.helm("rollback", RELEASE, "--wait", "--timeout", "5m")
    assert not before & upgraded
    assert not upgraded & operators(installation)
    status = jobs.wait_complete(running)
    assert status["counts"]["succeeded"] == ITEMS
    assert status["counts"].get("retriedAfterLoss", 0) == 0
    assert set(chat_answers(neighbours, jobs.uid(running)).values()) == {1}


def test_a_run_outlives_the_installation_and_ends_under_the_next_one(
    running: str, jobs: Jobs, installation: Installation
) -> None:
    uid = jobs.uid(running)
    installation.helm("uninstall", RELEASE, "--wait")
    assert jobs.uid(running) == uid, "the CRDs stay, and so does what is of them"
    installation.install()
    assert jobs.wait_complete(running)["counts"]["succeeded"] == ITEMS


def operators(installation: Installation) -> set[str]:
    """The operator's pods, without those that are on their way out."""
    pods = installation.cluster.within(SYSTEM).items("pods", "-l", "app.kubernetes.io/component=operator")
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
