"""Parquet, in row groups, packed by zstd. Its library takes 177 MB: imported where a spec asks for it.

What is ready of a file is taken out of the writer at once, so a file may be larger than the memory.
"""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from batchjob.api.blocks.export import Column, ColumnFormat
from batchjob_processors.encoders import Encoder, Row
from batchjob_processors.tables import cell, header

GROUP_ROWS: Final = 65_536  # of a row group, at most: readers skip and share work by groups
GROUP_BYTES: Final = 8 * 1024 * 1024  # of its values in memory, about

_TYPES: Final = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "timestamp": pa.timestamp("us"),
}
_DECIMAL: Final = re.compile(r"decimal\((\d+), (\d+)\)")


class Sink(io.RawIOBase):
    """What was written and not taken yet, of a file that only grows."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = bytearray()
        self._size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep it."""
        size = memoryview(data).nbytes
        self._ready += data
        self._size += size
        return size

    def tell(self) -> int:
        """Where the next write goes in the whole file."""
        return self._size

    def take(self) -> bytes:
        """What is ready."""
        ready = bytes(self._ready)
        self._ready.clear()
        return ready


class ParquetEncoder(Encoder):
    """A file of Parquet with these columns, each of which has a format."""

    def __init__(self, columns: Sequence[Column], kinds: Sequence[str] = ()) -> None:
        """`kinds`: of the columns without a format, where a query says them; they may be wider than formats."""
        types = [
            _type(column.format or kind or ColumnFormat.TEXT)
            for column, kind in zip(columns, kinds or [""] * len(columns), strict=True)
        ]
        self._schema = pa.schema([pa.field(header(column), kind) for column, kind in zip(columns, types, strict=True)])
        self._sink = Sink()
        # Without dictionaries, which take 20 MiB while a file grows: zstd finds by itself what repeats.
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd", use_dictionary=False)
        self._batches: list[Any] = []

    def begin(self) -> bytes:
        """The magic number."""
        return self._sink.take()

    def add(self, rows: Sequence[Row]) -> bytes:
        """The row groups that are full now."""
        if rows:
            columns = zip(zip(*rows, strict=True), self._schema.types, strict=True)
            values = [_array(column, kind) for column, kind in columns]
            self._batches.append(pa.record_batch(values, schema=self._schema))
        if sum(batch.num_rows for batch in self._batches) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write_group()
        return self._sink.take()

    def end(self) -> Iterable[bytes]:
        """The last row group, and the footer."""
        if self._batches:
            self._write_group()
        self._writer.close()
        yield self._sink.take()

    @property
    def _bytes(self) -> int:
        return sum(batch.nbytes for batch in self._batches)

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._batches, self._schema), row_group_size=GROUP_ROWS)
        self._batches.clear()


def _type(kind: str) -> Any:
    found = _DECIMAL.fullmatch(kind)
    return pa.decimal128(int(found[1]), int(found[2])) if found else _TYPES[kind]


def _array(values: Sequence[Any], kind: Any) -> Any:
    """The values of a column. ValueError for one that the type has not, such as a decimal that is no number."""
    if pa.types.is_string(kind):
        values = [content if content is None else cell(content) for content in values]
    elif pa.types.is_floating(kind):
        values = [content if content is None else float(content) for content in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(f"a value is no {kind}: {error}. Read that column as text (::text)") from None
