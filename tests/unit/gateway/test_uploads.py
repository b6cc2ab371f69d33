"""Items that are too many for the object: staged on a claim here, then named by the BatchJob, or nothing is left."""

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import AsyncMock

import pytest
from fastapi import Request, Response

from batchjob.errors import AlreadyExists, ApiUnavailable, Forbidden, Invalid, NotFound
from batchjob.gateway import staging
from batchjob.gateway.annotator import Annotating, build_body, build_fields, read_item, retold
from batchjob.gateway.making import Making
from batchjob.gateway.problems import Problem
from batchjob.gateway.staging import Staging
from batchjob.gateway.uploads import LINES, Shape, take_in
from tests.support.gateway import gateway_settings

NOOP: Final[dict[str, Any]] = {"type": "custom", "custom": {"processor": "noop"}}
JSON: Final = "application/json"


def items_of(count: int, size: int = 100) -> list[dict[str, Any]]:
    return [{"id": f"i{place}", "data": {"id": place, "text": "ä" * size}} for place in range(count)]


def lines_of(fields: dict[str, Any], items: list[Any]) -> bytes:
    return "\n".join(json.dumps(value) for value in (fields, *items)).encode()


class Kube:
    """BatchJobs and queues in memory; `fails` is raised in place of the next creation."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.queues: dict[str, dict[str, Any]] = {}
        self.fails: Exception | None = None

    async def get(self, _: Any, namespace: str | None, name: str) -> dict[str, Any]:
        found = self.queues.get(name) if namespace is None else self.jobs.get(f"{namespace}.{name}")
        if found is None:
            raise NotFound(name)
        return found

    async def create(self, _: Any, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.fails:
            raise self.fails
        name = f"{namespace}.{manifest['metadata']['name']}"
        if name in self.jobs:
            raise AlreadyExists(name)
        return self.jobs.setdefault(name, json.loads(json.dumps(manifest)))


class Gateway:
    """What a request meets."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.kube, self.denied = folder, Kube(), False
        self.settings = gateway_settings(staging_url=f"file://{folder}", staging_claim="staging", **settings)
        self.staging: Staging | None = Staging.read(self.settings)

    async def post(
        self,
        *blocks: bytes,
        kind: str = JSON,
        key: str | None = None,
        shape: Shape | None = None,
        making: type[Making] = Making,
        **headers: str,
    ) -> Response:
        """`blocks`: those of the body; after an empty one that is not the last, the client is gone."""
        told = [*blocks]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            block = told.pop(0)
            if not block and told:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": block, "more_body": bool(told)}

        async def need(verb: str, *_: Any) -> None:
            if self.denied:
                raise AssertionError(verb)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        request = Request({"type": "http", "headers": [(b"content-type", kind.encode()), *raw]}, receive)
        doors: Any = SimpleNamespace(kube=self.kube, settings=self.settings, staging=self.staging)
        caller: Any = SimpleNamespace(name="alice", namespace="team", need=need, need_to_make=AsyncMock())
        return await take_in(request, making(doors, caller, key), shape)

    async def refused(self, *blocks: bytes, **given: Any) -> Problem:
        with pytest.raises(Problem) as refusal:
            await self.post(*blocks, **given)
        return refusal.value

    def place(self, job: str) -> None:
        """Something that was staged for a BatchJob."""
        assert self.staging
        path = self.folder / "uploads" / self.staging.place("team", job).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")

    @property
    def job(self) -> dict[str, Any]:
        [job] = self.kube.jobs.values()
        return job

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def staged(self) -> list[Any]:
        uri = self.job["spec"]["source"]["uri"]
        assert uri["format"] == "items"
        assert uri["url"].startswith(f"file://{self.folder}/uploads/team/{self.job['metadata']['name']}.")
        [file] = self.files
        assert uri["url"] == f"file://{file}"
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def cut(body: bytes, size: int = 65_536) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


