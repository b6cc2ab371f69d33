"""Type export through a real worker: what its files hold, read back by other hands than those that wrote them."""

import asyncio
import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
from backports import zstd
from redis.asyncio import Redis

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.snapshot import Snapshot
from batchjob.errors import ConfigurationError, ResultsError
from batchjob.files.files import MountedFiles
from batchjob.store.keys import run_key
from batchjob.worker import Context, Item, Outcome
from batchjob.worker.processor import make_processor
from batchjob_processors import export
from tests.support import manifests
from tests.support.workers import Workers

ROWS: list[dict[str, Any]] = [
    {"id": "a", "day": "2026-02-28", "amount": "0012", "paid": "t", "note": "=1+1"},
    {"id": "b", "day": "soon", "amount": "1", "paid": "f", "note": ""},
    {"id": "c", "day": "2026-03-01T10:00:00Z", "amount": 7, "paid": True, "note": "two\nlines"},
]
COLUMNS = [
    {"name": "day", "header": "Day", "format": "date"},
    {"name": "amount", "format": "integer"},
    {"name": "paid", "format": "boolean"},
    {"name": "note"},
]


def on_claim(workers: Workers, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The spec of an export to the workers' claim; `export` adds to the block."""
    block = {"destination": {"url": f"file://{workers.claim}/out"}, **spec.pop("export", {})}
    volumes = {"volumes": [{"claimName": "data", "mountPath": str(workers.claim)}]}
    found: dict[str, Any] = manifests.batch_job("e", "export", source, block, worker=volumes, **spec)["spec"]
    return found


async def open_rows(workers: Workers, rows: list[dict[str, Any]], **spec: Any) -> Run:
    """An export of these rows to the claim."""
    run = await workers.open(on_claim(workers, {"configMapRef": {"name": "rows", "key": "rows.jsonl"}}, **spec))
    workers.reference(run, "source", rows__jsonl="".join(json.dumps(row) + "\n" for row in rows))
    return run


async def work(workers: Workers, run: Run) -> Snapshot:
    """One worker until the end; returns what became of the run."""
    assert await workers.work(run, make_processor("export")) == EXIT_CLOSED
    return await workers.snapshot(run)


def folder(workers: Workers, run: Run) -> Path:
    return workers.claim / "out" / run.folder


def files(workers: Workers, run: Run) -> list[bytes]:
    """The files that the manifest lists, in its order, checked against it; there are no others."""
    place = folder(workers, run)
    manifest = json.loads((place / "manifest.json").read_text())
    bodies = [(place / part["name"]).read_bytes() for part in manifest["parts"]]
    for part, body in zip(manifest["parts"], bodies, strict=True):
        assert (part["bytes"], part["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert (manifest["rows"], manifest["bytes"]) == (
        sum(part["rows"] for part in manifest["parts"]),
        sum(map(len, bodies)),
    )
    listed = [part["name"] for part in manifest["parts"]]
    assert sorted(path.name for path in place.iterdir()) == sorted(["manifest.json", *listed])
    return bodies


@pytest.mark.parametrize(("compression", "unpack"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
async def test_columns_say_what_their_values_are_and_an_item_that_is_otherwise_is_given_up(
    workers: Workers, compression: str, unpack: Any
) -> None:
    run = await open_rows(workers, ROWS, export={"columns": COLUMNS, "compression": compression, "bom": True})
    found = await work(workers, run)
    (body,) = files(workers, run)
    assert unpack(body).decode("utf-8-sig") == (
        'Day,amount,paid,note\r\n2026-02-28,12,true,\'=1+1\r\n2026-03-01,7,true,"two\nlines"\r\n'
    )
    assert (found.counts.succeeded, found.counts.failed, found.usage["rowsExported"]) == (2, 1, 2)
    assert found.last_errors[0].error_class == "invalid-input"
    assert found.last_errors[0].message.startswith("column 'day' has 'soon', which is no date such as 2026-12-31: ")


async def test_a_part_of_which_no_item_has_a_row_is_not_written(workers: Workers) -> None:
    run = await open_rows(workers, ROWS, export={"columns": COLUMNS, "rowsPerFile": 1})
    await work(workers, run)
    assert [body.splitlines()[1][:10] for body in files(workers, run)] == [b"2026-02-28", b"2026-03-01"]


async def test_parts_of_parquet_have_one_schema_and_what_does_not_fit_it_is_given_up(workers: Workers) -> None:
    rows = [
        {"id": "a", "n": 1, "price": 1, "new": None},
        {"id": "b", "n": 2, "price": 0.5, "new": None},
        {"id": "c", "n": "3", "price": 7, "new": {"now": True}},
        {"id": "d", "n": 4.5, "price": 1, "new": "x"},
    ]
    run = await open_rows(workers, rows, export={"format": "parquet", "rowsPerFile": 2})
    found = await work(workers, run)
    bodies = [pq.ParquetFile(io.BytesIO(body)) for body in files(workers, run)]
    assert [body.schema_arrow for body in bodies] == [bodies[0].schema_arrow] * 2
    assert [row for body in bodies for row in body.read().to_pylist()] == [
        {"id": "a", "n": 1, "price": 1.0, "new": None},
        {"id": "b", "n": 2, "price": 0.5, "new": None},
        {"id": "c", "n": 3, "price": 7.0, "new": '{"now": true}'},
    ]
    assert found.last_errors[0].message.startswith("column 'n' has 4.5, which is no whole number of 64 bits: ")


async def test_a_workbook_is_a_part(workers: Workers) -> None:
    run = await open_rows(workers, ROWS, export={"format": "xlsx", "columns": COLUMNS})
    await work(workers, run)
    (body,) = files(workers, run)
    sheet = openpyxl.load_workbook(io.BytesIO(body)).worksheets[0]
    assert [row[1:] for row in sheet.iter_rows(values_only=True)] == [
        ("amount", "paid", "note"),
        (12, True, "=1+1"),
        (7, True, "two\nlines"),
    ]


async def test_an_image_without_the_library_for_parquet_says_so_before_any_item(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await open_rows(workers, ROWS, export={"format": "parquet"})
    monkeypatch.setattr(export, "find_spec", {}.get)
    with pytest.raises(ConfigurationError, match=r"^spec.export.format: parquet needs the library pyarrow, which is n"):
        await work(workers, run)


async def test_rows_that_their_format_cannot_hold_are_given_up_at_once(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob_processors.workbook.SHEET_COLUMNS", 4)
    found = await work(workers, await open_rows(workers, ROWS, export={"format": "xlsx"}))
    assert found.counts.failed == len(ROWS)
    assert "5 columns, and Excel takes 4: choose by spec.export.columns" in found.last_errors[0].message
    assert found.last_errors[0].error_class == "invalid-input"


@pytest.mark.parametrize("joined", [False, True])
async def test_a_part_that_cannot_be_written_comes_back_as_files_of_one_row_which_one_file_joins(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    put, tries = MountedFiles.put, list[str]()

    async def fail_once(self: MountedFiles, name: str, body: bytes) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise ResultsError("the disk is full")
        await put(self, name, body)

    monkeypatch.setattr(MountedFiles, "put", fail_once)
    retry = {"retry": {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0}}}
    run = await open_rows(workers, ROWS, export={"singleFile": joined}, **retry)
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["rowsExported"]) == (3, 3)
    bodies = files(workers, run)
    assert [body.count(b"\r\n") - 1 for body in bodies] == ([3] if joined else [1, 1, 1])


async def test_columns_are_the_first_items_fields_whichever_part_is_written_first(workers: Workers) -> None:
    class FirstWaits(export.Export):
        async def process_many(self, items: Sequence[Item], context: Context) -> list[Outcome]:
            if items[0].position == 0:
                await second.wait()
            outcomes = await super().process_many(items, context)
            second.set()
            return outcomes

    second = asyncio.Event()
    rows = [{"id": "a", "name": "x", "price": 1}, {"id": "b", "title": "y", "price": 2}]
    run = await open_rows(workers, rows, export={"format": "csv", "rowsPerFile": 1}, concurrency=2)
    assert await workers.work(run, FirstWaits()) == EXIT_CLOSED
    parts = sorted(folder(workers, run).glob("part-*"))
    assert [part.read_text() for part in parts] == ["id,name,price\na,x,1\n", "id,name,price\nb,,2\n"]


async def test_columns_are_of_the_source_that_was_loaded_and_not_of_one_that_broke_off(
    workers: Workers, redis: Redis
) -> None:
    run = await open_rows(workers, [{"id": "a", "new": 1}], export={"format": "jsonl"})
    await redis.hset(run_key(run.uid, "notes"), "fields", '["id", "old"]')  # as a loader did whose lease ended
    await work(workers, run)
    [part] = folder(workers, run).glob("part-*")
    assert json.loads(part.read_text()) == {"id": "a", "new": 1}
