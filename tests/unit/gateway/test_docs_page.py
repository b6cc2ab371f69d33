"""/docs: all that the documents say, readable, without a script or a style within the page."""

import re
from html import unescape

import httpx2
import pytest

from batchjob.gateway.live_description import document
from batchjob.gateway.ui.views_docs import Shape, anchor_of, build_groups, shape
from tests.support.gateway import asking, build_gateway
from tests.support.ui_world import World, build_ui

OPENAPI = build_gateway().openapi()


async def get(path: str, **headers: str) -> httpx2.Response:
    async with asking(build_gateway()) as client:
        return await client.get(path, headers=headers)


async def test_every_operation_answer_and_event_is_on_the_page() -> None:
    answer = await get("/docs")
    text = unescape(answer.text)
    for path, methods in OPENAPI["paths"].items():
        for method, operation in methods.items():
            anchor = anchor_of(method, path)
            article = text.partition(f'<article id="{anchor}">')[2].partition("</article>")[0]
            assert path in article
            assert re.findall(r"<summary><b>(\d+)</b>", article) == [*operation["responses"]]
            assert f'href="#{anchor}"' in text
    for message in document()["components"]["messages"].values():
        assert f"<b>{message['title']}</b>" in text
    assert '"detail": "/priority: should be less than or equal to 10 (it is 11)"' in text


@pytest.mark.parametrize("path", ["/docs", "/docs/schemas"])
async def test_a_page_runs_nothing_is_packed_and_asked_for_once(path: str) -> None:
    answer = await get(path, **{"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) <= 100_000
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|(src|href|url\()=?\"?https?:", _markup(answer.text))
    same = await get(path, **{"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    plain = await get(path, **{"Accept-Encoding": "identity"})
    assert plain.text == answer.text


def _markup(text: str) -> str:
    """Without what examples say."""
    return re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)


async def test_every_link_to_a_shape_leads_to_one() -> None:
    pages = [(await get(path)).text for path in ("/docs", "/docs/schemas")]
    linked = {name for page in pages for name in re.findall(r'href="/docs/schemas#(\w+)"', page)}
    assert linked <= set(re.findall(r'<article id="(\w+)">', pages[1]))
    assert {"BatchJobRequest", "Job", "Problem", "BatchJobSpec"} <= linked


async def test_the_admin_ui_leads_there() -> None:
    async with asking(build_ui(World())) as client:
        assert '<footer><a href="/docs">' in (await client.get("/admin/queues/sign-in")).text
        assert "<h1>HTTP API</h1>" in (await client.get("/docs")).text


def test_examples_are_text_and_no_markup() -> None:
    operations = [one for group in build_groups(OPENAPI) for one in group.operations]
    assert all(one.answers and one.said for one in operations)
    assert len(operations) == sum(map(len, OPENAPI["paths"].values()))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Job"}, Shape("", "Job")),
        ({"type": "array", "items": {"$ref": "#/x/Job"}, "maxItems": 5}, Shape("list of ", "Job", ", 5 at most")),
        ({"anyOf": [{"$ref": "#/x/Job"}, {"type": "null"}]}, Shape("", "Job", " or null")),
        ({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}, Shape("string or integer, at least 1")),
        ({"enum": ["a", "b"], "type": "string"}, Shape("one of a, b")),
        ({"type": "object", "additionalProperties": {"type": "string"}}, Shape("map of string")),
        ({"type": ["string", "object"]}, Shape("string or object")),
        ({}, Shape("any JSON")),
        ({"const": "ready"}, Shape("ready")),
    ],
    ids=str,
)
def test_a_schema_in_words(schema: dict[str, object], words: Shape) -> None:
    assert shape(schema) == words
