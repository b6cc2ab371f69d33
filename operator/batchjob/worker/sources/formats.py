"""Files of records: JSON lines, a JSON array, CSV. Fed block by block; memory stays constant but for JSON. Pure.

Every complaint names the line, because somebody has to find it in a file of a million. None quotes what stands there:
a file may be a Secret, and a status is not. A fault of one record is a BadItem; any other is one of the whole file, and
so is whatever leaves open where the next record begins.
"""

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from batchjob.api.source import SourceFormat
from batchjob.errors import BadItem, InvalidSource
from batchjob.worker.sources.limits import ARRAY_BYTES, RECORD_BYTES
from batchjob.worker.sources.records import BadItems, Ids, Record, decode_object, explain_json, record_id

csv.field_size_limit(RECORD_BYTES)  # its own default is 128 KiB
_OTHER_SIGNS: Final = (";", "\t", "|")  # that some programs write between fields
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # spreadsheets begin a UTF-8 file with it

_OF_AN_ITEM: Final = ("id", "data")

T = TypeVar("T")
_array = msgspec.json.Decoder(list[msgspec.Raw])


class Parser(ABC):
    """Turns blocks of bytes into records. Errors: InvalidSource."""

    unit = "line"

    def __init__(self, id_field: str, bad: BadItems) -> None:
        self._id_field = id_field
        self._bad = bad
        self._ids = Ids(self.unit)

    @abstractmethod
    def feed(self, block: bytes) -> Iterator[Record]:
        """The records that are complete with this block."""

    @abstractmethod
    def finish(self) -> Iterator[Record]:
        """The records that the end of the file completes."""

    def _kept(self, read: Callable[[T], Record | None], raw: T) -> Record | None:
        """What `read` makes of it; None where that is bad and may be left out."""
        try:
            return read(raw)
        except InvalidSource as error:
            self._bad.add(error)
            return None

    def _record(self, data: dict[str, Any], place: int, where: str, size: int) -> Record:
        item_id = record_id(data, self._id_field, where)
        self._ids.add(item_id, place)
        return Record(item_id, data, size)


class _Lines(Parser):
    """A format whose records begin on a line of their own."""

    def __init__(self, id_field: str, bad: BadItems) -> None:
        super().__init__(id_field, bad)
        self._rest = b""
        self._begun = False
        self._too_long = False  # the line at hand: what is left of it is passed over
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
            if record := self._kept(self._next, line + b"\n"):
                yield record
        if len(self._rest) > RECORD_BYTES:
            if not self._too_long:
                self._bad.add(self._complain_of_length(self._line + 1))
            self._rest, self._too_long = b"", True

    def finish(self) -> Iterator[Record]:
        """The last line, where it has no line end."""
        rest, self._rest = self._rest, b""
        if not self._begun:
            rest = rest.removeprefix(BYTE_ORDER_MARK)
        if rest and (record := self._kept(self._next, rest)):
            yield record

    def _next(self, line: bytes) -> Record | None:
        self._line += 1
        if self._too_long:
            self._too_long = False
            return None
        if len(line) > RECORD_BYTES:
            raise self._complain_of_length(self._line)
        return self._take(line)

    def _complain_of_length(self, line: int) -> InvalidSource:
        return BadItem(f"line {line}: longer than {RECORD_BYTES} bytes, the most a record may have")

    @abstractmethod
    def _take(self, line: bytes) -> Record | None:
        """The record that a line completes; the line end is part of it."""


class JsonLines(_Lines):
    """One JSON object a line; empty lines are skipped."""

    def _take(self, line: bytes) -> Record | None:
        if not line.strip():
            return None
        where = f"line {self._line}"
        return self._record(decode_object(line, where), self._line, where, len(line))


class ItemLines(JsonLines):
    """One {id, data} a line, so that data may have any fields; what a gateway stages."""

    def _take(self, line: bytes) -> Record | None:
        if not line.strip():
            return None
        where = f"line {self._line}"
        found = decode_object(line, where)
        item_id, data = record_id(found, "id", where), found.get("data")
        if not isinstance(data, dict) or len(found) != len(_OF_AN_ITEM):
            raise BadItem(f'{where}: has to be {{"id": "…", "data": {{…}}}} and to have no other field')
        self._ids.add(item_id, self._line)
        return Record(item_id, data, len(line))


