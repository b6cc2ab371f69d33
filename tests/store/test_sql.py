"""Rows of a real PostgreSQL as items: what arrives, what is refused, and what a broken query or login says."""

from typing import Any

import pytest

from batchjob.core.items import RunState
from batchjob.worker.sources import limits
from batchjob.worker.sources import postgres as postgres_door
from tests.store.test_sources import ONE_TRY, ONE_TRY_NO_WAIT, read, refused, spec
from tests.support.postgres_server import PostgresServer
from tests.support.workers import Workers

NUMBERS = "SELECT n AS id, repeat('x', 20) AS text FROM generate_series(1, 1234) AS n ORDER BY n"


VALUES = [  # as PostgreSQL writes them, and as they arrive
    ("NULL", None),
    ("true", True),
    ("9007199254740993::int8", 9007199254740993),
    ("1.5::float8", 1.5),
    ("'NaN'::float8", "NaN"),
    ("'-Infinity'::float4", "-Infinity"),
    ("0.10::numeric", "0.10"),
    ("'NaN'::numeric", "NaN"),
    ("date '2026-02-28'", "2026-02-28"),
    ("'infinity'::date", "infinity"),
    ("timestamp '2026-02-28 10:00:00.5'", "2026-02-28 10:00:00.5"),
    ("time '10:00'", "10:00:00"),
    ("interval '1 day 2 hours'", "1 day 02:00:00"),
    ("'a81bc81b-dead-4e5d-abff-90865d1e13b1'::uuid", "a81bc81b-dead-4e5d-abff-90865d1e13b1"),
    (r"'\x00ff'::bytea", r"\x00ff"),
    ("inet '10.0.0.1/8'", "10.0.0.1/8"),
    ("int4range(1, 3)", "[1,3)"),
    ("ARRAY[1, NULL, 3]", [1, None, 3]),
    ("ARRAY[0.10, 2]::numeric[]", ["0.10", "2"]),
    ("ARRAY['NaN'::float8]", ["NaN"]),
    ("""'{"a": [1, {"b": null}]}'::jsonb""", {"a": [1, {"b": None}]}),
    ("'{\"n\": 1e999}'::json", '{"n": 1e999}'),
    ("ROW(1, 'x')", "(1,x)"),
    ("'100 % Grüße'::text", "100 % Grüße"),
]


def query(text: str, **fields: Any) -> dict[str, Any]:
    return spec({"sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": text}, **fields}, **ONE_TRY_NO_WAIT)


async def rows(workers: Workers, postgres: PostgresServer, text: str, **fields: Any) -> dict[str, Any]:
    run = await workers.open(query(text, **fields))
    workers.reference(run, "source-credentials", dsn=postgres.dsn)
    return await read(workers, run)


async def said(workers: Workers, dsn: str, text: str, reason: str = "InvalidSource", **fields: Any) -> str:
    run = await workers.open(query(text, **fields))
    workers.reference(run, "source-credentials", dsn=dsn)
    message = await refused(workers, run, reason)
    assert "secret" not in message, "a password is nobody's business"
    return message


async def test_each_row_of_a_query_is_an_item(workers: Workers, postgres: PostgresServer) -> None:
    found = await rows(workers, postgres, NUMBERS)
    assert list(found) == [str(n) for n in range(1, 1235)]
    assert found["7"] == {"id": 7, "text": "x" * 20}
    run = await workers.open(query(NUMBERS.replace(" AS id", " AS sku") + " LIMIT 1;", idField="sku"))
    workers.reference(run, "source-credentials", dsn=postgres.dsn)
    assert list(await read(workers, run)) == ["1"]
    assert len((await workers.snapshot(run)).source_sha256 or "") == 64


