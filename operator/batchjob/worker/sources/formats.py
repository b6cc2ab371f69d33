"""Files of records: JSON lines, a JSON array, CSV. Fed block by block; memory stays constant but for JSON. Pure.

Every complaint names the line, because somebody has to find it in a file of a million. None quotes what stands there:
a file may be a Secret, and a status is not.
"""

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from batchjob.api.source import SourceFormat
from batchjob.errors import InvalidSource
from batchjob.worker.sources.source import Ids, Record, kind_of, record_id

RECORD_BYTES: Final = 1024 * 1024  # longest record: a file without line ends must not fill the memory
csv.field_size_limit(RECORD_BYTES)  # its own default is 128 KiB
ARRAY_BYTES: Final = 64 * 1024 * 1024  # largest JSON array, since it is read whole
_OTHER_SIGNS: Final = (";", "\t", "|")  # that some programs write between fields
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # spreadsheets begin a UTF-8 file with it


class Parser(ABC):
    """Turns blocks of bytes into records. Errors: InvalidSource."""

    unit = "line"

    def __init__(self, id_field: str) -> None:
        self._id_field = id_field
        self._ids = Ids(self.unit)

    @abstractmethod
    def feed(self, block: bytes) -> Iterator[Record]:
        """The records that are complete with this block."""

    @abstractmethod
    def finish(self) -> Iterator[Record]:
        """The records that the end of the file completes."""

    def _record(self, data: dict[str, Any], place: int, size: int) -> Record:
        item_id = record_id(data, self._id_field, f"{self.unit} {place}")
        self._ids.add(item_id, place)
        return Record(item_id, data, size)


class _Lines(Parser):
    """A format whose records begin on a line of their own."""

    def __init__(self, id_field: str) -> None:
        super().__init__(id_field)
        self._rest = b""
        self._begun = False
        self._line = 0  # number of the last line seen

    def feed(self, block: bytes) -> Iterator[Record]:
        """Complete lines of the block."""
        self._rest += block
        if not self._begun:
            if len(self._rest) < len(BYTE_ORDER_MARK):
                return
            self._rest = self._rest.removeprefix(BYTE_ORDER_MARK)
            self._begun = True
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            yield from self._next(line + b"\n")
        if len(self._rest) > RECORD_BYTES:
            raise InvalidSource(f"line {self._line + 1}: longer than {RECORD_BYTES} bytes, the most a record may have")

    def finish(self) -> Iterator[Record]:
        """The last line, where it has no line end."""
        rest, self._rest = self._rest, b""
        if not self._begun:
            rest = rest.removeprefix(BYTE_ORDER_MARK)
        if rest:
            yield from self._next(rest)

    def _next(self, line: bytes) -> Iterator[Record]:
        self._line += 1
        if len(line) > RECORD_BYTES:
            raise InvalidSource(f"line {self._line}: longer than {RECORD_BYTES} bytes, the most a record may have")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise InvalidSource(f"line {self._line}: not UTF-8") from None
        return self._take(text)

    @abstractmethod
    def _take(self, text: str) -> Iterator[Record]:
        """The records that a line completes; the line end is part of it."""


class JsonLines(_Lines):
    """One JSON object a line; empty lines are skipped."""

    def _take(self, text: str) -> Iterator[Record]:
        if not text.strip():
            return
        data = _decode(text, f"line {self._line}")
        if not isinstance(data, dict):
            raise InvalidSource(f"line {self._line}: not a JSON object but {kind_of(data)}")
        yield self._record(data, self._line, len(text))


class Csv(_Lines):
    """RFC 4180 with a header row; every field is a text. A quoted field may hold line ends."""

    def __init__(self, id_field: str) -> None:
        super().__init__(id_field)
        self._open = ""  # a record whose quotes are not closed yet
        self._first = 0  # its first line
        self._header: list[str] | None = None

    def _take(self, text: str) -> Iterator[Record]:
        self._first = self._first if self._open else self._line
        self._open += text
        if len(self._open) > RECORD_BYTES:
            raise InvalidSource(f"line {self._first}: a quote is opened and not closed within {RECORD_BYTES} bytes")
        if self._open.count('"') % 2 == 0:  # each quote inside of a quoted field is doubled
            text, self._open = self._open, ""
            yield from self._row(text)

    def finish(self) -> Iterator[Record]:
        """The last row, where it has no line end."""
        yield from super().finish()
        if self._open:
            raise InvalidSource(f"line {self._first}: a quote is opened and not closed")

    def _row(self, text: str) -> Iterator[Record]:
        if not text.strip("\r\n"):
            return
        try:
            [fields] = csv.reader([text], strict=True)
        except (csv.Error, ValueError) as error:
            raise InvalidSource(f"line {self._first}: not CSV: {error}") from None
        if self._header is None:
            self._header = _header(fields, self._first, self._id_field)
            return
        if len(fields) != len(self._header):
            raise InvalidSource(f"line {self._first}: {len(fields)} fields, where the header has {len(self._header)}")
        yield self._record(dict(zip(self._header, fields, strict=True)), self._first, len(text))


class JsonArray(Parser):
    """One JSON array of objects, read whole."""

    unit = "record"

    def __init__(self, id_field: str) -> None:
        super().__init__(id_field)
        self._blocks: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> Iterator[Record]:
        """Nothing yet."""
        self._size += len(block)
        if self._size > ARRAY_BYTES:
            raise InvalidSource(f"a JSON array may have {ARRAY_BYTES >> 20} MiB: use jsonl, which is read line by line")
        self._blocks.append(block)
        return iter(())

    def finish(self) -> Iterator[Record]:
        """Every record."""
        body = b"".join(self._blocks).removeprefix(BYTE_ORDER_MARK)
        records = _decode(body, "the file")
        if not isinstance(records, list):
            raise InvalidSource("the file is not a JSON array of objects: [{…}, …]")
        for place, data in enumerate(records, start=1):
            if not isinstance(data, dict):
                raise InvalidSource(f"record {place}: not a JSON object but {kind_of(data)}")
            yield self._record(data, place, self._size // len(records))


PARSERS: Final[dict[SourceFormat, type[Parser]]] = {
    SourceFormat.JSONL: JsonLines,
    SourceFormat.JSON: JsonArray,
    SourceFormat.CSV: Csv,
}


def looks_like(head: bytes) -> SourceFormat | None:
    """The format that the beginning of a file suggests; for hints alone, since a guess must decide nothing."""
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"["):
        return SourceFormat.JSON
    if text.startswith(b"{"):
        return SourceFormat.JSONL
    first, _, _ = text.partition(b"\n")
    return SourceFormat.CSV if any(sign in first for sign in (b",", b";", b"\t")) else None


def _header(fields: list[str], line: int, id_field: str) -> list[str]:
    repeated = next((name for name in fields if fields.count(name) > 1), None)
    if repeated is not None:
        raise InvalidSource(f"line {line}: the header names the column {repeated!r} twice")
    if id_field not in fields:
        sign = next((sign for sign in _OTHER_SIGNS if len(fields) == 1 and sign in fields[0]), None)
        hint = f". Its columns seem to be separated by {sign!r}: write the file with commas" if sign else ""
        raise InvalidSource(
            f"line {line}: the header has no column {id_field!r}, which names the item (spec.source.idField){hint}"
        )
    return fields


def _decode(text: str | bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSource(f"{where}: not JSON: {error}") from None
    except RecursionError:
        raise InvalidSource(f"{where}: nested too deeply") from None