Writer = Callable[[dict[str, Any], list[Any]], tuple[bytes, str]]
WRITERS: Final[dict[str, Writer]] = {
    "fields first": lambda fields, items: (json.dumps({**fields, "items": items}).encode(), JSON),
    "items first": lambda fields, items: (json.dumps({"items": items, **fields}, indent=1).encode(), JSON),
    "lines": lambda fields, items: (lines_of(fields, items), LINES),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("count", [500, 6000])  # a body that is read whole, and one that is split
@pytest.mark.parametrize("packed", [False, True])
async def test_what_does_not_fit_is_staged_and_named_by_the_job(
    gateway: Gateway, write: Writer, count: int, *, packed: bool
) -> None:
    items = items_of(count)
    body, kind = write(NOOP | {"priority": 3, "worker": {"volumes": []}}, items)
    headers: dict[str, Any] = {"content_encoding": "gzip"} if packed else {}
    answer = await gateway.post(*cut(gzip.compress(body, mtime=0) if packed else body, 5000), kind=kind, **headers)
    assert answer.status_code == 202
    assert gateway.staged() == items
    spec = gateway.job["spec"]
    assert (spec["priority"], spec["owner"]) == (3, "alice")
    assert spec["worker"]["volumes"] == [{"claimName": "staging", "mountPath": str(gateway.folder), "readOnly": True}]


async def test_what_fits_stays_in_the_object(gateway: Gateway) -> None:
    items = items_of(3)
    await gateway.post(lines_of(NOOP, items), kind=LINES)
    assert gateway.job["spec"]["source"] == {"items": items}
    assert gateway.files == []


@pytest.mark.parametrize("count", [500, 6000])
async def test_a_key_makes_one_job_and_knows_other_content(gateway: Gateway, count: int) -> None:
    items = items_of(count)
    body = lines_of(NOOP, items)
    first = await gateway.post(*cut(body), kind=LINES, key="k")
    again = await gateway.post(*cut(body, 999), kind=LINES, key="k")
    assert first.body == again.body
    assert gateway.staged() == items
    for other in (lines_of(NOOP, items[:-1]), lines_of({**NOOP, "priority": 9}, items)):
        assert (await gateway.refused(*cut(other), kind=LINES, key="k")).slug.name == "idempotency-key-reused"
    assert gateway.staged() == items


async def test_two_that_send_the_same_at_once_make_one_job_that_reads_its_own(gateway: Gateway) -> None:
    items = items_of(6000)
    body = lines_of(NOOP, items)
    answers = await asyncio.gather(*(gateway.post(*cut(body), kind=LINES, key="k") for _ in range(2)))
    assert answers[0].body == answers[1].body
    assert gateway.staged() == items


@pytest.mark.parametrize(
    ("body", "kind", "code", "said"),
    [
        (lines_of(NOOP, [*items_of(6000), {"id": 1}]), LINES, 422, "line 6002"),
        (lines_of(NOOP, [*items_of(6000), {"id": "x"}, 1]), LINES, 422, "line 6002"),
        (lines_of(NOOP, items_of(6000)) + b'\n{"id"', LINES, 400, "line 6002"),
        (lines_of({**NOOP, "priority": 11}, items_of(6000)), LINES, 422, "line 1: /priority"),
        (lines_of({**NOOP, "source": {}}, items_of(6000)), LINES, 422, "line 1: /source"),
        (json.dumps({"items": [*items_of(6000), 1], **NOOP}).encode(), JSON, 422, "/items/6000"),
        (json.dumps({"items": items_of(6000), **NOOP, "priority": 11}).encode(), JSON, 422, "/priority"),
        (json.dumps({"items": items_of(6000), **NOOP, "name": "n"}).encode(), JSON, 422, "stand before items"),
        (json.dumps({"name": "../x", "items": items_of(6000), **NOOP}).encode(), JSON, 422, "/name"),
        (json.dumps({"items": items_of(6000)}).encode(), JSON, 422, "/type"),
        (json.dumps({"items": items_of(6000), **NOOP}).encode()[:-1], JSON, 400, "breaks off"),
        (json.dumps({"a": " " * 600_000}).encode(), JSON, 413, "/a"),
        (b"{" + b" " * 600_000 + b'"items": []}', JSON, 413, "blanks in a row"),
        (b'{"a":"' + b"x" * 500_000 + b'"' + b" " * 60_000 + b',"items": []}', JSON, 422, "/items"),
        (lines_of(NOOP, items_of(6000)), "text/csv", 415, LINES),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
async def test_what_is_wrong_is_named_and_leaves_nothing(
    gateway: Gateway, body: bytes, kind: str, code: int, said: str
) -> None:
    problem = await gateway.refused(*cut(body), kind=kind)
    assert (problem.slug.status, said in str(problem)) == (code, True), problem
    assert (gateway.files, gateway.kube.jobs) == ([], {})


async def test_a_small_body_of_lines_says_the_line_too(gateway: Gateway) -> None:
    problem = await gateway.refused(lines_of(NOOP, [{"id": "1", "data": {}}, {"id": "2", "data": 3}]), kind=LINES)
    assert [fault.to_json() | {"detail": ""} for fault in problem.faults] == [
        {"line": 3, "pointer": "/data", "detail": ""}
    ]


@pytest.mark.parametrize("kind", [JSON, LINES])
@pytest.mark.parametrize(
    ("limits", "said"),
    [({"maxItems": 5000}, "limits.maxItems"), ({"maxPayloadBytes": 100_000}, "limits.maxPayloadBytes")],
)
async def test_limits_of_the_queue_are_named(gateway: Gateway, kind: str, limits: dict[str, int], said: str) -> None:
    gateway.kube.queues["custom"] = {"spec": {"limits": limits}}
    body = lines_of(NOOP, items_of(6000)) if kind == LINES else json.dumps({**NOOP, "items": items_of(6000)}).encode()
    problem = await gateway.refused(*cut(body), kind=kind)
    assert (problem.slug.status, said in str(problem)) == (413, True)
    assert gateway.files == []


async def test_limits_of_the_gateway_are_named(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, uploads_max_bytes=600_000, uploads_max_items=5000)
    body = lines_of(NOOP, items_of(5500, 10))
    assert "BATCHJOB_UPLOADS_MAX_ITEMS" in str(await gateway.refused(*cut(body), kind=LINES))
    large = lines_of(NOOP, items_of(5000))
    packed = gzip.compress(large, mtime=0)
    assert "UPLOADS_MAX_BYTES" in str(await gateway.refused(*cut(large), kind=LINES))
    assert "UPLOADS_MAX_BYTES" in str(await gateway.refused(packed, kind=LINES, content_encoding="gzip"))
    assert "UPLOADS_MAX_BYTES" in str(await gateway.refused(b"", kind=LINES, content_length="600001"))
    nothing = gzip.compress(b"", mtime=0) * 60_000
    assert (await gateway.refused(*cut(nothing, 65_536), kind=LINES, content_encoding="gzip")).slug.status == 413
    bomb = gzip.compress(b" " * 50_000_000, mtime=0)
    assert (await gateway.refused(bomb, kind=LINES, content_encoding="gzip")).slug.status == 413
    assert gateway.files == []


async def test_without_staging_a_large_body_is_told_what_to_do(gateway: Gateway) -> None:
    gateway.staging = None
    for body, kind in ((lines_of(NOOP, items_of(500)), LINES), (json.dumps({"items": items_of(6000)}).encode(), JSON)):
        problem = await gateway.refused(*cut(body), kind=kind)
        assert problem.slug.status == 413
        assert "source.uri" in str(problem)
        assert "gateway.staging" in str(problem)


async def test_a_client_that_goes_or_stalls_leaves_nothing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [*cut(lines_of(NOOP, items_of(20_000)))][:-1]
    assert str(await gateway.refused(*blocks, b"", b"x", kind=LINES)) == "The body broke off"
    assert gateway.files == []
    monkeypatch.setattr("batchjob.gateway.blocks.SLOWEST_BYTES", 10**12)
    monkeypatch.setattr("batchjob.gateway.blocks.PATIENCE_SECONDS", 0.0)
    assert (await gateway.refused(*blocks, kind=LINES)).slug.status == 408
    assert gateway.files == []


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08", gzip.compress(b"{}", mtime=0)[:-4], b"{}", b"\x1f\x8bxxxxxxxxxxxx"])
async def test_what_is_no_gzip_or_not_all_of_it_is_refused(gateway: Gateway, body: bytes) -> None:
    assert (await gateway.refused(body, content_encoding="gzip")).slug.status == 400


async def test_a_refusal_of_kubernetes_takes_the_staged_object_away(gateway: Gateway) -> None:
    gateway.kube.fails = Invalid("no", causes=(("spec.custom", "wrong"),))
    problem = await gateway.refused(*cut(lines_of(NOOP, items_of(6000))), kind=LINES)
    assert [fault.where for fault in problem.faults] == ["/custom"]
    assert gateway.files == []


async def test_what_a_crash_leaves_is_swept_and_the_second_try_makes_the_job(gateway: Gateway) -> None:
    """Kubernetes does not answer: nobody knows whether the BatchJob was made, as where the gateway dies there."""
    assert gateway.staging
    items = items_of(6000)
    gateway.kube.fails = ApiUnavailable("away")
    with pytest.raises(ApiUnavailable):
        await gateway.post(*cut(lines_of(NOOP, items)), kind=LINES, key="k")
    [left] = gateway.files
    gateway.kube.fails = None
    assert (await gateway.post(*cut(lines_of(NOOP, items)), kind=LINES, key="k")).status_code == 202
    assert len(gateway.files) == 2
    kube: Any = gateway.kube
    now = time.time()
    assert await gateway.staging.sweep(kube, now) == 0, "an upload may be under way"
    assert await gateway.staging.sweep(kube, now + staging.GRACE_SECONDS + 2) == 1
    assert not left.exists()
    assert gateway.staged() == items
    gateway.job["status"] = {"phase": "Succeeded", "completionTime": "2020-01-01T00:00:00Z", "conditions": []}
    gateway.job["status"]["conditions"] = [
        {
            "type": "Complete",
            "status": "True",
            "reason": "x",
            "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        }
    ]
    assert await gateway.staging.sweep(kube, now + staging.GRACE_SECONDS + 2) == 1, "its items are past their retention"
    assert gateway.files == []


@pytest.mark.parametrize("trouble", [Forbidden("no"), {"spec": 1}], ids=["forbidden", "no-batchjob"])
async def test_one_of_which_nothing_can_be_told_is_kept_and_the_sweep_goes_on(gateway: Gateway, trouble: Any) -> None:
    assert gateway.staging
    for name in ("a", "b", "c"):
        gateway.place(name)
    get = gateway.kube.get

    async def answer(resource: Any, namespace: str, name: str) -> dict[str, Any]:
        if name != "b":
            return await get(resource, namespace, name)
        if isinstance(trouble, Exception):
            raise trouble
        return {"metadata": {"name": "b", "namespace": "team"}, **trouble}

    kube: Any = SimpleNamespace(get=answer)
    assert await gateway.staging.sweep(kube, time.time() + staging.GRACE_SECONDS + 2) == 2
    assert [path.name.partition(".")[0] for path in gateway.files] == ["b"]


async def test_what_is_not_an_upload_is_left_by_the_sweep(gateway: Gateway) -> None:
    assert gateway.staging
    foreign = gateway.folder / "uploads" / "team" / "mine.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("x")
    kube: Any = gateway.kube
    assert await gateway.staging.sweep(kube, 1e12) == 0
    assert foreign.exists()


async def test_few_are_taken_at_once(gateway: Gateway) -> None:
    assert gateway.staging
    with gateway.staging.uploads.take("alice"), gateway.staging.uploads.take("alice"):
        problem = await gateway.refused(*cut(lines_of(NOOP, items_of(6000))), kind=LINES)
        assert (problem.slug.status, problem.headers["Retry-After"]) == (503, "10")
        with (
            gateway.staging.uploads.take("bob"),
            gateway.staging.uploads.take("bob"),
            pytest.raises(Problem),
            gateway.staging.uploads.take("c"),
        ):
            pass
    assert (await gateway.post(*cut(lines_of(NOOP, items_of(6000))), kind=LINES)).status_code == 202


async def test_nothing_more_is_read_of_who_may_not_or_has_no_place(gateway: Gateway) -> None:
    """An item without an end: whoever reads it on would refuse that."""
    blocks = [*cut(b'{"type": "custom", "items": ["' + b"x" * 3_000_000)]
    assert gateway.staging
    with gateway.staging.uploads.take("alice"), gateway.staging.uploads.take("alice"):
        assert (await gateway.refused(*blocks)).slug.status == 503
    gateway.denied = True
    with pytest.raises(AssertionError, match="create"):
        await gateway.post(*blocks)
    gateway.denied = False
    assert (await gateway.refused(*blocks)).slug.status == 413


@pytest.mark.parametrize("count", [500, 6000])
async def test_the_earlier_clients_may_send_many_texts(gateway: Gateway, count: int) -> None:
    template = {"aiBatch": {"instructions": "x", "model": {"name": "m"}}}
    shape = Shape(
        lambda body: build_body(body, template), lambda body: build_fields(body, template), read_item, retold, True
    )
    texts = ["good" * 30 for _ in range(count)]
    options = {"formSchema": {"fields": [{"name": "mood", "type": "string"}]}, "options": {"priority": 1}}
    answer = await gateway.post(*cut(json.dumps({"items": texts, **options}).encode()), shape=shape)
    assert answer.status_code == 202
    assert gateway.staged() == [{"id": str(place), "data": {"text": text}} for place, text in enumerate(texts)]
    bad = json.dumps({"items": [*texts, 3], **options}).encode()
    problem = await gateway.refused(*cut(bad), shape=shape)
    assert [fault.where for fault in problem.faults] == [f"/items/{count}"]
    problem = await gateway.refused(*cut(lines_of(options, [*texts, 3])), kind=LINES, shape=shape)
    assert [(fault.where, fault.line) for fault in problem.faults] == [("", count + 2)]


@pytest.mark.parametrize("count", [1, 6000])
@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"foo": 1}, "/foo"),
        ({"a/b": 1}, "/a~1b"),
        ({"options": 1}, "/options"),
        ({"options": {"type": "custom"}}, "/options/type"),
        ({"options": {"priority": "x"}}, "/options/priority"),
        ({"options": {"model": {"name": 1}}}, "/options/model/name"),
        ({"formSchema": {"properties": {"x": {"type": "object"}}}}, "/formSchema/properties/x"),
        ({"formSchema": {"fields": []}}, "/formSchema/fields"),
    ],
    ids=str,
)
async def test_the_earlier_clients_are_pointed_at_what_they_sent(
    gateway: Gateway, count: int, changed: dict[str, Any], where: str
) -> None:
    template = {"aiBatch": {"instructions": "x", "model": {"name": "m"}}}
    shape = Shape(
        lambda body: build_body(body, template), lambda body: build_fields(body, template), read_item, retold, True
    )
    form = {"formSchema": {"fields": [{"name": "mood", "type": "string"}]}}
    body = json.dumps({**form, **changed, "items": ["good" * 30] * count}).encode()
    problem = await gateway.refused(*cut(body), shape=shape, making=Annotating)
    assert [fault.where for fault in problem.faults] == [where]


async def test_what_the_earlier_clients_send_that_is_no_object_is_not_looked_for_in_options(gateway: Gateway) -> None:
    shape = Shape(lambda body: build_body(body, {}), lambda body: build_fields(body, {}), read_item, retold, True)
    problem = await gateway.refused(b"[]", shape=shape, making=Annotating)
    assert [fault.where for fault in problem.faults] == [""]
    named = json.dumps({"options": {"name": "No Name"}, "items": ["good" * 30] * 6000}).encode()
    problem = await gateway.refused(*cut(named), shape=shape, making=Annotating)
    assert [fault.where for fault in problem.faults] == ["/options/name"]