async def test_what_json_has_no_type_for_is_text(workers: Workers, postgres: PostgresServer) -> None:
    columns = ", ".join(f"{value} AS v{n}" for n, (value, _) in enumerate(VALUES))
    found = await rows(workers, postgres, f"SELECT 'a' AS id, {columns}")
    assert found["a"] == {"id": "a", **{f"v{n}": arrives for n, (_, arrives) in enumerate(VALUES)}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELEC 1", 'spec.source.sql.query: syntax error at or near "SELEC" (SQLSTATE 42601)'),
        ("SELECT * FROM nowhere", 'spec.source.sql.query: relation "nowhere" does not exist'),
        ("SELECT n AS id, 1 / (n - 60) AS x FROM generate_series(1, 99) n", "spec.source.sql.query: division by zero"),
        ("DELETE FROM kept RETURNING id", "spec.source.sql.query: syntax error"),
        ("SELECT 'a' AS id; COMMIT; DROP TABLE kept", "spec.source.sql.query: cannot insert multiple commands"),
        ("SELECT setval('counter', 7) AS id", "spec.source.sql.query: cannot execute setval() in a read-only"),
        ("SELECT 1 AS n", "spec.source.sql: the query has no column 'id', which names the item (spec.source.idField)"),
        ("SELECT 1 AS id, 2 AS n, 3 AS n", "spec.source.sql: the query names the column 'n' twice"),
        ("SELECT NULL AS id", "spec.source.sql: row 1: the field 'id', which names the item"),
        ("SELECT n % 2 AS id FROM generate_series(1, 9) n", "spec.source.sql: row 3: id '1' is already used by row 1"),
        ("SELECT 'a' AS id, repeat('x', 1024 * 1024) AS text", "spec.source.sql: row 1: longer than 1048576 bytes"),
    ],
)
async def test_a_query_that_cannot_work_is_said_and_changes_nothing(
    workers: Workers, postgres: PostgresServer, text: str, words: str
) -> None:
    postgres.execute("CREATE TABLE IF NOT EXISTS kept (id int)", "CREATE SEQUENCE IF NOT EXISTS counter")
    assert (await said(workers, postgres.dsn, text)).startswith(words)
    postgres.execute("SELECT * FROM kept")


async def test_bad_rows_are_left_out_where_the_spec_says_so(workers: Workers, postgres: PostgresServer) -> None:
    text = "SELECT NULLIF(n % 3, 0) AS id FROM generate_series(1, 6) n"
    run = await workers.open(query(text, onBadItem="skip"))
    workers.reference(run, "source-credentials", dsn=postgres.dsn)
    assert list(await read(workers, run)) == ["1", "2"]
    found = await workers.snapshot(run)
    assert (found.counts.total, found.bad_items) == (2, 4)
    assert found.bad_item_messages[1] == "row 4: id '1' is already used by row 1"


@pytest.mark.parametrize(
    ("dsn", "words", "reason"),
    [
        ("just secret words", "is no connection string of PostgreSQL: write postgresql://", "InvalidSource"),
        ("dbname=shop password=secret", "key dsn of Secret shop names no host", "InvalidSource"),
        ("host=/run password=secret", "key dsn of Secret shop names no host", "InvalidSource"),
        ("host=169.254.169.254 password=secret", "169.254.169.254 is a link-local address", "InvalidSource"),
        ("host=db.invalid hostaddr=169.254.0.1", "169.254.0.1 is a link-local address, where", "InvalidSource"),
        ("postgresql://u:secret@127.0.0.1:1/x", "the database cannot be reached: nothing answers", "SourceUnreachable"),
        ("postgresql://postgres:secrets@127.0.0.1:{}/x", "password authentication failed", "SourceUnreachable"),
        ("postgresql://postgres:secret@127.0.0.1:{}/x", 'database "x" does not exist', "SourceUnreachable"),
    ],
)
async def test_a_connection_string_that_cannot_work_is_said_and_not_shown(
    workers: Workers, postgres: PostgresServer, dsn: str, words: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob.worker.load.PATIENCE_SECONDS", 0.0)
    message = await said(workers, dsn.format(postgres.port), NUMBERS, reason)
    assert message.startswith("spec.source.sql")
    assert "dsnSecretRef" in message
    assert words in message


async def test_a_query_that_takes_too_long_is_ended(
    workers: Workers, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob.worker.load.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(postgres_door, "STATEMENT_SECONDS", 1)
    message = await said(workers, postgres.dsn, "SELECT pg_sleep(60) AS id", "SourceUnreachable")
    assert message == "spec.source.sql.query: took longer than 1 s to answer"


async def test_a_database_that_hangs_up_in_the_middle_loads_nothing(
    workers: Workers, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob.worker.load.PATIENCE_SECONDS", 0.0)
    text = (
        "SELECT n AS id, CASE n WHEN 90 THEN pg_terminate_backend(pg_backend_pid()) END FROM generate_series(1, 99) n"
    )
    message = await said(workers, postgres.dsn, text, "SourceUnreachable")
    assert message.startswith("spec.source.sql.dsnSecretRef: ")


async def test_rows_are_read_as_the_load_goes_on_and_not_all_at_once(
    workers: Workers, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOURCE_BYTES", 1000)
    text = "SELECT generate_series(1, 1000000000) AS id"
    assert (await said(workers, postgres.dsn, text)).startswith("spec.source.sql: larger than 0 MiB")


async def test_a_missing_key_of_the_secret_is_named(workers: Workers) -> None:
    run = await workers.open(query(NUMBERS) | ONE_TRY)
    assert "dsnSecretRef: key dsn of Secret shop" in await refused(workers, run, "InvalidSource")
    assert (await workers.snapshot(run)).state is RunState.FAILED
