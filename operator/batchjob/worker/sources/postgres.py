"""A query of PostgreSQL: one read-only transaction, one server-side cursor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg.types import string

from batchjob.api.blocks.report import ReportQuery
from batchjob.api.source import Sql
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.files.unreached import brief
from batchjob.worker.postgres import connection_parameters, explain
from batchjob.worker.sources.limits import STATEMENT_SECONDS

_LATE_SECONDS: Final = 10.0  # after its time limit a server that is still there has said so
# Types whose values JSON has; all others come as text. `json` may hold numbers that are none of ours, so we decode it.
_JSON_TYPES: Final = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8"})
_NUMERIC: Final = psycopg.adapters.types["numeric"].oid
_DOCUMENTS: Final = ("json", "jsonb")

Cursor = psycopg.AsyncServerCursor[tuple[Any, ...]]
T = TypeVar("T")


@asynccontextmanager
async def open_cursor(
    place: Sql | ReportQuery, credentials: Path, query: bytes, adapt: Callable[[psycopg.adapt.AdaptersMap], None]
) -> AsyncIterator[Cursor]:
    """A cursor on the query, whose values come as `adapt` says; `credentials`: the folder where the Secret is mounted.

    To be used within `translated`.
    """
    access = await connection_parameters(place.dsn_secret_ref, credentials)
    async with await psycopg.AsyncConnection.connect(**access) as connection:
        await connection.set_read_only(True)
        adapt(connection.adapters)
        await connection.execute(b"SET LOCAL statement_timeout = %d" % (STATEMENT_SECONDS * 1000))
        async with connection.cursor(name="batchjob") as cursor:
            # Without parameters, so that a % is a %; as bytes, since psycopg takes a str only from the source code.
            await in_time(cursor.execute(query))
            yield cursor


@contextmanager
def translated() -> Iterator[None]:
    """Raises InvalidSource or SourceUnreachable for what the database says; names the field."""
    try:
        yield
    except (InvalidSource, ConfigurationError) as error:
        raise InvalidSource(f"spec.source.sql: {error}") from None
    except SourceUnreachable as error:
        raise SourceUnreachable(f"spec.source.sql: {error}", lasts=error.lasts) from None
    except psycopg.Error as error:
        raise _translated(error) from None
    except UnicodeDecodeError:
        raise InvalidSource("spec.source.sql.query: a text is not UTF-8") from None


async def in_time(call: Awaitable[T]) -> T:
    """The answer of a call that the server should have ended by itself: one that is gone says nothing."""
    try:
        async with asyncio.timeout(STATEMENT_SECONDS + _LATE_SECONDS):
            return await call
    except TimeoutError:
        raise SourceUnreachable("the database does not answer any more") from None


def columns_of(cursor: Cursor) -> list[str]:
    """The names of the query's columns. InvalidSource where two have one."""
    names = [column.name for column in cursor.description or ()]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidSource(f"the query names the column {repeated!r} twice: rename one by AS")
    return names


def numeric_columns(cursor: Cursor) -> list[int]:
    """Which columns, from 0, are of type numeric: their digits are more than a double has."""
    return [place for place, column in enumerate(cursor.description or ()) if column.type_code == _NUMERIC]


class _Document(psycopg.adapt.Loader):
    """json and jsonb, as values; as text where they hold what is no JSON of ours, such as 1e999."""

    def load(self, data: Any) -> Any:
        """Decode it."""
        try:
            return msgspec.json.decode(bytes(data))
        except (msgspec.DecodeError, RecursionError):
            return bytes(data).decode()


def prefer_text(adapters: psycopg.adapt.AdaptersMap) -> None:
    """Values as JSON has them: all other types as the text that PostgreSQL writes."""
    for info in adapters.types:
        if info.name in _DOCUMENTS:
            adapters.register_loader(info.oid, _Document)
        elif info.name not in _JSON_TYPES:
            adapters.register_loader(info.oid, string.TextLoader)


def _translated(error: psycopg.Error) -> InvalidSource | SourceUnreachable:
    """What the database's error means."""
    if isinstance(error, psycopg.DataError) and not error.sqlstate:  # of our own: Python has no year beyond 9999, say
        return InvalidSource(f"spec.source.sql.query: {brief(str(error))}: read that column as text (::text)")
    found = explain(error, "spec.source.sql", "spec.source.sql.query", STATEMENT_SECONDS)
    return InvalidSource(found.message) if found.is_wrong else SourceUnreachable(found.message, lasts=found.lasts)
