"""One trace, from the caller's own span over the HTTP request and the run to each attempt in a worker."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from batchjob.core.trace_context import run_context
from tests.cluster.conftest import Operators
from tests.support.cluster_jobs import Jobs
from tests.support.collector import Collector, Told
from tests.support.gateway_process import GatewayProcess
from tests.support.gateway_world import World, bearer
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


def of_trace(collector: Collector, trace_id: str, count: int) -> list[Told]:
    """All spans of a trace; of others there may be some, for the operator also ends what earlier tests left."""
    return wait_until(
        lambda: [span for span in collector.spans if span.trace_id == trace_id],
        f"{count} spans of the trace {trace_id}",
        until=lambda found: len(found) >= count,
    )


@pytest.mark.usefixtures("free_lease", "pods")
def test_a_request_its_run_and_the_attempts_are_one_trace(
    world: World,
    collector: Collector,
    operators: Operators,
    jobs: Jobs,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with monkeypatch.context() as variables:  # which worker pods have from the operator alone
        for name, value in collector.variables.items():
            variables.setenv(name, value)
        operator = operators.make().start()
        gateway = GatewayProcess(world, tmp_path, DEFAULT_NAMESPACE=jobs.kubectl.namespace)
    try:
        body = {"type": "custom", "custom": {"processor": "noop"}, "items": [{"id": "a", "data": {"text": "x"}}]}
        headers = bearer("alice") | {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-Id": "mine"}
        with httpx2.Client(base_url=f"http://127.0.0.1:{gateway.port}", headers=headers) as client:
            answer = client.post("/api/v1/batch-jobs", json=body)
            assert answer.status_code == 202, answer.text
        name = answer.json()["jobId"].partition(".")[2]
        jobs.wait_phase(name, "Succeeded")
        uid = jobs.uid(name)
        request, attempt, run = sorted(of_trace(collector, TRACE, 3), key=lambda span: span.name)
        assert (request.name, attempt.name, run.name) == ("POST /api/v1/batch-jobs", "process custom", "run custom")
        assert (request.service, request.kind, request.parent_id) == ("batchjob-gateway", "SERVER", CALLER)
        assert request.attributes["http.response.status_code"] == 202
        assert (run.service, run.parent_id, run.error) == ("batchjob-operator", request.span_id, None)
        assert run.span_id == run_context(uid).span_id
        assert (run.attributes["batchjob.owner"], run.attributes["batchjob.phase"]) == ("alice", "Succeeded")
        assert run.attributes["batchjob.items.succeeded"] == 1
        assert run.began < run.ended
        assert (attempt.service, attempt.parent_id) == ("batchjob-worker", run.span_id)
        lines = [line for line in gateway.lines() if line.get("request") == "mine"]
        assert {line["event"]: line["trace_id"] for line in lines} == {"request": TRACE, "audit": TRACE}
        phases = [line for line in operator.logged("phase") if line["job"] == f"{jobs.kubectl.namespace}/{name}"]
        assert {(line["owner"], line["trace_id"]) for line in phases} == {("alice", TRACE)}
        assert phases[-1]["phase"] == "Succeeded"

        jobs.apply(noop("by-kubectl", inline(2)))
        jobs.wait_phase("by-kubectl", "Succeeded")
        alone = run_context(jobs.uid("by-kubectl"))
        run_and_attempts = of_trace(collector, alone.trace_id, 3)
        assert sorted(span.parent_id for span in run_and_attempts) == ["", alone.span_id, alone.span_id]

        with httpx2.Client(base_url=f"http://127.0.0.1:{gateway.port}", headers=bearer("alice")) as client:
            assert client.get("/api/v1/batch-jobs", params={"q": "hunter2"}).status_code == 200
        told = wait_until(
            lambda: [span for span in collector.spans if span.service == "batchjob-gateway"],
            "the spans of both requests",
            until=lambda found: len(found) >= 2,
        )
        assert [span.name for span in told] == ["POST /api/v1/batch-jobs", "GET /api/v1/batch-jobs"], "no probe is told"
        assert (told[1].parent_id, told[1].attributes["url.query"]) == ("", "REDACTED")
    finally:
        gateway.process.kill()
        gateway.process.wait()
