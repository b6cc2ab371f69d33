"""A query of PostgreSQL: one read-only transaction, one server-side cursor, and what its errors mean.

This module costs 25 MB, so it is imported by the pods that read a database alone.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import conninfo
from psycopg.types import string

from batchjob.api.source import Sql
from batchjob.errors import ConfigurationError, InvalidSource, SourceUnreachable
from batchjob.worker.addresses import check_host
from batchjob.worker.sources.limits import SILENCE_SECONDS, STATEMENT_SECONDS
from batchjob.worker.unreached import brief, explain_unreached

CONNECT_SECONDS: Final = 30
_LATE_SECONDS: Final = 10.0  # after its time limit a server that is still there has said so
# Types whose values JSON has; all others come as text. `json` may hold numbers that are none of ours, so we decode it.
_JSON_TYPES: Final = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8"})
_DOCUMENTS: Final = ("json", "jsonb")

# Classes of SQLSTATE (PostgreSQL, appendix A) that blame the query: another try would be refused the same way.
_WRONG_QUERY: Final = ("0A", "22", "25", "2F", "3F", "42")
_TIMED_OUT: Final = "57014"
# What the server says at the door before it has an SQLSTATE for us; refusals, but for those that pass.
_REFUSED: Final = re.compile(r"FATAL:\s+(.+)")
_PASSING: Final = re.compile(r"starting up|shutting down|recovery mode|too many|remaining connection slots")

Cursor = psycopg.AsyncServerCursor[tuple[Any, ...]]
T = TypeVar("T")


@asynccontextmanager
async def open_cursor(
    place: Sql, credentials: Path, query: bytes, adapt: Callable[[psycopg.adapt.AdaptersMap], None]
) -> AsyncIterator[Cursor]:
    """A cursor on the query, whose values come as `adapt` says; `credentials`: the folder where the Secret is mounted.

    To be used within `translated`.
    """
    async with await psycopg.AsyncConnection.connect(**await _access(place, credentials)) as connection:
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
    except InvalidSource as error:
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


async def _access(place: Sql, credentials: Path) -> dict[str, Any]:
    """The parameters of the connection. Its hosts are looked at as those of mail servers are."""
    reference = place.dsn_secret_ref
    where = f"dsnSecretRef: key {reference.key} of Secret {reference.name}"
    try:
        found = conninfo.conninfo_to_dict((credentials / reference.key).read_text().strip())
    except (psycopg.Error, OSError, UnicodeDecodeError):  # whose words may hold the password
        form = "postgresql://user:password@host:5432/database"
        raise InvalidSource(f"{where} is no connection string of PostgreSQL: write {form}") from None
    hosts = [host for name in ("host", "hostaddr") for host in str(found.get(name) or "").split(",") if host]
    if not hosts or any(host.startswith(("/", "@")) for host in hosts):
        raise InvalidSource(f"{where} names no host")
    for host in hosts:
        try:
            await check_host(host, where)
        except ConfigurationError as error:
            raise InvalidSource(str(error)) from None
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": int(SILENCE_SECONDS * 1000)}
    return {**found, **limits, "client_encoding": "utf8", "application_name": "batchjob"}


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
    said = brief(error.diag.message_primary or str(error))
    state = error.sqlstate or ""
    if state == _TIMED_OUT:
        why = f"took longer than {STATEMENT_SECONDS} s to answer"
        return SourceUnreachable(f"spec.source.sql.query: {why}")
    if state.startswith(_WRONG_QUERY):
        return InvalidSource(f"spec.source.sql.query: {said} (SQLSTATE {state})")
    if isinstance(error, psycopg.DataError):  # a value that Python has not, such as a date beyond the year 9999
        return InvalidSource(f"spec.source.sql.query: {said}: read that column as text (::text)")
    if found := _REFUSED.search(str(error)):
        why = f"spec.source.sql.dsnSecretRef: the database refused: {found[1]}"
        return SourceUnreachable(why, lasts=not _PASSING.search(found[1]))
    why, lasts = explain_unreached(str(error))
    return SourceUnreachable(f"spec.source.sql.dsnSecretRef: the database cannot be reached: {why}", lasts=lasts)
