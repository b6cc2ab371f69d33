"""A part that is written while its rows are read: memory stays flat, however many they are."""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any, Final

from batchjob.api.blocks.export import Column
from batchjob_processors.encoders import Encoder, Row
from batchjob_processors.values import read_as

PIECE_BYTES: Final = 1024 * 1024  # handed on at once, at least


class StreamedPart:
    """The pieces of one file, and afterwards what its manifest says of it."""

    def __init__(self, encoder: Encoder, columns: Sequence[Column]) -> None:
        self._encoder = encoder
        self._columns = columns
        self._has_formats = any(column.format for column in columns)
        self._digest = hashlib.sha256()
        self._rows = self._bytes = 0
        self._empty = set(range(len(columns)))

    async def pieces(self, batches: AsyncIterable[Sequence[Row]]) -> AsyncIterator[bytes]:
        """The file. ValueError where a value is not what its column's format says."""
        ready = bytearray(self._encoder.begin())
        async for batch in batches:
            # In a thread: what is read meanwhile, and the items beside this one, go on.
            ready += await asyncio.to_thread(self._add, batch)
            if len(ready) >= PIECE_BYTES:
                yield self._counted(ready)
        rest = iter(self._encoder.end())
        while (piece := await asyncio.to_thread(next, rest, None)) is not None:
            ready += piece
            if len(ready) >= PIECE_BYTES:
                yield self._counted(ready)
        yield self._counted(ready)

    @property
    def fields(self) -> dict[str, Any]:
        """Of the whole file: rows, bytes, sha256, emptyColumns."""
        empty = [self._columns[place].name for place in sorted(self._empty)]
        return {"rows": self._rows, "bytes": self._bytes, "sha256": self._digest.hexdigest(), "emptyColumns": empty}

    def _add(self, batch: Sequence[Row]) -> bytes:
        if self._has_formats:
            columns = self._columns
            batch = [[read_as(column, content) for column, content in zip(columns, row, strict=True)] for row in batch]
        self._rows += len(batch)
        self._empty -= self._encoder.filled(batch, self._empty)
        return self._encoder.add(batch)

    def _counted(self, ready: bytearray) -> bytes:
        piece = bytes(ready)
        ready.clear()
        self._digest.update(piece)
        self._bytes += len(piece)
        return piece
