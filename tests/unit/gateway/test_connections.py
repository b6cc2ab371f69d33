"""Who connects and says nothing, or says who they are too late: they are let go, and cost little until then."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from batchjob import log
from batchjob.errors import ApiUnavailable
from batchjob.gateway import blocks, live_socket, process
from batchjob.gateway.ui.session import COOKIE
from tests.support.ui_scene import build_scene
from tests.support.ui_world import World, build_ui

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def app() -> AsyncIterator[Any]:
    log.configure("error")
    app = build_ui(build_scene())
    async with app.router.lifespan_context(app):
        yield app


class Socket:
    """A WebSocket over ASGI, of somebody without a header."""

    def __init__(self, app: Any) -> None:
        self.accepted = asyncio.Event()
        self._said = asyncio.Queue[dict[str, Any]]()
        self._closed = asyncio.get_running_loop().create_future()
        self.say({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "root_path": "",
                 "headers": [(b"host", b"ui")], "scheme": "wss", "client": ("x", 1)}  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._said.get, self._send))

    def say(self, message: dict[str, Any]) -> None:
        self._said.put_nowait(message)

    async def code(self) -> int:
        async with asyncio.timeout(20):
            code: int = await self._closed
            await self.task
        return code

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            self.accepted.set()
        if message["type"] == "websocket.close":
            self._closed.set_result(message["code"])


async def test_few_sockets_wait_for_a_token_at_once(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "STRANGERS", 1)
    first = Socket(app)
    await first.accepted.wait()
    assert await Socket(app).code() == live_socket.LIMITED.code
    first.say({"type": "websocket.receive", "text": "no token"})
    assert await first.code() == live_socket.BAD_REQUEST.code
    later = Socket(app)
    later.say({"type": "websocket.receive", "text": '{"token": "forged"}'})
    assert await later.code() == live_socket.UNKNOWN.code


async def test_the_form_of_who_is_not_known_is_small(app: Any) -> None:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        answer = await client.post("/admin/queues/sign-in", content=b"token=" + b"x" * 20_000, headers=SAME)
    assert answer.status_code == 413
    assert "16 KiB" in answer.text


async def test_who_signs_out_is_signed_out_though_kubernetes_is_away(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise ApiUnavailable("away")

    monkeypatch.setattr(World, "admit", away)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://ui") as client:
        answer = await client.post("/admin/queues/sign-out", headers=SAME | {"Cookie": f"{COOKIE}=alice"})
    assert answer.status_code == 303
    assert "max-age=0" in answer.headers["set-cookie"].lower()


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def gone() -> dict[str, Any]:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(("receive", "status"), [(never, 408), (gone, 400)])
async def test_a_form_that_does_not_come_is_not_waited_for_and_no_error_of_ours(
    app: Any, monkeypatch: pytest.MonkeyPatch, receive: Callable[[], Awaitable[dict[str, Any]]], status: int
) -> None:
    monkeypatch.setattr(blocks, "PATIENCE_SECONDS", 0.01)
    sent, lines = list[int](), io.StringIO()
    log.configure("info", stream=lines)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    path = "/admin/queues/sign-in"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"host", b"ui"), (b"sec-fetch-site", b"same-origin")], "http_version": "1.1",
             "scheme": "https", "server": ("ui", 443), "client": ("x", 1), "root_path": ""}  # fmt: skip
    await app(scope, receive, send)
    assert sent == [status]
    assert "Traceback" not in lines.getvalue()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_without_a_request_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(process, "HEAD_SECONDS", 0.2)
    answer_now = asyncio.Event()

    async def app(_: Any, __: Any, send: Any) -> None:
        await answer_now.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config, state = uvicorn.Config(app, log_config=None), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: process.Connection(config, state, {}), tmp_path / "socket")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
    silent, other = await asyncio.open_unix_connection(tmp_path / "socket")
    try:
        other.write(begun)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            assert await silent.read() == b""
            with pytest.raises(TimeoutError):  # what is worked on goes on, for however long that takes
                await asyncio.wait_for(reader.read(1), 0.5)
            answer_now.set()
            writer.write(begun)
            assert b"204" in await reader.read(), "answered, and then closed"
    finally:
        for one in (writer, other, server):
            one.close()
            await one.wait_closed()
