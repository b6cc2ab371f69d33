"""Exports of a query by ranges of its key: the same rows as a direct COPY, whatever happens to the workers."""

import asyncio
import csv
import gzip
import io
import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from batchjob.api.run import Run
from batchjob.core.items import RunState
from tests.prove.processors import exports
from tests.store.test_exports import files, on_claim, work
from tests.store.test_processors import QUICK, S3_KEYS, at, exported
from tests.support import manifests
from tests.support.neighbours.client import Neighbours
from tests.support.postgres_server import PostgresServer
from tests.support.workers import Workers, wait_for

QUERY = "SELECT id, day, amount, note, seen FROM big -- all of it"
ROWS = 5000


@pytest.fixture
def table(postgres: PostgresServer) -> PostgresServer:
    """A table whose ids have gaps, whose days repeat, and some of whose notes are hostile."""
    postgres.execute(
        "DROP TABLE IF EXISTS big",
        "CREATE TABLE big (id bigint PRIMARY KEY, day date, amount numeric(12, 2), note text, seen timestamptz)",
        f"INSERT INTO big SELECT n * n, date '2026-01-01' + n / 700, n / 3.0, "
        "CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN E'two\\nlines, \"quoted\"' WHEN 2 THEN '=1+1' ELSE 'n' || n END, "
        f"timestamptz '2026-02-28 10:00:00.25+02' + n * interval '1 s' FROM generate_series(1, {ROWS}) n",
        "UPDATE big SET day = NULL WHERE id = 49",
    )
    return postgres


def spec(workers: Workers, key: str = "id", **export: Any) -> dict[str, Any]:
    source = {"sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": QUERY, "partitionBy": key}}
    return on_claim(workers, source, export={"rowsPerFile": 700, "escapeFormulas": False, **export}, **QUICK)


def to_bucket(found: dict[str, Any], neighbours: Neighbours) -> dict[str, Any]:
    """The same spec, whose files go to the neighbour."""
    found["export"]["destination"] = manifests.destination("exports")
    return at(neighbours, {"spec": found})


async def opened(workers: Workers, found: dict[str, Any], dsn: str, **options: Any) -> Run:
    run = await workers.open(found, **options)
    workers.reference(run, "source-credentials", dsn=dsn)
    workers.reference(run, "destination-credentials", **S3_KEYS)
    return run


def read_csv(body: bytes) -> list[tuple[str, ...]]:
    _, *rows = csv.reader(io.StringIO(body.decode(), newline=""))
    return [tuple(row) for row in rows]


def copied(postgres: PostgresServer) -> Counter[tuple[str, ...]]:
    """What a direct COPY says."""
    with psycopg.connect(postgres.dsn) as connection, connection.cursor() as cursor:
        command = f"COPY ({QUERY}\n) TO STDOUT (FORMAT csv, HEADER)"
        with cursor.copy(command.encode()) as copy:
            return Counter(read_csv(b"".join(map(bytes, copy))))


@pytest.mark.parametrize(("key", "parts"), [("id", 8), ("day", 9), ("note", 6), ("seen", 8)])
async def test_the_parts_of_a_query_have_the_rows_of_a_direct_copy(
    workers: Workers, table: PostgresServer, key: str, parts: int
) -> None:
    run = await opened(workers, spec(workers, key), table.dsn)
    found = await work(workers, run)
    bodies = files(workers, run)
    assert len(bodies) == parts
    assert Counter(row for body in bodies for row in read_csv(body)) == copied(table)
    assert all(body.startswith(b"id,day,amount,note,seen\r\n") for body in bodies)
    assert (found.usage["rowsExported"], found.counts.succeeded) == (ROWS, found.counts.total)


async def test_parquet_has_the_types_of_the_query(workers: Workers, table: PostgresServer) -> None:
    run = await opened(workers, spec(workers, format="parquet"), table.dsn)
    await work(workers, run)
    first, *others = [pq.ParquetFile(io.BytesIO(body)) for body in files(workers, run)]
    assert [str(kind) for kind in first.schema_arrow.types] == [
        *("int64", "date32[day]", "decimal128(12, 2)", "string", "timestamp[us, tz=UTC]")
    ]
    assert all(other.schema_arrow == first.schema_arrow for other in others)
    row = first.read().to_pylist()[2]
    assert row["seen"] == datetime(2026, 2, 28, 8, 0, 3, 250_000, tzinfo=UTC)
    assert (row["id"], row["day"], row["amount"]) == (9, date(2026, 1, 1), Decimal("1.00"))


async def test_columns_of_a_query_are_chosen_and_read_by_their_format(workers: Workers, table: PostgresServer) -> None:
    columns = [{"name": "amount", "header": "EUR", "format": "number"}, {"name": "seen", "format": "date"}]
    for form in ("jsonl", "parquet"):
        run = await opened(workers, spec(workers, format=form, columns=columns), table.dsn)
        await work(workers, run)
        body = files(workers, run)[0]
        if form == "jsonl":
            assert json.loads(body.splitlines()[0]) == {"EUR": 0.33, "seen": "2026-02-28"}
        else:
            assert pq.read_table(io.BytesIO(body)).to_pylist()[0] == {"EUR": 0.33, "seen": date(2026, 2, 28)}


async def test_rows_never_pass_through_the_store(workers: Workers, table: PostgresServer, redis: Any) -> None:
    run = await opened(workers, spec(workers), table.dsn)
    await work(workers, run)
    kept = [await redis.dump(key) for key in await redis.keys("*")]
    assert not any(body and b"two" in body for body in kept)
    assert sum(len(body or b"") for body in kept) < 20_000


