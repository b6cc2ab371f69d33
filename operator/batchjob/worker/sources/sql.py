"""Rows of a PostgreSQL query, through a server-side cursor in a read-only transaction: memory stays constant.

JSON has no decimals, dates, uuids and the like; they arrive as the text that PostgreSQL writes for them, which is what
psql shows. This module costs 25 MB, so it is imported by the pods that read such a source alone.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg.types import string

from batchjob.api.source import OnBadItem, Sql
from batchjob.errors import BadItem, ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.worker.postgres import connection_parameters, explain
from batchjob.worker.sources.limits import (
    RECORD_BYTES,
    STATEMENT_SECONDS,
    check_cost,
)
from batchjob.worker.sources.records import Ids, Record, decode_object, record_id
from batchjob.worker.sources.source import Source

FETCH_ROWS: Final = 50  # at once: each may have 1 MiB
_LATE_SECONDS: Final = 10.0  # after its time limit a server that is still there has said so
# Types whose values JSON has; all others come as text. `json` may hold numbers that are none of ours, so we decode it.
_JSON_TYPES: Final = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8"})
_DOCUMENTS: Final = ("json", "jsonb")

T = TypeVar("T")


class SqlSource(Source):
    """`spec.source.sql`."""

    def __init__(self, place: Sql, id_field: str, credentials: Path, on_bad_item: OnBadItem = OnBadItem.FAIL) -> None:
        """`credentials`: the folder where the Secret is mounted."""
        super().__init__(on_bad_item)
        self._place = place
        self._id_field = id_field
        self._credentials = credentials
        self._ids = Ids("row")

    async def records(self) -> AsyncIterator[list[Record]]:
        """The rows in the order of the query."""
        row, good, size, began = 0, 0, 0, time.monotonic()
        try:
            async with self._cursor() as cursor:
                names = self._columns(cursor)
                while rows := await _in_time(cursor.fetchmany(FETCH_ROWS)):
                    check_cost("the query", size, time.monotonic() - began)
                    records = []
                    for values in rows:
                        row += 1
                        try:
                            records.append(self._record(dict(zip(names, values, strict=True)), row))
                        except BadItem as error:
                            self.bad.add(error)
                    size += sum(record.size for record in records)
                    good += len(records)
                    yield records
                self.bad.check(good)
        except (InvalidSource, ConfigurationError) as error:
            raise InvalidSource(f"spec.source.sql: {error}") from None
        except SourceUnreachable as error:
            raise SourceUnreachable(f"spec.source.sql: {error}", lasts=error.lasts) from None
        except psycopg.Error as error:
            raise _translated(error) from None
        except UnicodeDecodeError:
            raise InvalidSource("spec.source.sql.query: a text is not UTF-8") from None

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[psycopg.AsyncServerCursor[tuple[Any, ...]]]:
        """A cursor on the query."""
        access = await connection_parameters(self._place.dsn_secret_ref, self._credentials)
        async with await psycopg.AsyncConnection.connect(**access) as connection:
            await connection.set_read_only(True)
            _prefer_text(connection.adapters)
            await connection.execute(b"SET LOCAL statement_timeout = %d" % (STATEMENT_SECONDS * 1000))
            async with connection.cursor(name="batchjob") as cursor:
                # Without parameters, so that a % is a %; as bytes, since psycopg takes a str only from the source code.
                await _in_time(cursor.execute(self._place.query.encode()))
                yield cursor

    def _columns(self, cursor: psycopg.AsyncServerCursor[tuple[Any, ...]]) -> list[str]:
        names = [column.name for column in cursor.description or ()]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise InvalidSource(f"the query names the column {repeated!r} twice: rename one by AS")
        if self._id_field not in names:
            has = ", ".join(names[:10])
            raise InvalidSource(
                f"the query has no column {self._id_field!r}, which names the item (spec.source.idField); it has: {has}"
            )
        return names

    def _record(self, data: dict[str, Any], row: int) -> Record:
        where = f"row {row}"
        try:
            body = msgspec.json.encode({name: _plain(value) for name, value in data.items()})
        except RecursionError:
            raise BadItem(f"{where}: nested too deeply") from None
        if len(body) > RECORD_BYTES:
            raise BadItem(f"{where}: longer than {RECORD_BYTES} bytes, the most a record may have")
        plain = decode_object(body, where)
        item_id = record_id(plain, self._id_field, where)
        self._ids.add(item_id, row)
        self._digest.update(body)
        return Record(item_id, plain, len(body))


async def _in_time(call: Awaitable[T]) -> T:
    """The answer of a call that the server should have ended by itself: one that is gone says nothing."""
    try:
        async with asyncio.timeout(STATEMENT_SECONDS + _LATE_SECONDS):
            return await call
    except TimeoutError:
        raise SourceUnreachable("the database does not answer any more") from None


class _Document(psycopg.adapt.Loader):
    """json and jsonb, as values; as text where they hold what is no JSON of ours, such as 1e999."""

    def load(self, data: Any) -> Any:
        """Decode it."""
        try:
            return msgspec.json.decode(bytes(data))
        except (msgspec.DecodeError, RecursionError):
            return bytes(data).decode()


def _prefer_text(adapters: psycopg.adapt.AdaptersMap) -> None:
    for info in adapters.types:
        if info.name in _DOCUMENTS:
            adapters.register_loader(info.oid, _Document)
        elif info.name not in _JSON_TYPES:
            adapters.register_loader(info.oid, string.TextLoader)


def _plain(value: Any) -> Any:
    """A value as JSON has it: NaN and the infinities are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _translated(error: psycopg.Error) -> InvalidSource | SourceUnreachable:
    """What the database's error means."""
    found = explain(error, "spec.source.sql", "spec.source.sql.query", STATEMENT_SECONDS)
    return InvalidSource(found.message) if found.is_wrong else SourceUnreachable(found.message, lasts=found.lasts)
