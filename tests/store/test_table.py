"""Results as rows of a real PostgreSQL table: one an item, whatever is repeated, and clear words where it cannot be."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batchjob.api.run import Run
from batchjob.core.items import Item, RunState
from batchjob.errors import ResultsError
from batchjob.files import files
from batchjob.worker import Context, Processor, Sealed, closing, table
from tests.support.postgres_server import PostgresServer
from tests.support.sealed import sealed_to
from tests.support.workers import Workers

COLUMNS = (
    "id text PRIMARY KEY, label text, score numeric, at timestamptz, tags text[], n int GENERATED ALWAYS AS (2) STORED"
)
FIELDS: dict[str, Any] = {"label": "Grüße", "score": 0.5, "at": "2026-11-26T10:00:00Z", "tags": ["a", "b"]}


class Answer(Processor):
    """Answers each item with what it says."""

    async def process(self, item: Item, context: Context) -> Any:
        del context
        return item.data["answer"]


class Database:
    """A table named `results`, in a schema of each test's own."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.server.execute("DROP SCHEMA IF EXISTS mine CASCADE", "CREATE SCHEMA mine")

    def create(self, columns: str, *more: str) -> None:
        self.server.execute(f"CREATE TABLE mine.results ({columns})", *more)

    def rows(self, columns: str = "id, result") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.dsn) as connection:
            return connection.execute(f"SELECT {columns} FROM mine.results ORDER BY id".encode()).fetchall()


@pytest.fixture
def database(postgres: PostgresServer) -> Database:
    return Database(postgres)


def spec(answers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    table = {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "name": "mine.results"}
    return {
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"items": [{"id": name, "json": json.dumps({"answer": answer})} for name, answer in answers.items()]},
        "retry": {"backoff": {"initialDelaySeconds": 0}, "maxAttempts": 2},
        "results": {"table": table},
        **fields,
    }


async def done(workers: Workers, run: Run, dsn: str) -> str | None:
    """Do it; returns what it failed with."""
    workers.reference(run, "results-table", dsn=dsn)
    await workers.work(run, Answer())
    found = await workers.snapshot(run)
    return found.message if found.state is RunState.FAILED else None


async def test_a_field_goes_to_the_column_of_its_name_as_its_type(workers: Workers, database: Database) -> None:
    database.create(COLUMNS)
    run = await workers.open(spec({"a": FIELDS, "b": {"label": None}, "c": None}))
    assert await done(workers, run, database.server.dsn) is None
    assert database.rows("id, label, score::float8, extract(year FROM at)::int, tags") == [
        ("a", "Grüße", 0.5, 2026, ["a", "b"]),
        ("b", None, None, None, None),
    ]
    assert len([result async for result in workers.store.results(run.uid)]) == 2, "they are in the store as well"


async def test_a_column_named_result_takes_whatever_it_is(workers: Workers, database: Database) -> None:
    database.create("id text PRIMARY KEY, label text, result jsonb")
    answers = {"a": FIELDS, "b": [1, None], "c": {"result": 7, "label": "x"}, "d": {"text": "a \\u0000 that is none"}}
    run = await workers.open(spec(answers))
    assert await done(workers, run, database.server.dsn) is None
    assert database.rows("id, label, result") == [
        ("a", "Grüße", {"id": "a"} | FIELDS),
        ("b", None, {"id": "b", "value": [1, None]}),
        ("c", "x", {"id": "c", "result": 7, "label": "x"}),
        ("d", None, {"id": "d", "text": "a \\u0000 that is none"}),
    ]


async def test_a_column_may_have_any_name(workers: Workers, database: Database) -> None:
    database.create('id text PRIMARY KEY, "share %" int, "a""b" text')
    run = await workers.open(spec({"a": {"share %": 7, 'a"b': "x"}}))
    assert await done(workers, run, database.server.dsn) is None
    assert database.rows('"share %", "a""b"') == [(7, "x")]


async def test_a_later_run_takes_the_place_of_the_rows_it_knows_and_leaves_the_others(
    workers: Workers, database: Database
) -> None:
    database.create("id text PRIMARY KEY, label text, note text")
    for answers in ({"a": {"label": "old"}, "b": {"label": "old"}}, {"b": {"label": "new"}}):
        run = await workers.open(spec(answers))
        assert await done(workers, run, database.server.dsn) is None
        database.server.execute("UPDATE mine.results SET note = 'of ours'")
    assert database.rows("id, label, note") == [("a", "old", "of ours"), ("b", "new", "of ours")]


