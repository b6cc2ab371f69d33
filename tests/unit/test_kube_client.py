"""What comes from the API's address and is not the API's: a broken answer, and no end of the operator."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest

from batchjob.errors import ApiUnavailable, Gone
from batchjob.kube import JOBS, Access, Kube, Listing, WatchEvent
from batchjob.metrics import REGISTRIES, Process

METADATA = {"name": "a", "uid": "u1", "resourceVersion": "5"}
JOB = {"metadata": METADATA}
LIST = {"items": [JOB], "metadata": {"resourceVersion": "7"}}
WITHOUT_METADATA: list[dict[str, Any]] = [
    {"metadata": {name: value for name, value in METADATA.items() if name != left_out}} for left_out in METADATA
]
NO_OBJECTS: list[Any] = [None, 7, "words", {}, {"metadata": None}, {"metadata": METADATA | {"resourceVersion": "x"}}]

NO_LISTS: list[Any] = [None, {}, "words", {"resourceVersion": "x"}]


@pytest.fixture
def kube() -> Kube:
    return Kube(Access("http://127.0.0.1"))


def answer(kube: Kube, monkeypatch: pytest.MonkeyPatch, line: object) -> AsyncGenerator[WatchEvent]:
    """A watch that tells one line."""

    async def lines() -> AsyncGenerator[bytes]:
        yield line if isinstance(line, bytes) else json.dumps(line).encode()

    @asynccontextmanager
    async def get(*_: object, **__: object) -> AsyncGenerator[SimpleNamespace]:
        yield SimpleNamespace(status=200, content=lines())

    monkeypatch.setattr(kube, "_session", SimpleNamespace(get=get))
    return kube.watch(JOBS, None, "1")


@pytest.mark.parametrize(
    "line",
    [
        *(None, 7, "words", [], {}, {"type": "ADDED"}, {"object": JOB}, {"type": "ERROR", "object": None}),
        {"type": "ERROR", "object": {"code": "words"}},
        {"type": "BOOKMARK", "object": {"metadata": {}}},
        *({"type": "ADDED", "object": item} for item in [*NO_OBJECTS, *WITHOUT_METADATA]),
    ],
)
async def test_a_line_of_a_watch_that_is_json_of_another_shape_breaks_the_watch(
    line: object, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ApiUnavailable, match="no event"):
        await anext(answer(kube, monkeypatch, line))


async def test_a_watch_that_gets_no_answer_counts_as_one_and_a_broken_one_does_not(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered() -> float:
        labels = {"verb": "watch", "code": "0"}
        return REGISTRIES[Process.OPERATOR].get_sample_value("batchjob_api_requests_total", labels) or 0.0

    def refuse(*_: object, **__: object) -> None:
        raise aiohttp.ClientConnectionError("refused")

    before = unanswered()
    with pytest.raises(ApiUnavailable):
        await anext(answer(kube, monkeypatch, "words"))
    assert unanswered() == before
    monkeypatch.setattr(kube, "_session", SimpleNamespace(get=refuse))
    with pytest.raises(ApiUnavailable, match="broke"):
        await anext(kube.watch(JOBS, None, "1"))
    assert unanswered() == before + 1


def test_a_name_leads_nowhere_else_in_the_api_server() -> None:
    assert JOBS.path("a", "b?dryRun=All") == "/apis/batch/v1/namespaces/a/jobs/b%3FdryRun%3DAll"
    assert JOBS.path("a", "../../pods/x", "status") == "/apis/batch/v1/namespaces/a/jobs/..%2F..%2Fpods%2Fx/status"


async def test_an_event_is_read_without_what_is_nested_too_deep(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = {"type": "ADDED", "object": {"metadata": METADATA | {"managedFields": "<deep>"}}}
    line = json.dumps(deep).encode().replace(b'"<deep>"', b"[" * 5000 + b"]" * 5000)
    found = await anext(answer(kube, monkeypatch, line))
    assert (found.object["metadata"] | {"managedFields": None}) == METADATA | {"managedFields": None}


async def test_events_bookmarks_and_errors_of_a_watch_are_what_they_say(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await anext(answer(kube, monkeypatch, {"type": "ADDED", "object": JOB})) == ("ADDED", JOB)
    mark = {"metadata": {"resourceVersion": "9"}}
    assert await anext(answer(kube, monkeypatch, {"type": "BOOKMARK", "object": mark})) == ("BOOKMARK", mark)
    with pytest.raises(Gone):
        await anext(answer(kube, monkeypatch, {"type": "ERROR", "object": {"code": 410, "message": "too old"}}))


@pytest.mark.parametrize(
    "page",
    [
        *(None, 7, "words", [], {}, {"items": []}, {"items": 7, "metadata": {"resourceVersion": "7"}}),
        *({"items": [], "metadata": metadata} for metadata in NO_LISTS),
        *(LIST | {"items": [item]} for item in [*NO_OBJECTS, *WITHOUT_METADATA]),
    ],
)
async def test_a_page_of_a_list_that_is_json_of_another_shape_is_no_answer(
    page: object, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "_call", AsyncMock(return_value=page))
    with pytest.raises(ApiUnavailable, match="no list"):
        await kube.list(JOBS)


async def test_what_is_kept_of_a_list_is_made_page_by_page(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a page is ever there in full."""
    first = LIST | {"metadata": {"resourceVersion": "7", "continue": "more"}}
    kept: list[object] = []

    async def call(*_: object, **__: object) -> dict[str, Any]:
        kept.append("page")
        return first if len(kept) == 1 else LIST

    def shorten(item: dict[str, Any]) -> dict[str, Any]:
        kept.append(item)
        return {}

    monkeypatch.setattr(kube, "_call", call)
    assert (await kube.list(JOBS, shorten=shorten)).items == [{}, {}]
    assert kept == ["page", JOB, "page", JOB]


async def test_a_list_is_all_its_pages(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    first = LIST | {"metadata": {"resourceVersion": "7", "continue": "more"}}
    none = {"items": None, "metadata": {"resourceVersion": "7"}}
    monkeypatch.setattr(kube, "_call", AsyncMock(side_effect=[first, LIST, none]))
    assert await kube.list(JOBS) == Listing([JOB, JOB], "7")
    assert await kube.list(JOBS) == Listing([], "7")


async def test_a_log_is_text_of_which_the_last_lines_are_asked_for(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []

    @asynccontextmanager
    async def request(method: str, url: str, **given: Any) -> AsyncGenerator[SimpleNamespace]:
        asked.append((method, url, given))
        yield SimpleNamespace(status=200, read=AsyncMock(return_value=b"{not JSON\n"))

    monkeypatch.setattr(kube, "_session", SimpleNamespace(request=request))
    assert await kube.log("team", "pod-1", "worker", 20) == "{not JSON\n"
    [(method, url, given)] = asked
    assert (method, url) == ("GET", "http://127.0.0.1/api/v1/namespaces/team/pods/pod-1/log")
    assert (given["params"]["tailLines"], given["params"]["container"]) == ("20", "worker")
    assert given["headers"]["Accept"] == "*/*", "of JSON alone the server has none"
