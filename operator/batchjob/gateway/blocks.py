"""A body as it comes, block by block, in bounds of size and time; unpacked where it is gzip.

The bytes are counted as they come and as they are unpacked: a length that was announced is refused before anything is
read, one that was not where it gets too long, and gzip where it stands for nothing. A client may wait and go on, but
not for ever: who sends a byte a minute would hold a connection, and of large bodies one of a few places.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from batchjob.gateway.problems import BAD_REQUEST, TOO_SLOW, WRONG_MEDIA_TYPE, Problem

PATIENCE_SECONDS: Final = 30.0  # in all, beyond what the slowest rate allows
SLOWEST_BYTES: Final = 16 * 1024  # a second: a poor mobile line
MOST_SECONDS: Final = 3600.0  # for all of it, however fast it began
PIECE_BYTES: Final = 64 * 1024  # unpacked at once: a block of gzip may stand for a thousand times as many
EMPTY_BYTES: Final = 2**20  # of gzip that stands for nothing, and could go on for ever
_GZIP: Final = 31  # zlib's number for gzip with its header


async def read_blocks(request: Request, limit: int, refusal: Problem) -> AsyncIterator[bytes]:
    """The body's bytes, at most `limit` of them; else `refusal`. Other problems: too slow, broken off, no gzip."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise Problem(
            WRONG_MEDIA_TYPE,
            "Send the body as it is, or with Content-Encoding: gzip",
            headers={"Accept-Encoding": "gzip"},
        )
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise refusal
    unpacked = _Unpacked() if encoding == "gzip" else None
    size = packed = 0
    async for block in _received(request):
        for piece in (block,) if unpacked is None else unpacked.feed(block):
            size += len(piece)
            if size > limit:
                raise refusal
            yield piece
        packed += len(block)
        if packed > 2 * size + EMPTY_BYTES:
            raise refusal
    if unpacked is not None:
        unpacked.check_end()


async def _received(request: Request) -> AsyncIterator[bytes]:
    """What comes, as fast as it is wanted: only the waiting for it is held against the client."""
    stream = request.stream()
    received, waited, began = 0, 0.0, time.monotonic()
    while True:
        since = time.monotonic()
        left = min(PATIENCE_SECONDS + received / SLOWEST_BYTES - waited, began + MOST_SECONDS - since)
        try:
            async with asyncio.timeout(left):
                block = await anext(stream, None)
        except TimeoutError:
            raise Problem(
                TOO_SLOW,
                f"The body came too slowly: send it again, {SLOWEST_BYTES} bytes a second or more, "
                f"and all of it within {MOST_SECONDS:g} s",
            ) from None
        except ClientDisconnect:
            raise Problem(BAD_REQUEST, "The body broke off") from None  # nobody hears it; the log has it
        if block is None:
            return
        waited += time.monotonic() - since
        received += len(block)
        if block:
            yield block


class _Unpacked:
    """Blocks of gzip, unpacked; several members in a row are one text, as gzip has it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        """What a block stands for, in small pieces."""
        more = True
        try:
            while block or more:
                if self._member.eof:
                    if not block:
                        return
                    self._member = zlib.decompressobj(_GZIP)
                self._begun = True
                piece = self._member.decompress(block, PIECE_BYTES)
                block = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
                more = len(piece) == PIECE_BYTES  # zlib may hold back what it has read
                if piece:
                    yield piece
        except zlib.error as error:
            raise Problem(BAD_REQUEST, f"The body is not gzip: {error}") from None

    def check_end(self) -> None:
        """Whether all of it was there."""
        if self._begun and not self._member.eof:
            raise Problem(BAD_REQUEST, "The body is not whole: its gzip breaks off")
