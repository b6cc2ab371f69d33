"""What every answer of the gateway has, whatever it is: and that nothing of our insides leaves with it."""

import io
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from batchjob import log
from batchjob.errors import (
    AlreadyExists,
    ApiUnavailable,
    BatchJobError,
    Conflict,
    Forbidden,
    Invalid,
    KubernetesError,
    NotFound,
    RunGone,
    StoreDamaged,
    StoreNotReady,
    StoreUnavailable,
)
from batchjob.gateway.envelope import SECURITY_HEADERS
from batchjob.gateway.problems import INTERNAL, MEDIA_TYPE, SLUGS, TYPES, Fault, Problem
from batchjob.metrics import Process
from tests.support.exposition import declared, shown
from tests.support.gateway import asking, build_gateway

SECRET = "redis://:hunter2@10.0.0.7"


class Raiser:
    """A route that raises what a test says."""

    def __init__(self, app: FastAPI) -> None:
        self.error: Exception = ValueError(SECRET)
        app.add_api_route("/raise/{number}", self.fail)

    async def fail(self, number: int) -> None:
        assert number
        raise self.error


@pytest.fixture
def app() -> FastAPI:
    return build_gateway()


@pytest.fixture
def raiser(app: FastAPI) -> Raiser:
    return Raiser(app)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with asking(app) as found:
        yield found


def problem(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {slug.title for slug in SLUGS if body["type"] == TYPES + slug.name} == {body["title"]}
    assert body["instance"] == f"urn:batchjob:request:{answer.headers['x-request-id']}"
    assert body["detail"]
    return answer.status_code, body["type"].removeprefix(TYPES)


@pytest.mark.usefixtures("raiser")
async def test_every_answer_has_the_security_headers_and_an_id(client: httpx2.AsyncClient) -> None:
    for path, code in (("/healthz", 200), ("/nowhere", 404), ("/raise/1", 500)):
        answer = await client.get(path)
        assert answer.status_code == code
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["x-request-id"]


async def test_the_callers_id_of_a_request_is_kept_where_it_is_harmless(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"})).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("", "a b", "x" * 65, '"}'):
        assert (await client.get("/healthz", headers={"X-Request-Id": bad})).headers["x-request-id"] not in {bad, ""}


async def test_no_such_path_and_no_such_method_are_problems(client: httpx2.AsyncClient) -> None:
    assert problem(await client.get("/nowhere")) == (404, "not-found")
    answer = await client.post("/healthz")
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"
    for path, methods in (("/api/v1/batch-jobs", "GET, POST"), ("/api/v1/queues/a", "PATCH")):
        assert (await client.delete(path)).headers["allow"] == methods, "of all routes with that path"


@pytest.mark.usefixtures("raiser")
async def test_a_parameter_that_is_none_is_named(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/raise/many")
    assert problem(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["parameter"] == "number"


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing_and_a_line_in_the_log(
    client: httpx2.AsyncClient, raiser: Raiser
) -> None:
    raiser.error = ValueError(SECRET)
    lines = io.StringIO()
    log.configure(stream=lines)
    answer = await client.get("/raise/1")
    assert problem(answer) == (500, INTERNAL.name)
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    [failed] = [line for line in told if line["event"] == "a request failed"]
    assert SECRET in failed["exception"]
    assert failed["request"] == answer.headers["x-request-id"]
    [request] = [line for line in told if line["event"] == "request"]
    assert (request["route"], request["code"]) == ("/raise/{number}", 500)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnavailable(SECRET), (503, "unavailable")),
        (StoreNotReady(SECRET), (503, "unavailable")),
        (StoreDamaged(SECRET), (410, "gone")),
        (ApiUnavailable(SECRET, retry_after_seconds=7), (503, "unavailable")),
        (RunGone(SECRET), (404, "not-found")),
        (NotFound(SECRET), (404, "not-found")),
        (AlreadyExists(SECRET), (409, "conflict")),
        (Conflict(SECRET), (409, "conflict")),
        (KubernetesError(SECRET), (409, "conflict")),
        (Invalid("spec.type is wrong"), (422, "invalid")),
        (Forbidden("policy says no"), (403, "forbidden")),
        (BatchJobError(SECRET), (500, "internal")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value[1],
)
async def test_what_a_door_raises_is_a_problem_that_names_no_address(
    client: httpx2.AsyncClient, raiser: Raiser, error: Exception, expected: tuple[int, str]
) -> None:
    raiser.error = error
    answer = await client.get("/raise/1")
    assert problem(answer) == expected
    assert "hunter2" not in answer.text
    if expected[0] == 503:
        assert answer.headers["retry-after"] == ("7" if isinstance(error, ApiUnavailable) else "5")
    if isinstance(error, Invalid | Forbidden):
        assert answer.json()["detail"] == str(error)


async def test_a_problem_lists_its_faults_in_bounds(client: httpx2.AsyncClient, raiser: Raiser) -> None:
    faults = [Fault(f"/items/{number}", "x" * 5000) for number in range(1000)]
    raiser.error = Problem(SLUGS[8], "wrong", faults=faults)
    found = (await client.get("/raise/1")).json()["errors"]
    assert found[0] == {"pointer": "/items/0", "detail": "x" * 1000}
    assert len(found) == 20


@pytest.mark.usefixtures("raiser")
async def test_metrics_name_routes_and_never_paths(client: httpx2.AsyncClient) -> None:
    number = "4711" * 8  # longer than any figure of a metric: a time of day may hold four digits
    await client.get(f"/raise/{number}")
    await client.get(f"/nowhere/{number}")
    text = (await client.get("/metrics")).text
    assert shown(text) == declared(Process.GATEWAY)
    assert 'batchjob_gateway_requests_seconds_count{code="500",route="/raise/{number}"}' in text
    assert 'route="none"' in text
    assert number not in text


async def test_probes_and_scrapes_are_not_among_the_requests_that_metrics_tell_of(client: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/nowhere"):
        await client.get(path)
    text = (await client.get("/metrics")).text
    assert 'batchjob_gateway_requests_seconds_count{code="404",route="none"}' in text
    for path in ("/healthz", "/readyz", "/metrics"):
        assert f'route="{path}"' not in text
