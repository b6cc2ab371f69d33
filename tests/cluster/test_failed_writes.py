"""Writes that fail between the operator and the API server, or whose answer is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.cluster.conftest import SYSTEM
from tests.support.cluster_jobs import Jobs
from tests.support.fault_proxy import FaultProxy, status
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
