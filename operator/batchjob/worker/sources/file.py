"""Sources that are files of records, wherever the bytes come from."""

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from batchjob.api.source import OnBadItem, SourceFormat
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.worker.sources.formats import PARSERS
from batchjob.worker.sources.kinds import HEAD_BYTES, check_kind, is_page, looks_like
from batchjob.worker.sources.limits import BLOCK_BYTES, TOGETHER, check_cost
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source


class Reader(Protocol):
    """Where the bytes of a file come from; `etag` is known once the first block is there."""

    name: str
    etag: str | None

    def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, from the beginning. Raises InvalidSource, SourceUnreachable."""


class FileSource(Source):
    """A file of records in one of the formats."""

    def __init__(
        self, reader: Reader, form: SourceFormat, id_field: str, field: str, on_bad_item: OnBadItem = OnBadItem.FAIL
    ) -> None:
        """`field`: where the spec names the file."""
        super().__init__(on_bad_item)
        self._field = field
        self._reader = reader
        self._form = form
        self._parser = PARSERS[form](id_field, self.bad)

    async def records(self) -> AsyncIterator[list[Record]]:
        """The file's records; errors name the field and the file."""
        size, good, head, began = 0, 0, b"", time.monotonic()
        try:
            async for block in self._reader.blocks():
                if not head:
                    head = block[:HEAD_BYTES]
                    check_kind(head)
                size += len(block)
                check_cost(self._reader.name, size, time.monotonic() - began)
                self.etag = self._reader.etag
                self._digest.update(block)
                for records in _together(self._parser.feed(block)):
                    good += len(records)
                    yield records
                await asyncio.sleep(0)  # parsing computes: heartbeat, probes and signals get their turn
            for records in _together(self._parser.finish()):
                good += len(records)
                yield records
            self.bad.check(good)
        except InvalidSource as error:
            raise InvalidSource(f"{self._field}: {self._reader.name}: {error}{self._hint(head)}") from None
        except SourceUnreachable as error:
            raise SourceUnreachable(f"{self._field}: {error}", lasts=error.lasts) from None

    def _hint(self, head: bytes) -> str:
        if is_page(head):
            return " (it looks like a web page, perhaps one that asks for a login)"
        looks = looks_like(head)
        same = {None, self._form, SourceFormat.JSONL if self._form is SourceFormat.ITEMS else None}
        return f" (it looks like {looks}: check {self._field}.format)" if looks not in same else ""


def _together(records: Iterator[Record]) -> Iterator[list[Record]]:
    while some := list(islice(records, TOGETHER)):
        yield some


def _version(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_mtime_ns, found.st_size


class PathReader:
    """A file that is mounted: a key of a ConfigMap, or a file on a claim."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.etag: str | None = None
        self._path = path

    async def blocks(self) -> AsyncIterator[bytes]:
        """The bytes, read in threads: a claim may be a network away."""
        try:
            found = await asyncio.to_thread(self._path.stat)
            if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for its writer
                raise SourceUnreachable(f"{self.name} is no regular file: check the path", lasts=True)
            with await asyncio.to_thread(self._path.open, "rb") as file:
                version = _version(file.fileno())
                while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                    yield block
                if _version(file.fileno()) != version:  # what was read may be a mixture
                    raise SourceUnreachable(f"{self.name} changed while it was read")
        except FileNotFoundError:
            raise SourceUnreachable(f"{self.name} does not exist: check the path and the claim", lasts=True) from None
        except OSError as error:
            raise SourceUnreachable(f"{self.name} cannot be read: {error.strerror}") from None
