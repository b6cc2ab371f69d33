"""The wire: Redis' protocol (RESP2) over asyncio streams, packed and parsed by hiredis.

What a client library offers beyond this the store does not use, and the import of redis-py alone takes 20 MiB of every
worker. Errors: OSError where the connection fails; what the server refuses is an answer.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import hiredis

READ_BYTES: Final = 256 * 1024

Command = Sequence[Any]  # its name and its arguments


class Endpoint(NamedTuple):
    """Where a server is, and how to enter."""

    host: str  # or the path of a socket
    port: int | None  # None: a socket
    database: int
    tls: ssl.SSLContext | None
    login: tuple[str, ...]  # user and password, or the password alone


class Wire:
    """One connection; asks one batch at a time. Of no use any more after an error or a cancellation: close it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader()

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        """Connect."""
        if endpoint.port is None:
            return cls(*await asyncio.open_unix_connection(endpoint.host, limit=READ_BYTES))
        return cls(*await asyncio.open_connection(endpoint.host, endpoint.port, ssl=endpoint.tls, limit=READ_BYTES))

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it, as far as is known here."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def ask(self, batch: Sequence[Command]) -> list[Any]:
        """The answers to commands, in one round trip; a refusal is a hiredis.ReplyError among them."""
        self._writer.writelines(hiredis.pack_command(tuple(command)) for command in batch)
        await self._writer.drain()
        answers: list[Any] = []
        while len(answers) < len(batch):
            answer = self._parser.gets()
            if answer is not False:  # what the parser says where it needs more
                answers.append(answer)
            elif block := await self._reader.read(READ_BYTES):
                self._parser.feed(block)
            else:
                raise ConnectionResetError("the server closed the connection")
        return answers

    def close(self) -> None:
        """Let go of it at once."""
        self._writer.transport.abort()
