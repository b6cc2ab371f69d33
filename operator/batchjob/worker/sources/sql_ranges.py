"""Ranges of a query's key, an item each: their rows are read by whoever does the item, and never go through the store.

The database counts once, in the order of the key, where each range begins. The first range has no lower end and the
last one no upper, so that no row is left out because it came later; rows whose key is null are a range of their own.
Each range is read in a transaction of its own: rows that change meanwhile are as they are when their range is read.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import psycopg
from psycopg import sql
from psycopg.types import string

from batchjob.api.source import Sql
from batchjob.errors import InvalidSource
from batchjob.worker.sources.postgres import Cursor, columns_of, in_time, open_cursor, prefer_text, translated
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source
from batchjob.worker.sources.sql_lines import copy_lines, csv_columns

Values = Literal["json", "python", "text", "csv", "csv-escaped"]
FIRST_ROWS: Final = 50  # fetched at once, until it is known how large they are: each may have a megabyte
MOST_ROWS: Final = 5000
FETCH_BYTES: Final = 1024 * 1024  # fetched at once, about, as Python has it
OBJECT_BYTES: Final = 56  # of a value, besides its text
_SAMPLE: Final = 8  # each so many rows one is measured
_DECIMAL_DIGITS: Final = 38  # of the widest decimal that files have
_KINDS: Final = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "integer"),
    **dict.fromkeys(("float4", "float8"), "number"),
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "datetime",
}


class Rows(NamedTuple):
    """The rows of a range: the names of their columns, what kind each is, and the rows, some at a time.

    Kinds: integer, number, boolean, date, timestamp, datetime (with a zone), decimal(precision, scale), or text. A row
    is a tuple of values, or where `are_lines` a line of CSV, as bytes with its end.
    """

    names: list[str]
    kinds: list[str]
    batches: AsyncIterator[list[Any]]
    are_lines: bool = False


class RangeSource(Source):
    """`spec.source.sql` with partitionBy."""

    def __init__(self, place: Sql, rows: int, credentials: Path) -> None:
        """`rows`: of a range; `credentials`: the folder where the Secret is mounted."""
        super().__init__()
        self._place = place
        self._rows = rows
        self._credentials = credentials

    async def records(self) -> AsyncIterator[list[Record]]:
        """The ranges in the order of the key."""
        number, begin = 0, None
        with translated():
            async for end in self._texts(_boundaries(self._place, self._rows)):
                if end != begin:
                    if number:
                        yield [self._record(number, _bounds(begin if number > 1 else None, end))]
                    number, begin = number + 1, end
            if number:
                yield [self._record(number, _bounds(begin if number > 1 else None, None))]
            async for _ in self._texts(_nulls(self._place)):
                yield [self._record(number + 1, {"isNull": True})]

    async def _texts(self, query: bytes) -> AsyncIterator[str]:
        async with open_cursor(self._place, self._credentials, query, prefer_text) as cursor:
            while rows := await in_time(cursor.fetchmany(MOST_ROWS)):
                for (text,) in rows:
                    yield text

    def _record(self, number: int, bounds: dict[str, Any]) -> Record:
        body = msgspec.json.encode(bounds)
        self._digest.update(body)
        return Record(f"range-{number}", {"range": bounds}, len(body))


def _bounds(begin: str | None, end: str | None) -> dict[str, Any]:
    return {name: text for name, text in (("from", begin), ("to", end)) if text is not None}


@asynccontextmanager
async def read_range(
    place: Sql, credentials: Path, bounds: dict[str, Any], columns: Sequence[str] | None, values: Values
) -> AsyncIterator[Rows]:
    """The rows of a range, with these columns of the query or all. Raises InvalidSource and SourceUnreachable.

    `values`: those that JSON has as such, all others as the text that PostgreSQL writes ("json"); decimals, dates and
    times as Python has them too ("python"); all but booleans as text ("text"), which costs less; or lines of CSV
    ("csv"; "csv-escaped", where formulas have an apostrophe), which cost least. There are texts in place of lines where
    a query has one column, whose empty line would be none, or arrays, which become JSON.
    """
    with translated():
        query = _rows_of(place, bounds, [sql.SQL("q.") + sql.Identifier(name) for name in columns or ()])
        async with open_cursor(place, credentials, query, _ADAPT.get(values, _as_text)) as cursor:
            names = columns_of(cursor)
            kinds = [_kind(column, cursor) for column in cursor.description or ()]
            are_lines = values not in _ADAPT and len(names) > 1 and not _has_lists(cursor)
            if are_lines:
                chosen = csv_columns(names, kinds, escape=values == "csv-escaped")
                found = copy_lines(cursor, _rows_of(place, bounds, chosen))
            else:
                found = _batches(cursor)
            async with aclosing(found) as batches:
                yield Rows(names, kinds, batches, are_lines)


async def _batches(cursor: Cursor) -> AsyncGenerator[list[Any], None]:
    """The database makes the next rows while somebody uses these."""
    many, rows = FIRST_ROWS, await in_time(cursor.fetchmany(FIRST_ROWS))
    while rows:
        sample = rows[::_SAMPLE]
        size = sum(len(value) for row in sample for value in row if isinstance(value, str | bytes)) / len(sample)
        many = max(1, min(MOST_ROWS, many * 4, int(FETCH_BYTES / (size + OBJECT_BYTES * len(sample[0]) + 1))))
        following = asyncio.create_task(in_time(cursor.fetchmany(many)))
        try:
            yield rows
        except GeneratorExit:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            raise
        rows = await following


def _as_text(adapters: psycopg.adapt.AdaptersMap) -> None:
    for info in adapters.types:
        if info.name != "bool":
            adapters.register_loader(info.oid, string.TextLoader)


def _as_python(adapters: psycopg.adapt.AdaptersMap) -> None:
    kept = {*_KINDS, "numeric"}
    for info in adapters.types:
        if info.name not in kept:
            adapters.register_loader(info.oid, string.TextLoader)


_ADAPT: Final[dict[Values, Callable[[psycopg.adapt.AdaptersMap], None]]] = {
    "json": prefer_text,
    "python": _as_python,
    "text": _as_text,
}


def _kind(column: Any, cursor: Cursor) -> str:
    info = cursor.adapters.types.get(column.type_code)
    name = info.name if info and column.type_code == info.oid else "text"
    if name == "numeric" and column.precision and column.precision <= _DECIMAL_DIGITS and (column.scale or 0) >= 0:
        return f"decimal({column.precision}, {column.scale or 0})"
    return _KINDS.get(name, "text")


def _has_lists(cursor: Cursor) -> bool:
    """Whether a column is an array, of which psycopg makes a list."""
    types = [(column.type_code, cursor.adapters.types.get(column.type_code)) for column in cursor.description or ()]
    return any(info is not None and oid == info.array_oid for oid, info in types)


def _table(place: Sql) -> sql.Composable:
    """The query as a table. A comment at its end ends with the line."""
    return sql.SQL("(") + _raw(place.query.rstrip().rstrip(";")) + sql.SQL("\n) AS q")


def _raw(text: str) -> sql.Composable:
    return sql.SQL(text)  # the user's own query, in a read-only transaction of the user's own


def _key(place: Sql) -> sql.Composable:
    if place.partition_by is None:
        raise InvalidSource("partitionBy is missing")
    return sql.SQL("q.") + sql.Identifier(place.partition_by)


def _boundaries(place: Sql, rows: int) -> bytes:
    key, table = _key(place), _table(place)
    numbered = sql.SQL("SELECT {} AS k, row_number() OVER (ORDER BY {}) - 1 AS n FROM {} WHERE {} IS NOT NULL")
    every = sql.SQL("SELECT k::text FROM ({}) AS numbered WHERE n % {} = 0 ORDER BY n")
    return every.format(numbered.format(key, key, table, key), sql.Literal(rows)).as_bytes()


def _nulls(place: Sql) -> bytes:
    found = sql.SQL("SELECT 'null' FROM {} WHERE {} IS NULL LIMIT 1").format(_table(place), _key(place))
    return found.as_bytes()


def _rows_of(place: Sql, bounds: dict[str, Any], chosen: Sequence[sql.Composable]) -> bytes:
    key = _key(place)
    limits = [
        *([key + sql.SQL(" IS NULL")] if bounds.get("isNull") else [key + sql.SQL(" IS NOT NULL")]),
        *([key + sql.SQL(" >= ") + sql.Literal(bounds["from"])] if "from" in bounds else []),
        *([key + sql.SQL(" < ") + sql.Literal(bounds["to"])] if "to" in bounds else []),
    ]
    query, wanted = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}"), sql.SQL(", ").join(chosen or [sql.SQL("q.*")])
    return query.format(wanted, _table(place), sql.SQL(" AND ").join(limits), key).as_bytes()
