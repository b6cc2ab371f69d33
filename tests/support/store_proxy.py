"""A proxy before Redis that numbers the calls and spoils one: cut before it, its reply lost, or half of the reply.

It speaks RESP2 just far enough to tell one call and one reply from the next.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from batchjob.store import scripts

LIMIT: Final = 2**26  # bytes of a line
SCRIPTS: Final = {script.sha.encode(): script.name for script in scripts.ALL}
ENDED: Final = (asyncio.IncompleteReadError, ConnectionError)


class How(StrEnum):
    """What becomes of the call."""

    CUT_BEFORE = "cut before"  # it never reaches the server
    LOSE_REPLY = "reply lost"  # it is carried out, and nobody hears of it
    HALF_REPLY = "half a reply"


@dataclass
class Spoil:
    """The `nth` call of this name, from 1."""

    name: str
    nth: int
    how: How
    hit: bool = False


class StoreProxy:
    """Listens while its context lasts."""

    def __init__(self, server_port: int, spoil: Spoil | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self._server_port = server_port
        self._spoil = spoil
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LIMIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens, as a store's URL."""
        if self._server is None:
            raise RuntimeError("the proxy does not listen")
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.ensure_future(self._talk(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port, limit=LIMIT)
        order: asyncio.Queue[How | None] = asyncio.Queue()  # what becomes of each reply that is still to come
        ways = {
            asyncio.ensure_future(self._forward_calls(client, to_server, order)),
            asyncio.ensure_future(forward_replies(server, to_client, order)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in (to_client, to_server):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _forward_calls(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, order: asyncio.Queue[How | None]
    ) -> None:
        with suppress(*ENDED):
            while True:
                call = await read_value(client)
                how = self._what_becomes_of(name_of(call))
                if how is How.CUT_BEFORE:
                    return
                order.put_nowait(how)
                to_server.write(call)
                await to_server.drain()

    def _what_becomes_of(self, name: str) -> How | None:
        self.calls[name] += 1
        spoil = self._spoil
        if spoil is None or spoil.hit or (name, self.calls[name]) != (spoil.name, spoil.nth):
            return None
        spoil.hit = True
        return spoil.how


async def forward_replies(
    server: asyncio.StreamReader, to_client: asyncio.StreamWriter, order: asyncio.Queue[How | None]
) -> None:
    """Pass replies on until one is to be spoiled, or a side hangs up."""
    with suppress(*ENDED):
        while True:
            how = await order.get()
            reply = await read_value(server)
            if how is How.LOSE_REPLY:
                return
            to_client.write(reply if how is None else reply[: len(reply) // 2])
            await to_client.drain()
            if how is How.HALF_REPLY:
                return


async def read_value(reader: asyncio.StreamReader) -> bytes:
    """One value of RESP2, as it came: a call is an array of strings, a reply anything."""
    line = await reader.readuntil(b"\r\n")
    if line[:1] == b"$" and line[1:2] != b"-":
        return line + await reader.readexactly(int(line[1:]) + 2)
    if line[:1] == b"*" and line[1:2] != b"-":
        return line + b"".join([await read_value(reader) for _ in range(int(line[1:]))])
    return line


def name_of(call: bytes) -> str:
    """The command, or the name of the script that it runs."""
    words = call.split(b"\r\n", 5)
    command = words[2].decode().upper()
    return SCRIPTS.get(words[4], "unknown script") if command == "EVALSHA" else command
