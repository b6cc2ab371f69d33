"""Rows as the bytes of a file, piece by piece, so that a file may be larger than the memory. Pure.

`begin`, any number of `add`, `end`: what they return, one after the other, is the file. The same rows in the same
pieces give the same bytes.
"""

import csv
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from batchjob.api.blocks.export import Column, Compression, Export, ExportFormat
from batchjob_processors.tables import as_json, cell, escaped, header

Row = Sequence[Any]  # a value for each column

BYTE_ORDER_MARK: Final = "\ufeff"
ENDINGS: Final = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
_GZIP: Final = 16 + zlib.MAX_WBITS  # with gzip's header, in which zlib writes no time
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


class CsvEncoder(Encoder):
    """CSV by RFC 4180, UTF-8, with a header row; text that a spreadsheet would run gets an apostrophe."""

    def __init__(self, columns: Sequence[Column], *, escape: bool, bom: bool) -> None:
        self._headers = [header(column) for column in columns]
        self._guard = escaped if escape else str
        self._mark = BYTE_ORDER_MARK if bom else ""

    def begin(self) -> bytes:
        """The header row."""
        return self._mark.encode() + self.add([self._headers])

    def add(self, rows: Sequence[Row]) -> bytes:
        """A line each."""
        file = io.StringIO(newline="")
        guard = self._guard
        csv.writer(file).writerows([guard(cell(content)) for content in row] for row in rows)
        return file.getvalue().encode()


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
    """The file of an encoder for text, compressed."""

    def __init__(self, inner: Encoder, compression: Compression) -> None:
        self._inner = inner
        self._packer = _packer(compression)

    def begin(self) -> bytes:
        """See Encoder."""
        return self._packer.compress(self._inner.begin())

    def add(self, rows: Sequence[Row]) -> bytes:
        """See Encoder."""
        return self._packer.compress(self._inner.add(rows))

    def end(self) -> Iterable[bytes]:
        """See Encoder."""
        yield self._packer.flush()


def _packer(compression: Compression) -> _Packer:
    if compression is Compression.GZIP:
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    from backports import zstd  # noqa: PLC0415 - half a megabyte that few specs need

    return zstd.ZstdCompressor()


def build_encoder(block: Export, columns: Sequence[Column], kinds: Sequence[str] = ()) -> Encoder:
    """The encoder that the block asks for. `kinds`: those of a query's columns, where a column has no format."""
    match block.format:
        case ExportFormat.PARQUET:
            from batchjob_processors.parquet import ParquetEncoder  # noqa: PLC0415 - its library may not be there

            return ParquetEncoder(columns, kinds)
        case ExportFormat.XLSX:
            from batchjob_processors.workbook import WorkbookEncoder  # noqa: PLC0415 - for those alone that need it

            return WorkbookEncoder(columns)
        case ExportFormat.CSV:
            inner: Encoder = CsvEncoder(columns, escape=block.escape_formulas, bom=block.bom)
        case ExportFormat.JSONL:
            inner = JsonLinesEncoder(columns)
    return inner if block.compression is Compression.NONE else Packed(inner, block.compression)


def ending(block: Export) -> str:
    """What the names of its files end with."""
    return f".{block.format}{ENDINGS[block.compression]}"


def encode(encoder: Encoder, rows: Sequence[Row]) -> bytes:
    """A whole file."""
    return b"".join([encoder.begin(), encoder.add(rows), *encoder.end()])
