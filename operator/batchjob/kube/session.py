"""Connections to the API server, ours and kopf's, and the JSON that comes over them, however deep it is.

The API server stores values up to 10,000 levels deep where no schema looks: whoever may create an object may give it
such `managedFields`. Python gives up at 1,000, and whatever lists one such object reads none of the list, again at each
start. Nothing that we read is a hundred levels deep, so what lies deeper than DEEPEST is read as null.
"""

import json
import os
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Self

import aiohttp
from aiohttp.connector import Connection

from batchjob.kube.access import Access

DEEPEST: Final = 500
MAX_LINE_BYTES: Final = 8 * 1024 * 1024  # one watch event; etcd holds objects to 1.5 MiB

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def open_session(
    access: Access, headers: Mapping[str, str] | None = None, traces: list[aiohttp.TraceConfig] | None = None
) -> aiohttp.ClientSession:
    """A session of the running loop; whoever opens it closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=access.ssl_context() or True),
        headers=headers,
        read_bufsize=MAX_LINE_BYTES,
        response_class=Answer,
        trace_configs=traces,
        proxy=access.proxy,
    )


def decode(text: bytes) -> Any:
    """What a text says; ValueError where it is no JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(cut(text))


def cut(text: bytes) -> bytes:
    """The same JSON with null in place of what lies deeper than DEEPEST."""
    if text.count(b"{") + text.count(b"[") <= DEEPEST:
        return text
    kept, begin, depth = list[bytes](), 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += text[begin : token.start()], b"null"
        elif token[0] in b"]}":
            if depth == DEEPEST + 1:
                begin = token.end()
            depth -= 1
    return b"".join((*kept, text[begin:])) if kept else text


class Answer(aiohttp.ClientResponse):
    """An answer as kopf reads it: a list by `json()`, a watch in chunks of its `content`."""

    async def start(self, connection: Connection) -> Self:
        """Read the headers."""
        await super().start(connection)
        self.content = Lines(self.content)  # type: ignore[assignment] # it is one, but for how lines come out of it
        return self

    async def json(self, **_: Any) -> Any:
        """What the answer says; ValueError where it is no JSON."""
        return decode(await self.read())


class Lines:
    """The content of an answer, whose lines are cut."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async for line in self._content:
            yield cut(line)

    def iter_chunked(self, _: int) -> AsyncGenerator[bytes]:
        """Whole lines, whatever their size."""
        return aiter(self)


def in_words(error: Exception) -> str:
    """Why there is no answer, without the objects of Python that aiohttp's own words show."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None) or 0
    if isinstance(cause, ssl.SSLCertVerificationError):
        said = f"its certificate is not trusted: {cause.verify_message}"
    elif isinstance(cause, OSError) and number:
        said = os.strerror(number) if number > 0 else str(cause.strerror)  # below 0: of resolving a name
    else:
        said = str(cause) or ("none in time" if isinstance(cause, TimeoutError) else type(cause).__name__)
    return f"{error.host}:{error.port}: {said}" if isinstance(error, aiohttp.ClientConnectorError) else said
