"""A body is read in bounds, whether it says how long it is or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from fastapi import FastAPI, Request

from batchjob.gateway import blocks
from batchjob.gateway.bodies import _BRACKETS, DECODER, MAX_BYTES, check_depth, read_object, read_optional
from tests.support.gateway import asking, build_gateway

JSON = {"Content-Type": "application/json"}


def app_that_reads(read_bytes: list[int]) -> FastAPI:
    app = build_gateway()

    async def read(request: Request) -> dict[str, int]:
        return {"fields": len(await read_object(request))}

    async def maybe(request: Request) -> dict[str, int]:
        return {"fields": len(await read_optional(request))}

    app.add_api_route("/read", read, methods=["POST"])
    app.add_api_route("/maybe", maybe, methods=["POST"])
    assert read_bytes == []
    return app


async def endless(read_bytes: list[int]) -> AsyncIterator[bytes]:
    while True:
        read_bytes.append(65_536)
        yield b" " * 65_536


async def test_a_body_that_says_it_is_too_long_is_refused_at_once() -> None:
    async with asking(app_that_reads([])) as client:
        answer = await client.post("/read", content=b" " * (MAX_BYTES + 1), headers=JSON)
        assert answer.status_code == 413
        assert "source.uri" in answer.json()["detail"]
        fits = await client.post("/read", content=b'{"a": 1' + b" " * (MAX_BYTES - 8) + b"}", headers=JSON)
        assert fits.json() == {"fields": 1}


async def test_what_is_not_json_by_its_type_is_not_read() -> None:
    async with asking(app_that_reads([])) as client:
        for headers in ({}, {"Content-Type": "text/plain"}, {**JSON, "Content-Encoding": "br"}):
            answer = await client.post("/read", content=b"{}", headers=headers)
            assert answer.status_code == 415, headers
        for kind in ("application/json", "Application/JSON; charset=utf-8"):
            assert (await client.post("/read", content=b"{}", headers={"Content-Type": kind})).status_code == 200


async def test_no_body_is_an_empty_object_where_none_is_needed() -> None:
    async with asking(app_that_reads([])) as client:
        assert (await client.post("/maybe")).json() == {"fields": 0}
        assert (await client.post("/maybe", json={"a": 1})).json() == {"fields": 1}
        assert (await client.post("/read")).status_code == 415


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PATIENCE_SECONDS", 0.01)

    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    assert await status_of(app_that_reads([]), never) == 408


async def test_a_client_that_goes_away_is_no_mistake_of_ours() -> None:
    async def gone() -> dict[str, object]:
        return {"type": "http.disconnect"}

    assert await status_of(app_that_reads([]), gone) == 400


async def test_a_body_without_an_end_is_broken_off() -> None:
    """Through the ASGI interface itself: a client's transport would first collect what never ends."""
    read: list[int] = []
    chunks = endless(read)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    assert await status_of(app_that_reads([]), receive) == 413
    assert sum(read) <= MAX_BYTES + 65_536


async def status_of(app: FastAPI, receive: Callable[[], Awaitable[dict[str, object]]]) -> int:
    sent: list[int] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            sent.append(int(str(message["status"])))

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/read", "query_string": b"", "headers": headers}
    scope |= {"http_version": "1.1", "scheme": "http", "server": ("gateway", 80), "client": ("c", 1), "root_path": ""}
    await app(scope, receive, send)  # type: ignore[arg-type]  # plain dictionaries are what a server hands over
    [status] = sent
    return status


async def test_a_key_that_stands_twice_among_many_is_found_in_one_pass() -> None:
    class Name(str):
        compared = 0
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

    names = [*(Name(number) for number in range(2000)), Name("twice"), Name("twice")]
    with pytest.raises(ValueError, match="'twice' is there twice"):
        DECODER.object_pairs_hook([(name, 1) for name in names])
    assert Name.compared < 10 * len(names)


def test_a_text_without_an_end_is_gone_through_once() -> None:
    for text in ('"' + '\\"' * 5000 + "[" * 65, '"' + "x" * 5000 + "\\", '"'):
        assert len(_BRACKETS.findall(text)) == 1, "else each of its quotation marks begins another look to the end"
        check_depth(text)
    with pytest.raises(ValueError, match="deeper than 64"):
        check_depth('{"a\\"[": ' + "[" * 65)