async def test_rows_come_with_the_parts_and_a_part_that_is_written_twice_makes_none_twice(
    workers: Workers, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.create("id text PRIMARY KEY, result jsonb, written int DEFAULT 1")
    database.server.execute(
        "CREATE FUNCTION mine.again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.written := OLD.written + 1; "
        "RETURN NEW; END'",
        "CREATE TRIGGER again BEFORE UPDATE ON mine.results FOR EACH ROW EXECUTE FUNCTION mine.again()",
    )
    (tmp_path / "claim").mkdir()
    put, failures = files.MountedFiles.put, [ResultsError("the disk is full")]

    async def fail_once(self: files.MountedFiles, name: str, body: bytes) -> None:
        if failures:
            raise failures.pop()
        await put(self, name, body)

    monkeypatch.setattr(files.MountedFiles, "put", fail_once)
    fields = sealed_to(tmp_path / "claim")
    run = await workers.open(spec({f"i{n:03}": n for n in range(200)}) | fields | {
        "results": fields["results"] | spec({})["results"]
    })  # fmt: skip
    assert await done(workers, run, database.server.dsn) is None
    assert database.rows("id, result, written") == [(f"i{n:03}", {"id": f"i{n:03}", "value": n}, 2) for n in range(200)]
    assert (await workers.snapshot(run)).counts.succeeded == 200


@pytest.mark.parametrize(
    ("columns", "answer", "said"),
    [
        (
            "id text PRIMARY KEY",
            {"label": "x", "b": 1},
            "no columns: b, label. Add columns of these names (or one named",
        ),
        (
            "id text PRIMARY KEY, score int",
            {"score": "ten"},
            'invalid input syntax for type integer: "ten" (SQLSTATE 22',
        ),
        ("id text PRIMARY KEY, label text NOT NULL", {"label": None}, "violates not-null constraint (SQLSTATE 23502)"),
        ("id text PRIMARY KEY, label text", {"label": "a\0b"}, "item 'a': its result has a NUL"),
    ],
    ids=["no-column", "wrong-type", "not-null", "nul"],
)
async def test_results_that_do_not_fit_fail_the_run_and_stay_in_the_store(
    columns: str, answer: dict[str, Any], said: str, workers: Workers, database: Database
) -> None:
    database.create(columns)
    run = await workers.open(spec({"a": answer}))
    message = await done(workers, run, database.server.dsn)
    assert (message or "").startswith("spec.results.table: ")
    assert said in (message or "")
    assert database.rows("id") == []
    assert len([result async for result in workers.store.results(run.uid)]) == 1


@pytest.mark.parametrize(
    ("columns", "dsn", "said"),
    [
        (None, "{dsn}", "spec.results.table.name: the database has no table mine.results"),
        (
            "label text",
            "{dsn}",
            "spec.results.table: table mine.results has no column id with a unique index of its own",
        ),
        ("id text", "{dsn}", "has no column id with a unique index of its own, by which the row of an item is found"),
        ("id text, n int, PRIMARY KEY (id, n)", "{dsn}", "has no column id with a unique index of its own"),
        (
            "id text PRIMARY KEY",
            "{dsn}nowhere",
            'dsnSecretRef: the database refused: database "postgresnowhere" does not',
        ),
        (
            "id text PRIMARY KEY",
            "mysql://secret",
            "dsnSecretRef: key dsn of Secret shop is no connection string of Postg",
        ),
        (
            "id text PRIMARY KEY",
            "dbname=secret",
            "spec.results.table.dsnSecretRef: key dsn of Secret shop names no host",
        ),
    ],
    ids=["no-table", "no-id", "not-unique", "not-alone", "no-database", "no-dsn", "no-host"],
)
async def test_a_table_that_cannot_work_ends_the_run_before_its_first_item(
    columns: str | None, dsn: str, said: str, workers: Workers, database: Database
) -> None:
    if columns:
        database.create(columns)
    run = await workers.open(spec({"a": FIELDS}))
    message = await done(workers, run, dsn.format(dsn=database.server.dsn))
    assert said in (message or "")
    assert "secret" not in (message or ""), "a password is nobody's business"
    found = await workers.snapshot(run)
    assert (found.reason, found.counts.succeeded) == ("ResultsFailed", 0)


async def test_a_database_that_is_away_is_waited_for_as_any_destination(
    workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.0)
    database.create("id text PRIMARY KEY, result jsonb")
    run = await workers.open(spec({"a": 1}))
    message = await done(workers, run, database.server.dsn.replace(str(database.server.port), "9"))
    assert (
        message
        == "spec.results.table.dsnSecretRef: the database cannot be reached: nothing answers there: check host and port"
    )


async def test_a_database_that_falls_silent_is_let_go(
    workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "GONE_SECONDS", 0.5)
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.0)
    database.create("id text PRIMARY KEY, result jsonb")
    run = await workers.open(spec({"a": 1}))
    with psycopg.connect(database.server.dsn) as other:
        other.execute("LOCK TABLE mine.results IN EXCLUSIVE MODE")  # it may be looked at, and waits with each row
        message = await done(workers, run, database.server.dsn)
    assert message == "spec.results.table.dsnSecretRef: the database does not answer any more"


async def test_rows_are_written_where_the_processor_seals_files_of_its_own_too(
    workers: Workers, database: Database
) -> None:
    class Sealing(Answer):
        async def seal(self, context: Context) -> Sealed:
            del context
            return Sealed("s3://mine/manifest.json", "0" * 64)

    database.create("id text PRIMARY KEY, result jsonb")
    run = await workers.open(spec({"a": 1}))
    workers.reference(run, "results-table", dsn=database.server.dsn)
    await workers.work(run, Sealing())
    assert database.rows() == [("a", {"id": "a", "value": 1})]
