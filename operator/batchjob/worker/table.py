"""Results as rows of a PostgreSQL table: one an item, in the place of the one with the same id.

PostgreSQL makes the values of its columns from JSON itself (`jsonb_populate_recordset`), one statement a batch. A batch
that is written twice leaves the same rows, so a worker that was lost in between costs nothing.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from batchjob.api.results import Table as Place
from batchjob.errors import ConfigurationError, ResultsError
from batchjob.store import ItemResult
from batchjob.worker.manifest import as_row
from batchjob.worker.postgres import connection_parameters, explain

FIELD: Final = "spec.results.table"
WHOLE: Final = "result"  # the column that takes all fields
DOCUMENTS: Final = frozenset({"json", "jsonb"})
STATEMENT_SECONDS: Final = 60.0
GONE_SECONDS: Final = 300.0  # for all that a batch needs: the server ends each statement by itself, if it is there
NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # and not the text of a backslash and u0000
SHOWN: Final = 5  # names told at once

COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
UNIQUE: Final = """
SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = to_regclass(%s) AND indisunique AND indnkeyatts = 1 AND indpred IS NULL AND attname = 'id'
"""


class Table:
    """A table that takes results. Errors: ResultsError; they name the field and no secret."""

    def __init__(self, place: Place, mounted: Path) -> None:
        """`mounted`: the folder of the Secret. Nothing is connected yet."""
        self._place = place
        self._mounted = mounted
        self._name = sql.Identifier(*place.name.split("."))
        self._columns: dict[str, str] | None = None  # name → type

    async def check(self) -> None:
        """See whether it can take results."""
        async with self._connection() as connection:
            await self._read_columns(connection)

    async def write(self, results: Sequence[ItemResult]) -> None:
        """Put a batch into it."""
        if not results:
            return
        async with self._connection() as connection:
            columns = self._columns or await self._read_columns(connection)
            # In a thread: it may take 100 ms, in which the items of this worker would stand still.
            names, body = await asyncio.to_thread(_rows, results, columns)
            await connection.execute(self._upsert(names), [body])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A new one: minutes may lie between two parts."""
        try:
            access = await connection_parameters(self._place.dsn_secret_ref, self._mounted)
        except ConfigurationError as error:
            raise ResultsError(f"{FIELD}.{error}", lasts=True) from None
        try:
            async with (
                asyncio.timeout(GONE_SECONDS),
                await psycopg.AsyncConnection.connect(**access, autocommit=True) as connection,
            ):
                await connection.execute(b"SET statement_timeout = %d" % (STATEMENT_SECONDS * 1000))
                yield connection
        except TimeoutError:
            raise ResultsError(f"{FIELD}.dsnSecretRef: the database does not answer any more") from None
        except psycopg.Error as error:
            found = explain(error, FIELD, f"{FIELD}: table {self._place.name}", STATEMENT_SECONDS)
            raise ResultsError(found.message, lasts=found.lasts) from None

    async def _read_columns(self, connection: psycopg.AsyncConnection[Any]) -> dict[str, str]:
        name = self._name.as_string(connection)
        columns = dict(await (await connection.execute(COLUMNS, [name])).fetchall())
        if not columns:
            raise ResultsError(f"{FIELD}.name: the database has no table {self._place.name}", lasts=True)
        if "id" not in columns or await (await connection.execute(UNIQUE, [name])).fetchone() is None:
            raise ResultsError(
                f"{FIELD}: table {self._place.name} has no column id with a unique index of its own, by which the row "
                "of an item is found again: add one, such as id text PRIMARY KEY",
                lasts=True,
            )
        self._columns = columns
        return columns

    def _upsert(self, names: Sequence[str]) -> sql.Composed:
        names = [name.replace("%", "%%") for name in names]  # the library would take a % for a parameter
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        others = [sql.Identifier(name) for name in names if name != "id"]
        news = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in others)
        done = sql.SQL("DO UPDATE SET {}").format(news) if others else sql.SQL("DO NOTHING")
        return sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb) "
            "ON CONFLICT (id) {done}"
        ).format(table=self._name, columns=columns, done=done)


def _rows(results: Sequence[ItemResult], columns: dict[str, str]) -> tuple[list[str], str]:
    """The columns that the results fill, and the rows as a JSON array."""
    takes_all = columns.get(WHOLE) in DOCUMENTS
    rows, used, homeless = [], {"id"}, set[str]()
    for found in results:
        if NUL.search(found.result):
            raise ResultsError(
                f"{FIELD}: item {found.id!r}: its result has a NUL, which PostgreSQL keeps in no text", lasts=True
            )
        row = as_row(found)
        used |= row.keys() & columns.keys()
        homeless |= row.keys() - columns.keys()
        rows.append(row | {WHOLE: row} if takes_all else row)
    if takes_all:
        used.add(WHOLE)
    elif homeless:
        names = ", ".join(sorted(homeless)[:SHOWN])
        raise ResultsError(
            f"{FIELD}: the results have fields for which the table has no columns: {names}. Add columns of these names "
            f"(or one named {WHOLE} of type jsonb, which takes all fields)",
            lasts=True,
        )
    return sorted(used), msgspec.json.encode(rows).decode()
