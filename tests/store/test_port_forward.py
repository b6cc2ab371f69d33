"""A port of a pod on this machine, over a stand-in for the API server that speaks its WebSocket protocol."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType, web

from batchjob.errors import ApiUnavailable, Forbidden
from batchjob.kube import Access
from batchjob.kube.forward import PROTOCOL, forward

PORT = (8080).to_bytes(2, "little")


class ApiServer:
    """Echoes in capitals what comes to the pod `gateway-0`; everything else is forbidden."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, request.query["ports"], request.headers.get("Authorization", "")))
        if "gateway-0" not in request.path:
            return web.Response(status=403)
        channel = web.WebSocketResponse(protocols=[PROTOCOL])
        await channel.prepare(request)
        for number in (b"\x00", b"\x01"):
            await channel.send_bytes(number + PORT)
        async for message in channel:
            if message.type is WSMsgType.BINARY:
                assert message.data[:1] == b"\x00"
                if message.data[1:] == b"fail":
                    await channel.send_bytes(b"\x01the port is closed")
                else:
                    await channel.send_bytes(b"\x00" + message.data[1:].upper())
        return channel


@pytest.fixture
async def api() -> AsyncIterator[tuple[ApiServer, Access]]:
    server = ApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield server, Access(f"http://{host}:{port}", fixed_token="t")
    await runner.cleanup()


async def test_a_connection_that_is_open_at_the_end_is_closed_without_a_word(
    api: tuple[ApiServer, Access], caplog: pytest.LogCaptureFixture
) -> None:
    async with forward(api[1], "system", "gateway-0", 8080) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
    assert await reader.read() == b""
    writer.close()
    await asyncio.sleep(0)  # callbacks of the tasks that have ended
    assert caplog.messages == []


async def test_bytes_go_both_ways_on_each_connection(api: tuple[ApiServer, Access]) -> None:
    server, access = api
    async with forward(access, "system", "gateway-0", 8080) as address:
        host, port = address.split(":")
        for text in (b"hello", b"x" * 200_000):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(text)
            assert await asyncio.wait_for(reader.readexactly(len(text)), 30) == text.upper()
            writer.close()
    assert {*server.seen} == {("/api/v1/namespaces/system/pods/gateway-0/portforward", "8080", "Bearer t")}
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_port_that_is_closed_closes_the_connection(api: tuple[ApiServer, Access]) -> None:
    async with forward(api[1], "system", "gateway-0", 8080) as address:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"fail")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_what_may_not_be_forwarded_is_told_before_anything_is_sent(api: tuple[ApiServer, Access]) -> None:
    with pytest.raises(Forbidden, match=r"the port 8080 of the pod system/other cannot be forwarded: 403"):
        async with forward(api[1], "system", "other", 8080):
            pass
    with pytest.raises(ApiUnavailable, match="is not reached"):
        async with forward(Access("http://127.0.0.1:1"), "system", "gateway-0", 8080):
            pass
