"""The body of a submission: JSON while it is short, else packed lines in a file, however often it is sent."""

import gzip
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from batchjob.client import AsyncClient, Client, Retries
from batchjob.client.bodies import SHORT_BYTES, Packed, build_body

FIELDS: Final[dict[str, Any]] = {"custom": {"processor": "noop"}, "priority": None}
QUICK: Final = Retries(first_seconds=0.001)
MANY: Final = SHORT_BYTES // 100
ACCEPTED: Final = {"success": True, "jobId": "t.a", "status": "queued", "message": "m", "links": {}}


def items(count: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Once, and never again."""
    for number in range(count):
        yield str(number), {"text": "x" * 100}


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_few_items_are_one_json_document(count: int) -> None:
    with build_body("custom", items(count), FIELDS) as body:
        assert isinstance(body, bytes)
        assert json.loads(body) == {
            "type": "custom",
            "custom": {"processor": "noop"},
            "items": [{"id": name, "data": data} for name, data in items(count)],
        }


def test_many_items_are_lines_of_which_the_first_has_the_fields() -> None:
    with build_body("custom", items(MANY), FIELDS) as body:
        assert isinstance(body, Packed)
        packed = b"".join(body.parts())
        assert (len(packed), b"".join(body.parts())) == (body.size, packed)
    head, *lines = gzip.decompress(packed).splitlines()
    assert json.loads(head) == {"type": "custom", "custom": {"processor": "noop"}}
    assert [json.loads(line) for line in lines] == [{"id": name, "data": data} for name, data in items(MANY)]


def test_a_number_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"), build_body("custom", [{"n": float("nan")}], {}):
        pass


def decided(seen: list[tuple[httpx2.Headers, bytes]]) -> httpx2.Response:
    """Away at first; then it accepts."""
    if len(seen) == 1:
        return httpx2.Response(503, headers={"Retry-After": "0"})
    return httpx2.Response(202, json=ACCEPTED)


def check(seen: list[tuple[httpx2.Headers, bytes]]) -> None:
    first, second = seen
    assert first == second
    headers, body = first
    assert (headers["content-type"], headers["content-encoding"]) == ("application/x-ndjson", "gzip")
    assert int(headers["content-length"]) == len(body)
    assert len(gzip.decompress(body).splitlines()) == 1 + MANY


def test_they_are_sent_again_whole_with_the_same_key() -> None:
    seen: list[tuple[httpx2.Headers, bytes]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.headers, request.read()))
        return decided(seen)

    with Client("https://gateway", token="t", transport=httpx2.MockTransport(answer), retries=QUICK) as client:
        assert client.submit("custom", items=items(MANY), **FIELDS).job_id == "t.a"
    check(seen)


async def test_under_asyncio_too() -> None:
    seen: list[tuple[httpx2.Headers, bytes]] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.headers, await request.aread()))
        return decided(seen)

    transport = httpx2.MockTransport(answer)
    async with AsyncClient("https://gateway", token="t", transport=transport, retries=QUICK) as client:
        assert (await client.submit("custom", items=items(MANY), **FIELDS)).job_id == "t.a"
    check(seen)
