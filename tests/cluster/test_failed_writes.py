"""Writes that fail between the operator and the API server, or whose answer is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.cluster.conftest import SYSTEM
from tests.cluster.test_lifecycle import child_jobs, events
from tests.support.cluster_jobs import Jobs
from tests.support.fault_proxy import FaultProxy, status
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def proxy(
    operator_account: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultProxy]:
    """Between the API server and the operator of all tests here; each spoils calls of its own namespace."""
    folder = tmp_path_factory.mktemp("operator")
    with (
        FaultProxy(operator_account) as running,
        OperatorProcess(running.kubeconfig(folder), redis_server.url, folder, pod_namespace=SYSTEM),
    ):
        yield running


@pytest.mark.parametrize("call", ["POST {}/secrets$", "POST {}/jobs$", "PATCH {}/batchjobs/written/status$"])
@pytest.mark.parametrize("how", ["lost reply", "500", "429", "nonsense"])
def test_a_write_that_fails_or_whose_answer_is_lost_is_made_good_and_made_once(
    call: str, how: str, proxy: FaultProxy, jobs: Jobs
) -> None:
    answers = {
        "500": status(500),
        "429": status(429, "TooManyRequests", retry_after=1),
        "nonsense": lambda: web.Response(status=200, body=b"\xff\x1f no JSON, and not even UTF-8"),
    }
    spoilt = call.format(f".*/namespaces/{jobs.kubectl.namespace}")
    fault = proxy.inject(spoilt, lose_reply=True) if how == "lost reply" else proxy.inject(spoilt, answer=answers[how])
    jobs.apply(noop("written", inline(1)))
    found = jobs.wait_phase("written", "Running")
    assert fault.hits == 1
    assert found["jobsCreated"] == 1
    uid = jobs.uid("written")
    for kind in ("jobs", "secrets"):
        assert len(jobs.kubectl.items(kind, "-l", f"batchjob.dev/uid={uid}")) == 1
    assert found["jobs"][0]["name"] == jobs.kubectl.items("jobs")[0]["metadata"]["name"]


@pytest.mark.parametrize("how", ["lost reply", "500"])
def test_an_event_that_cannot_be_posted_at_once_is_posted_once(how: str, proxy: FaultProxy, jobs: Jobs) -> None:
    spoilt = f"POST .*/namespaces/{jobs.kubectl.namespace}/events$"
    fault = proxy.inject(spoilt, lose_reply=True) if how == "lost reply" else proxy.inject(spoilt, answer=status(500))
    jobs.apply(noop("told", inline(1), suspend=True))
    jobs.wait_condition("told", "Suspended", "SuspendedByUser")
    assert fault.hits == 1
    assert events(jobs, "told") == [("Normal", "SuspendedByUser")], "it comes before the status"


def test_an_event_is_not_lost_with_the_answer_to_the_status_that_it_tells_of(proxy: FaultProxy, jobs: Jobs) -> None:
    fault = proxy.inject(f"PATCH .*/namespaces/{jobs.kubectl.namespace}/batchjobs/.*/status$", lose_reply=True)
    jobs.apply(noop("told", inline(1), suspend=True))
    jobs.wait_condition("told", "Suspended", "SuspendedByUser")
    assert fault.hits == 1
    assert events(jobs, "told") == [("Normal", "SuspendedByUser")]


def test_a_job_whose_deletion_is_refused_for_the_moment_is_deleted_all_the_same(proxy: FaultProxy, jobs: Jobs) -> None:
    jobs.apply(noop("refused", inline(1)))
    jobs.wait_phase("refused", "Running")
    fault = proxy.inject(f"DELETE .*/namespaces/{jobs.kubectl.namespace}/jobs/", answer=status(409, "Conflict"))
    jobs.kubectl("patch", "batchjob", "refused", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition("refused", "Failed", "Cancelled")
    assert fault.hits == 1
    wait_until(lambda: child_jobs(jobs, "refused"), "its Job to go", until=lambda left: not left)
