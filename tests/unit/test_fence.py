"""Who may not write any more does not: asked with a connection in hand, right before a request goes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from batchjob.errors import NotLeading
from batchjob.kube.fence import build_fence

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """It answers, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():
            self.heard.append(line)
            writer.write(ANSWER)
        writer.close()


class Leading:
    """Whether we lead."""

    now = True


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server()
    async with await asyncio.start_unix_server(found.serve, tmp_path / "server"):
        yield found


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(tmp_path / "server")), trace_configs=[build_fence(lambda: Leading.now)]
    ) as made:
        yield made


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_leader_writes_and_who_leads_no_more_only_reads(
    method: str, server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session.request(method, "http://api/jobs", data=b"{}") as answer:
        assert answer.status == 200
    monkeypatch.setattr(Leading, "now", False)
    with pytest.raises(NotLeading, match=f"{method} /jobs: not sent"):
        await session.request(method, "http://api/jobs", data=b"{}")
    async with session.get("http://api/jobs") as answer:
        assert answer.status == 200
    assert [line.split()[0].decode() for line in server.heard] == [method, "GET"]


async def test_a_lead_that_ends_while_the_connection_is_made_is_noticed(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = aiohttp.UnixConnector._create_connection

    async def slowly(self: aiohttp.UnixConnector, *what: object) -> object:
        made = await connect(self, *what)  # type: ignore[arg-type]
        monkeypatch.setattr(Leading, "now", False)
        return made

    monkeypatch.setattr(aiohttp.UnixConnector, "_create_connection", slowly)
    with pytest.raises(NotLeading):
        await session.post("http://api/jobs", data=b"{}")
    assert server.heard == []