async def test_a_query_without_rows_has_no_part(workers: Workers, table: PostgresServer) -> None:
    table.execute("DELETE FROM big")
    run = await opened(workers, spec(workers), table.dsn)
    found = await work(workers, run)
    assert (files(workers, run), found.counts.total) == ([], 0)


@pytest.mark.parametrize(
    ("field", "export", "words"),
    [
        ({"partitionBy": "nmae"}, {}, "spec.source.sql.query: column q.nmae does not exist (SQLSTATE 42703)"),
        (
            {"query": "SELECT 1 AS id, '{}'::json AS j", "partitionBy": "j"},
            {},
            "not identify an ordering operator",
        ),
    ],
)
async def test_a_key_that_cannot_work_ends_the_run_with_the_databases_words(
    workers: Workers, table: PostgresServer, field: dict[str, Any], export: dict[str, Any], words: str
) -> None:
    found = spec(workers, **export)
    found["source"]["sql"] |= field
    run = await opened(workers, found, table.dsn)
    snapshot = await work(workers, run)
    assert snapshot.reason == "InvalidSource"
    assert words in (snapshot.message or "")


async def test_a_column_that_the_query_has_not_gives_its_ranges_up(workers: Workers, table: PostgresServer) -> None:
    run = await opened(workers, spec(workers, columns=[{"name": "nmae"}]), table.dsn)
    snapshot = await work(workers, run)
    assert snapshot.counts.failed == snapshot.counts.total
    assert "column q.nmae does not exist" in snapshot.last_errors[0].message


async def test_a_range_goes_to_a_bucket_and_one_that_breaks_off_leaves_nothing(
    workers: Workers, table: PostgresServer, neighbours: Neighbours
) -> None:
    found = to_bucket(spec(workers), neighbours)
    run = await opened(workers, found, table.dsn)
    await work(workers, run)
    _, rows = exported(neighbours, run)
    assert Counter(tuple(row.values()) for row in rows) == copied(table)
    found["export"]["columns"] = [{"name": "id"}, {"name": "note", "format": "integer"}]
    run = await opened(workers, found, table.dsn)
    snapshot = await work(workers, run)
    assert snapshot.counts.failed == snapshot.counts.total
    assert "column 'note' has " in snapshot.last_errors[0].message
    assert neighbours.list_objects("batchjob", f"exports/{run.folder}") == [f"exports/{run.folder}/manifest.json"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_the_ranges_of_a_query_become_one_file_in_the_order_of_the_key(
    workers: Workers, table: PostgresServer, compression: str
) -> None:
    run = await opened(workers, spec(workers, singleFile=True, compression=compression), table.dsn)
    found = await work(workers, run)
    (body,) = files(workers, run)
    rows = read_csv(gzip.decompress(body) if compression == "gzip" else body)
    assert Counter(rows) == copied(table)
    assert [int(row[0]) for row in rows] == [n * n for n in range(1, ROWS + 1)]
    assert found.usage["rowsExported"] == ROWS


async def test_one_file_of_a_bucket_takes_the_place_of_its_parts(
    workers: Workers, table: PostgresServer, neighbours: Neighbours
) -> None:
    run = await opened(workers, to_bucket(spec(workers, singleFile=True), neighbours), table.dsn)
    await work(workers, run)
    _, rows = exported(neighbours, run)
    assert Counter(tuple(row.values()) for row in rows) == copied(table)
    kept = neighbours.list_objects("batchjob", f"exports/{run.folder}")
    assert kept == [f"exports/{run.folder}/{name}" for name in (f"{run.name}.csv", "manifest.json")]


@pytest.mark.parametrize("block", [{"format": "parquet"}, {"compression": "none", "singleFile": True}], ids=str)
async def test_a_sample_of_the_proof_that_killed_workers_leave_the_rows_of_a_direct_copy(
    workers: Workers, postgres: PostgresServer, tmp_path: Path, block: dict[str, Any]
) -> None:
    await exports.trial(workers, postgres, tmp_path, 4000, kills=2, seed=7, answer_seconds=0.3, **block)


async def test_a_database_that_hangs_up_in_the_midst_of_a_range_is_asked_again_and_nothing_is_doubled(
    workers: Workers, table: PostgresServer
) -> None:
    found = spec(workers)
    gate = 1000**2  # the id of a row in the midst of a range, which waits while somebody has the lock
    found["source"]["sql"]["query"] = (
        f"SELECT id, day, amount, note, seen FROM big WHERE id <> {gate} OR pg_advisory_xact_lock_shared(7) IS NOT NULL"
    )
    run = await opened(workers, found, table.dsn)
    await workers.store.pause(run.uid)
    working = asyncio.create_task(work(workers, run))
    await workers.wait(run, lambda s: s.state is RunState.OPEN, "the source to be loaded")
    async with await psycopg.AsyncConnection.connect(table.dsn, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(7)")
        await workers.store.resume(run.uid)

        async def hang_up() -> bool | None:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'"
            return await (await connection.execute(ended)).fetchone() is not None or None

        await wait_for(hang_up, "a range to be in the midst of its rows")
    snapshot = await working
    assert Counter(row for body in files(workers, run) for row in read_csv(body)) == copied(table)
    assert (snapshot.counts.failed, snapshot.usage["rowsExported"]) == (0, ROWS)
