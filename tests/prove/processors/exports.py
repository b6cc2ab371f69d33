"""Exports of a query over four slots: read back by other hands, the rows are those of a direct COPY, in the same order.

Some trials have their workers killed in the middle of parts: the rows are still the same, each once, and no file is
there that the manifest does not list. Cells are hostile: formulas, line breaks, quotes, other scripts, 1 MiB. However
many rows there are, a worker takes no more memory than its limit.
"""

import asyncio
import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
import pyarrow.parquet as pq

from batchjob.core.items import RunState
from batchjob.core.snapshot import Snapshot
from tests.support import manifests
from tests.support.crew import LEASE_MS, PATIENCE_SECONDS, Crew
from tests.support.postgres_server import PostgresServer
from tests.support.workers import Workers

WORKERS: Final = 2
SLOTS: Final = 2  # of a worker
PARTS: Final = 40
PAUSE_SECONDS: Final = 0.5  # from the end of a part to a kill, at most
MOST_MIB: Final = 150.0  # of a worker, whatever it exports
CELL_LIMIT: Final = 2**24  # of the csv module, which asks for one
QUERY: Final = "SELECT id, day, amount, note, seen FROM big"
NOTES: Final = (
    *("=cmd|'/C calc'!A0", "@SUM(A1:A9)", "\t=1", "two\nlines\r\n", '"quoted", or so', '"', "\\N", "\\.", "'", " "),
    *("👩‍👩‍👧 e\u0301", "\u202eright to left\u202c", "עברית العربية", "\ufeffmark\u2028", "plain", "", None),
)


class Told(NamedTuple):
    """How many rows there are, and the SHA-256 of all in their order."""

    rows: int
    sha256: str


async def trial(
    workers: Workers,
    postgres: PostgresServer,
    folder: Path,
    rows: int,
    kills: int,
    seed: int,
    answer_seconds: float = 0.0,
    **block: Any,
) -> dict[str, Any]:
    """Export so many rows, as `block` says, and read them back; AssertionError where they are others.

    `answer_seconds`: how long each query takes more, so that few rows are not exported before the first kill.
    """
    fill(postgres, rows)
    wanted = spec(workers, rows, **block)
    if answer_seconds:
        wanted["source"]["sql"]["query"] += f" WHERE (SELECT pg_sleep({answer_seconds})) IS NOT NULL"
    run = await workers.open(wanted, lease_ms=LEASE_MS)
    workers.reference(run, "source-credentials", dsn=postgres.dsn)
    place = workers.claim / "out" / run.folder
    place.mkdir(parents=True)
    (place / "part-000000000001-dead.csv").write_bytes(b"of a worker that was lost")
    random = Random(seed)
    async with Crew(workers, run, WORKERS) as crew:
        hits = 0
        for _ in range(kills):
            done = (await workers.snapshot(run)).counts.succeeded

            def is_next(found: Snapshot, done: int = done) -> bool:
                return found.counts.succeeded > done or found.state is RunState.CLOSED

            await workers.wait(run, is_next, "a part", PATIENCE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS * random.random())
            hits += (await workers.snapshot(run)).state is RunState.OPEN
            crew.kill()
        found = await crew.finish()
    assert hits or not kills, "everything was done before the first kill"
    assert 0 < crew.peak_mib <= MOST_MIB, f"a worker took {crew.peak_mib:.1f} MiB"
    assert (found.counts.failed, found.usage["rowsExported"]) == (0, rows)
    files = listed(place)
    assert tell(row for path in files for row in read(path)) == copied(postgres, folder)
    return {
        "rows": rows,
        "kills": kills,
        "ranges_done_again": found.counts.retried_after_loss,
        "missing": 0,
        "twice": 0,
        "files": len(files),
        "stray_files": 0,
        "most_mib_of_a_worker": round(crew.peak_mib, 1),
    }


def fill(postgres: PostgresServer, rows: int) -> None:
    """A table whose ids have gaps, and whose notes are hostile; two of them have a megabyte."""
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(b"ALTER DATABASE postgres SET timezone = 'UTC'")
        connection.execute(b"DROP TABLE IF EXISTS big")
        connection.execute(
            b"CREATE TABLE big (id bigint PRIMARY KEY, day date, amount numeric(12, 2), note text, seen timestamptz)"
        )
        connection.execute(
            b"INSERT INTO big SELECT n * 3, date '2026-01-01' + n / 7000, n / -3.0, (%s::text[])[n %% %s + 1], "
            b"timestamptz '2026-02-28 10:00:00.25+02' + n * interval '1 s' FROM generate_series(1, %s::int) n",
            [list(NOTES), len(NOTES), rows],
        )
        connection.execute(b"UPDATE big SET note = repeat('\"\n', 524288) WHERE id IN (9, %s)", [rows * 3])


def spec(workers: Workers, rows: int, **block: Any) -> dict[str, Any]:
    """The spec of the export, to the workers' claim."""
    export = {
        "destination": {"url": f"file://{workers.claim}/out"},
        "rowsPerFile": rows // PARTS,
        "escapeFormulas": False,
        **block,
    }
    source = {"sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": QUERY, "partitionBy": "id"}}
    more = {
        "parallelism": WORKERS,
        "concurrency": SLOTS,
        "worker": {"volumes": [{"claimName": "data", "mountPath": str(workers.claim)}]},
        "retry": {"maxLosses": 20},  # chance may find one range again and again
    }
    found: dict[str, Any] = manifests.batch_job("e", "export", source, export, **more)["spec"]
    return found


def listed(folder: Path) -> list[Path]:
    """The files that the manifest lists, each as it says; AssertionError where there are others."""
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [part["name"] for part in manifest["parts"]]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "manifest.json"]), "a stray file"
    for part in manifest["parts"]:
        with (folder / part["name"]).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == part["sha256"]
            assert file.tell() == part["bytes"]
    return [folder / name for name in names]


def read(path: Path) -> Iterator[Sequence[str]]:
    """The rows of a file, as PostgreSQL writes their values."""
    if path.suffix == ".parquet":
        for batch in pq.ParquetFile(path).iter_batches(10_000):
            yield from zip(*([_text(value) for value in column.to_pylist()] for column in batch.columns), strict=True)
    else:
        before = csv.field_size_limit(CELL_LIMIT)  # the process' own: tests are about it
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                assert next(rows) == ["id", "day", "amount", "note", "seen"]
                yield from rows
        finally:
            csv.field_size_limit(before)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") + "+00"
    return "" if value is None else str(value)


def copied(postgres: PostgresServer, folder: Path) -> Told:
    """What a direct COPY says."""
    path = folder / "copy.csv"
    command = f"COPY ({QUERY} ORDER BY id) TO STDOUT (FORMAT csv, HEADER)".encode()
    with (
        psycopg.connect(postgres.dsn) as connection,
        connection.cursor() as cursor,
        cursor.copy(command) as copy,
        path.open("wb") as file,
    ):
        file.writelines(copy)
    return tell(read(path))


def tell(rows: Iterable[Sequence[str]]) -> Told:
    """Of rows as texts; nothing at all is what null is in CSV."""
    digest, count = hashlib.sha256(), 0
    for row in rows:
        digest.update(msgspec.json.encode(row))
        count += 1
    return Told(count, digest.hexdigest())
