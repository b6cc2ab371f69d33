"""Sources that are files of records, wherever the bytes come from."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from batchjob.api.source import SourceFormat
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.worker.sources.formats import PARSERS, looks_like
from batchjob.worker.sources.source import Record, Source

BLOCK_BYTES: Final = 256 * 1024
HEAD_BYTES: Final = 4096  # looked at for a hint where a file is wrong
LIMIT_BYTES: Final = 1024**3  # largest file


class Reader(Protocol):
    """Where the bytes of a file come from; `etag` is known once the first block is there."""

    name: str
    etag: str | None

    def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, from the beginning. Raises InvalidSource, SourceUnreachable."""


class FileSource(Source):
    """A file of records in one of the formats."""

    def __init__(self, reader: Reader, form: SourceFormat, id_field: str, field: str) -> None:
        """`field`: where the spec names the file."""
        super().__init__()
        self._field = field
        self._reader = reader
        self._form = form
        self._parser = PARSERS[form](id_field)

    async def records(self) -> AsyncIterator[Record]:
        """The file's records; errors name the field and the file."""
        size, head = 0, b""
        try:
            async for block in self._reader.blocks():
                head = head or block[:HEAD_BYTES]
                size += len(block)
                _check_size(size)
                self.etag = self._reader.etag
                self._digest.update(block)
                for record in self._parser.feed(block):
                    yield record
                await asyncio.sleep(0)  # parsing computes: heartbeat, probes and signals get their turn
            for record in self._parser.finish():
                yield record
        except InvalidSource as error:
            raise InvalidSource(f"{self._field}: {self._reader.name}: {error}{self._hint(head)}") from None
        except SourceUnreachable as error:
            raise SourceUnreachable(f"{self._field}: {error}", lasts=error.lasts) from None

    def _hint(self, head: bytes) -> str:
        looks = looks_like(head)
        return f" (it looks like {looks}: check {self._field}.format)" if looks not in {None, self._form} else ""


def _check_size(size: int) -> None:
    if size > LIMIT_BYTES:
        raise InvalidSource(f"larger than {LIMIT_BYTES >> 30} GiB, the most a source may have")


class PathReader:
    """A file that is mounted: a key of a ConfigMap, or a file on a claim."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.etag: str | None = None
        self._path = path

    async def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, read in threads: a claim may be a network away."""
        try:
            with await asyncio.to_thread(self._path.open, "rb") as file:
                while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                    yield block
        except FileNotFoundError:
            raise SourceUnreachable(f"{self.name} does not exist: check the path and the claim", lasts=True) from None
        except OSError as error:
            raise SourceUnreachable(f"{self.name} cannot be read: {error.strerror}") from None
