"""What an export of a query costs: one slot of one worker beside a direct COPY of the same rows to one CSV.

The ranges are counted before, so that time is that of rows alone. COPY goes through psycopg in this process, whose part
of it is written in C. They take turns, so that a machine that is busy for a while is busy for both.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg

from batchjob import log
from batchjob.api.run import StoreAccess
from batchjob.core.items import RunState
from batchjob.store import Store
from tests.bench.figures import Line, medians, peak_mib
from tests.prove.processors.exports import QUERY, fill, spec
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.workers import Workers

ROWS: Final = 1_000_000
REPETITIONS: Final = 3
ROWS_PER_FILE: Final = 100_000
FORMATS: Final = ("csv", "parquet")
PATIENCE_SECONDS: Final = 3600
LOOK_SECONDS: Final = 0.05


def measure(scale: float) -> Iterator[Line]:
    """A line a repetition, then the summary of medians."""
    log.configure("warning")
    lines = []
    with asyncio.Runner() as runner:
        stream = _measure(round(ROWS * scale))
        while (line := runner.run(anext(stream, None))) is not None:
            lines.append(line)
            yield line
    yield {"figure": "summary", "repetitions": REPETITIONS, "medians": medians(lines)}


async def _measure(rows: int) -> AsyncIterator[Line]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        postgres, redis = PostgresServer(), RedisServer(folder)
        try:
            postgres.start()
            redis.start()
            fill(postgres, rows)
            postgres.execute("UPDATE big SET note = 'plain' WHERE length(note) > 100")  # narrow rows
            async with Store.connect(StoreAccess(url=redis.url), name="operator") as store:
                await store.load_scripts()
                workers = Workers(store, redis.url, folder / "pods")
                for _, form in itertools.product(range(REPETITIONS), FORMATS):
                    copied = _copy(postgres, folder / "copy.csv")
                    done = await _export(workers, postgres, rows, form)
                    ratio = done["seconds"] / copied
                    yield {
                        "figure": "export",
                        "who": form,
                        "rows": rows,
                        "copy_seconds": copied,
                        **done,
                        "ratio": ratio,
                    }
        finally:
            redis.kill()
            postgres.stop()


def _copy(postgres: PostgresServer, path: Path) -> float:
    """Seconds of a direct COPY."""
    began = time.monotonic()
    with (
        psycopg.connect(postgres.dsn) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({QUERY}) TO STDOUT (FORMAT csv, HEADER)".encode()) as copy,
        path.open("wb") as file,
    ):
        file.writelines(copy)
    return time.monotonic() - began


async def _export(workers: Workers, postgres: PostgresServer, rows: int, form: str) -> dict[str, Any]:
    """Seconds of an export by one slot, and the most memory its worker had."""
    found = spec(workers, rows, format=form, rowsPerFile=min(rows, ROWS_PER_FILE))
    run = await workers.open(found | {"parallelism": 1, "concurrency": 1})
    workers.reference(run, "source-credentials", dsn=postgres.dsn)
    await workers.store.pause(run.uid)
    with workers.process(run) as process:
        await workers.wait(run, lambda s: s.state is RunState.OPEN, "the ranges to be counted", PATIENCE_SECONDS)
        began, peak = time.monotonic(), 0.0
        await workers.store.resume(run.uid)
        while (await workers.snapshot(run)).state is not RunState.CLOSED:
            peak = max(peak, peak_mib(process.pid))
            await asyncio.sleep(LOOK_SECONDS)
        return {"seconds": time.monotonic() - began, "peak_mib": peak}
