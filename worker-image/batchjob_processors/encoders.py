"""Rows as the bytes of a file, piece by piece, so that a file may be larger than the memory. Pure.

`begin`, any number of `add`, `end`: what they return, one after the other, is the file. The same rows in the same
pieces give the same bytes.
"""

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from batchjob.api.blocks.export import Column, ColumnFormat, Compression, Export, ExportFormat
from batchjob_processors.tables import FORMULA_STARTS, as_json, cell, escaped, header

Row = Sequence[Any]  # a value for each column

BYTE_ORDER_MARK: Final = "\ufeff"
ENDINGS: Final = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
_GZIP: Final = 16 + zlib.MAX_WBITS  # with gzip's header, in which zlib writes no time
_QUOTED: Final = re.compile('[",\r\n]')  # what RFC 4180 wants quotes for
_FIELD: Final = rb'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'  # of a line of CSV
_LEVEL: Final = 6  # of gzip: more costs twice the time for a percent


class Encoder(ABC):
    """One file."""

    @abstractmethod
    def begin(self) -> bytes:
        """What comes before the rows."""

    @abstractmethod
    def add(self, rows: Sequence[Row]) -> bytes:
        """Some rows more; what is ready of the file."""

    def end(self) -> Iterable[bytes]:
        """What comes after them, in pieces."""
        return ()

    def filled(self, rows: Sequence[Row], places: set[int]) -> set[int]:
        """Which of these columns, from 0, have a value in one of the rows."""
        return {place for place in places if any(row[place] is not None for row in rows)}


class CsvEncoder(Encoder):
    """CSV by RFC 4180, UTF-8, with a header row; text that a spreadsheet would run gets an apostrophe.

    The same bytes as the csv module's, which takes rows, and looks at each character of numbers and dates too. By
    columns it costs less: most of a table is of kinds that need no quotes.
    """

    def __init__(self, columns: Sequence[Column], kinds: Sequence[str] = (), *, escape: bool, bom: bool) -> None:
        self._headers = [header(column) for column in columns]
        found = [column.format or kind for column, kind in zip(columns, kinds or [""] * len(columns), strict=True)]
        self._is_plain = [kind not in {"", ColumnFormat.TEXT} for kind in found]
        self._guard = escaped if escape else str
        self._guarded = frozenset(FORMULA_STARTS if escape else ())
        self._mark = BYTE_ORDER_MARK if bom else ""

    def begin(self) -> bytes:
        """The header row."""
        return (self._mark + self._lines([self._texts([name]) for name in self._headers])).encode()

    def add(self, rows: Sequence[Row]) -> bytes:
        """A line each."""
        columns = zip(zip(*rows, strict=True), self._is_plain, strict=True) if rows else ()
        return self._lines([_cells(column) if plain else self._texts(column) for column, plain in columns]).encode()

    def _texts(self, column: Sequence[Any]) -> list[str]:
        """Cells that may need an apostrophe or quotes."""
        guarded, needs_quotes = self._guarded, _QUOTED.search
        return [self._dressed(c) if c[:1] in guarded or needs_quotes(c) else c for c in _cells(column)]

    def _dressed(self, text: str) -> str:
        text = self._guard(text)
        return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text

    def _lines(self, columns: Sequence[Sequence[str]]) -> str:
        if len(columns) == 1:  # an empty line would be no row
            columns = [[content or '""' for content in columns[0]]]
        lines = "\r\n".join(map(",".join, zip(*columns, strict=True)))
        return f"{lines}\r\n" if columns else ""


def _cells(column: Sequence[Any]) -> Sequence[str]:
    if set(map(type, column)) == {str}:  # most columns of a query are
        return column
    return [content if type(content) is str else cell(content) for content in column]


class LinesEncoder(CsvEncoder):
    """CSV whose lines somebody else wrote by the same rules: rows are bytes."""

    def add(self, rows: Sequence[Any]) -> bytes:
        """The lines."""
        return b"".join(rows)

    def filled(self, rows: Sequence[Any], places: set[int]) -> set[int]:
        """See Encoder; an empty cell is none."""
        found = set[int]()
        if places:
            fields = [b"" if place in places else _FIELD for place in range(len(self._headers))]
            has_none = re.compile(b",".join(fields) + b"\r\n").fullmatch
            for row in rows:
                if not has_none(row):
                    cells = [field[0] for field in re.finditer(_FIELD + b"(?:,|\r\n)", row)]
                    found |= {place for place in places if len(cells[place].rstrip(b",\r\n"))}
        return found


class JsonLinesEncoder(Encoder):
    """One JSON object a line, with the columns' headers as names."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._headers = [header(column) for column in columns]

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def add(self, rows: Sequence[Row]) -> bytes:
        """A line each."""
        return "".join(as_json(dict(zip(self._headers, row, strict=True))) + "\n" for row in rows).encode()


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Packed(Encoder):
    """The file of an encoder for text, compressed.

    `apart`: what is before the rows is packed by itself, so that it can be cut off. A file that is packed in pieces
    unpacks as one.
    """

    def __init__(self, inner: Encoder, compression: Compression, *, apart: bool) -> None:
        self._inner = inner
        self._packer = _packer(compression)
        self._first = _packer(compression) if apart else None

    def begin(self) -> bytes:
        """See Encoder."""
        begun = self._inner.begin()
        if self._first and begun:
            return self._first.compress(begun) + self._first.flush()
        return self._packer.compress(begun)

    def add(self, rows: Sequence[Row]) -> bytes:
        """See Encoder."""
        return self._packer.compress(self._inner.add(rows))

    def filled(self, rows: Sequence[Row], places: set[int]) -> set[int]:
        """See Encoder."""
        return self._inner.filled(rows, places)

    def end(self) -> Iterable[bytes]:
        """See Encoder."""
        yield self._packer.flush()


def _packer(compression: Compression) -> _Packer:
    if compression is Compression.GZIP:
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    from backports import zstd  # noqa: PLC0415 - half a megabyte that few specs need

    return zstd.ZstdCompressor()


def build_encoder(
    block: Export, columns: Sequence[Column], kinds: Sequence[str] = (), *, of_lines: bool = False
) -> Encoder:
    """The encoder that the block asks for. `kinds`: those of a query's columns, where a column has no format.

    `of_lines`: what comes are no rows, but lines of CSV.
    """
    match block.format:
        case ExportFormat.PARQUET:
            from batchjob_processors.parquet import ParquetEncoder  # noqa: PLC0415 - its library may not be there

            return ParquetEncoder(columns, kinds)
        case ExportFormat.XLSX:
            from batchjob_processors.workbook import WorkbookEncoder  # noqa: PLC0415 - for those alone that need it

            return WorkbookEncoder(columns)
        case ExportFormat.CSV:
            kind = LinesEncoder if of_lines else CsvEncoder
            inner: Encoder = kind(columns, kinds, escape=block.escape_formulas, bom=block.bom)
        case ExportFormat.JSONL:
            inner = JsonLinesEncoder(columns)
    if block.compression is Compression.NONE:
        return inner
    return Packed(inner, block.compression, apart=block.single_file)


def header_bytes(block: Export, columns: Sequence[Column]) -> int:
    """How long what comes before the rows is, of text."""
    return len(build_encoder(block, columns).begin())


def ending(block: Export) -> str:
    """What the names of its files end with."""
    return f".{block.format}{ENDINGS[block.compression]}"


def encode(encoder: Encoder, rows: Sequence[Row]) -> bytes:
    """A whole file."""
    return b"".join([encoder.begin(), encoder.add(rows), *encoder.end()])