class Csv(_Lines):
    """RFC 4180 with a header row; every field is a text. A quoted field may hold line ends.

    After a quote that is not closed, or a line too long to look for its quotes, nobody knows where a row begins.
    """

    def __init__(self, id_field: str, bad: BadItems) -> None:
        super().__init__(id_field, bad)
        self._open: list[bytes] = []  # lines of a record whose quotes are not closed yet
        self._size = 0  # of them
        self._quotes = 0  # in them: each quote inside of a quoted field is doubled
        self._first = 0  # number of the first of them
        self._header: list[str] | None = None

    def _take(self, line: bytes) -> Record | None:
        self._first = self._first if self._open else self._line
        self._open.append(line)
        self._size += len(line)
        self._quotes += line.count(b'"')
        if self._size > RECORD_BYTES:
            raise InvalidSource(f"line {self._first}: a quote is opened and not closed within {RECORD_BYTES} bytes")
        if self._quotes % 2:
            return None
        row = b"".join(self._open)
        self._open, self._size, self._quotes = [], 0, 0
        return self._row(row)

    def finish(self) -> Iterator[Record]:
        """The last row, where it has no line end."""
        yield from super().finish()
        if self._open:
            raise InvalidSource(f"line {self._first}: a quote is opened and not closed")

    def _complain_of_length(self, line: int) -> InvalidSource:
        return InvalidSource(str(super()._complain_of_length(line)))

    def _row(self, row: bytes) -> Record | None:
        if not row.strip(b"\r\n"):
            return None
        if self._header is None:
            try:
                self._header = _header(self._fields(row), self._first, self._id_field)
            except BadItem as error:
                raise InvalidSource(str(error)) from None
            return None
        where, fields = f"line {self._first}", self._fields(row)
        if len(fields) != len(self._header):
            raise BadItem(f"{where}: {len(fields)} fields, where the header has {len(self._header)}")
        return self._record(dict(zip(self._header, fields, strict=True)), self._first, where, len(row))

    def _fields(self, row: bytes) -> list[str]:
        if b"\0" in row:
            raise BadItem(f"line {self._first}: holds a NUL byte, which no text has")
        try:
            [fields] = csv.reader([row.decode()], strict=True)
        except UnicodeDecodeError:
            raise BadItem(f"line {self._first}: not UTF-8") from None
        except (csv.Error, ValueError) as error:
            if self._line > self._first:  # two stray quotes make one row of all the rows between them
                raise InvalidSource(f"line {self._first}: a quote is opened and not closed: {error}") from None
            raise BadItem(f"line {self._first}: not CSV: {error}") from None
        return fields


class JsonArray(Parser):
    """One JSON array of objects, read whole."""

    unit = "record"

    def __init__(self, id_field: str, bad: BadItems) -> None:
        super().__init__(id_field, bad)
        self._blocks: list[bytes] = []
        self._size = 0
        self._place = 0  # number of the last record seen

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
        self._blocks = []
        try:
            records = _array.decode(body)
        except msgspec.ValidationError:
            raise InvalidSource("the file is not a JSON array of objects: [{…}, …]") from None
        except msgspec.DecodeError as error:
            raise InvalidSource(f"the file: {explain_json(body, error)}") from None
        except RecursionError:
            raise InvalidSource("the file: nested too deeply") from None
        for raw in records:
            if record := self._kept(self._next, raw):
                yield record

    def _next(self, raw: msgspec.Raw) -> Record:
        self._place += 1
        where, size = f"record {self._place}", len(memoryview(raw))
        if size > RECORD_BYTES:
            raise BadItem(f"{where}: longer than {RECORD_BYTES} bytes, the most a record may have")
        return self._record(decode_object(bytes(raw), where), self._place, where, size)


PARSERS: Final[dict[SourceFormat, type[Parser]]] = {
    SourceFormat.JSONL: JsonLines,
    SourceFormat.JSON: JsonArray,
    SourceFormat.CSV: Csv,
    SourceFormat.ITEMS: ItemLines,
}


def _header(fields: list[str], line: int, id_field: str) -> list[str]:
    seen: set[str] = set()
    for name in fields:
        if name in seen:
            raise InvalidSource(f"line {line}: the header names the column {name!r} twice")
        seen.add(name)
    if id_field not in fields:
        sign = next((sign for sign in _OTHER_SIGNS if len(fields) == 1 and sign in fields[0]), None)
        hint = f". Its columns seem to be separated by {sign!r}: write the file with commas" if sign else ""
        raise InvalidSource(
            f"line {line}: the header has no column {id_field!r}, which names the item (spec.source.idField){hint}"
        )
    return fields
