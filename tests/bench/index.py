"""Lists and searches over many BatchJobs: time of a page at the caller and in the server, and bytes a BatchJob.

The BatchJobs are of a plausible installation: a few owners have most of them, few have failed, names have beginnings in
common. `worst` is a search that no set makes short: two that are large and have nothing in common.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from batchjob import log
from batchjob.api.run import StoreAccess
from batchjob.api.status import ErrorClass
from batchjob.core.queries import parse_query
from batchjob.core.rows import JobRow, fingerprint
from batchjob.store import Store
from tests.bench.figures import Line, percentile
from tests.support.redis_server import RedisServer

BATCH_JOBS: Final = 100_000
SEARCHES: Final = 100  # of each kind
BATCH: Final = 200
NOW: Final = 1_800_000_000
SPAN_SECONDS: Final = 30 * 86_400
TYPES: Final = ("ai-batch", "export", "email", "report", "custom")
KINDS: Final = {
    "list": ("", None),
    "list of an owner": ("", "owner-3"),
    "failed of a queue": ("status:failed queue:export", None),
    "an error of late": ("error:timeout age:<1d", None),
    "label and type": ("label.team:team-7 type:email", None),
    "name, rare": ("nightly-4711", None),
    "name, common": ("nightly status:failed", "owner-1"),
    "excluded": ("-status:succeeded -type:export", None),
    "worst": ("label.half:a label.other:b", None),
}


def measure(scale: float) -> Iterator[Line]:
    """A line for filling, then one a kind of search."""
    log.configure("warning")
    with asyncio.Runner() as runner:
        stream = _measure(round(BATCH_JOBS * scale))
        while (line := runner.run(anext(stream, None))) is not None:
            yield line


def build_row(number: int, dice: random.Random) -> JobRow:
    """A BatchJob of that installation."""
    kind = dice.choices(TYPES, (5, 3, 4, 1, 1))[0]
    phase = dice.choices(("Succeeded", "Failed", "Cancelled", "Running", "Queued"), (90, 6, 2, 1, 1))[0]
    error = dice.choice(list(ErrorClass))
    has_failed = phase == "Failed"
    prints = (error, fingerprint(error, dice.choice(("no answer", "refused", "bad key", "too large"))))
    half = "ab"[number % 2]
    created = NOW - SPAN_SECONDS + SPAN_SECONDS * number // BATCH_JOBS
    return JobRow(
        phase=phase,
        queue=kind if dice.random() < 0.8 else f"queue-{dice.randrange(20)}",
        owner=f"owner-{int(dice.paretovariate(0.5)) % 200}",
        namespace=f"team-{dice.randrange(20)}",
        type=kind,
        reason="ItemsFailed" if has_failed else phase,
        labels=(f"half={half}", f"other={half}", f"team=team-{dice.randrange(30)}"),
        errors=tuple(sorted(prints)) if has_failed else (),
        name=f"{dice.choice(('nightly', 'hourly', 'export-of-customers', 'mail'))}-{number}",
        uid=f"{dice.getrandbits(32):08x}-0000-4000-8000-{number:012x}",
        created=created,
        started=created + 5,
        ended=created + 500,
        total=1000,
        succeeded=990,
        failed=10 * has_failed,
    )


async def _measure(count: int) -> AsyncIterator[Line]:
    with tempfile.TemporaryDirectory() as place:
        server = RedisServer(Path(place)).start()
        try:
            async with (
                Store.connect(StoreAccess(url=server.url), name="bench") as store,
                Redis.from_url(server.url) as admin,
            ):
                await store.load_scripts()
                yield await _fill(store, admin, count)
                for name, (text, owner) in KINDS.items():
                    yield await _search(store, admin, name, text, owner)
        finally:
            server.kill()


async def _fill(store: Store, admin: Redis, count: int) -> Line:
    dice, empty = random.Random(1), (await admin.info("memory"))["used_memory"]
    rows = [build_row(number, dice) for number in range(count)]
    seconds: dict[str, float] = {}
    for what in ("filled", "compared"):  # the second time nothing has changed
        began, cpu_ms = time.monotonic(), await _cpu_ms(admin)
        for first in range(0, count, BATCH):
            await store.index.keep({row.id: row for row in rows[first : first + BATCH]}, "bench")
        seconds[f"{what}_seconds"] = time.monotonic() - began
        seconds[f"{what}_server_cpu_us_each"] = 1000 * (await _cpu_ms(admin) - cpu_ms) / count
    used = (await admin.info("memory"))["used_memory"]
    return {"figure": "index", "batch_jobs": count, "bytes_each": (used - empty) / count, **seconds}


async def _search(store: Store, admin: Redis, name: str, text: str, owner: str | None) -> Line:
    query = parse_query(text)
    pages: list[float] = []
    rows, cursor = 0, None
    await admin.config_resetstat()
    cpu_ms = await _cpu_ms(admin)
    for _ in range(SEARCHES):
        began = time.perf_counter()
        page = await store.index.search(query, NOW, owner=owner, limit=50, cursor=cursor)
        pages.append(1000 * (time.perf_counter() - began))
        rows, cursor = rows + len(page.rows), page.cursor
    cpu_ms = await _cpu_ms(admin) - cpu_ms
    longest = (await admin.slowlog_get(1)) or [{"duration": 0}]
    calls = (await admin.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await admin.slowlog_reset()
    return {
        "figure": "search",
        "who": name,
        "searches": SEARCHES,
        "rows": rows,
        "calls_a_page": calls / SEARCHES,
        "page_p50_ms": percentile(pages, 50),
        "page_p95_ms": percentile(pages, 95),
        "server_cpu_ms_a_page": cpu_ms / SEARCHES,
        "longest_call_ms": longest[0]["duration"] / 1000,
    }


async def _cpu_ms(admin: Redis) -> float:
    """CPU of the server so far: wall time says little on a machine that does something else too."""
    found = await admin.info("cpu")
    return 1000 * float(found["used_cpu_user"] + found["used_cpu_sys"])
