"""The first page of the admin UI over many BatchJobs, in a browser without a cache, beside Bull Board's.

Both have a real server and a real Redis; ours reads Kubernetes from a stand-in. The bytes are what came over the wire,
the time is that from asking until the first of the list is there. Ours has signed in before; Bull Board knows none.
"""

import asyncio
import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from playwright.sync_api import Browser, StorageState, sync_playwright

from batchjob.api.run import StoreAccess
from batchjob.store import Store
from tests.bench.figures import Line, cpu_seconds
from tests.bench.index import BATCH, build_row
from tests.bench.npm import install
from tests.support.live_gateway import ApiServer, GatewayProcess, token
from tests.support.redis_server import RedisServer

BOARD: Final = Path(__file__).with_name("board")
JOBS: Final = 80_000
LOADS: Final = 7
TEXT: Final = "x" * 150  # what a job of Bull Board's holds; ours have rows of their own
FIRST_OF_OURS: Final = "table a[href*='/jobs/']"
FIRST_OF_THEIRS: Final = "a[href*='/queue/bench/']"


class Site(NamedTuple):
    """Where a list is served."""

    address: str
    first: str  # a selector of the first of the list
    pid: int
    token: str | None = None  # of whom to sign in as


def measure(scale: float) -> Iterator[Line]:
    """One line for each."""
    install(BOARD)
    for who, serve in (("batchjob", _ours), ("bull-board", _theirs)):
        with tempfile.TemporaryDirectory() as folder, serve(Path(folder), round(JOBS * scale)) as site:
            yield {"figure": "first page", "who": who, "jobs": round(JOBS * scale), **_look_at(site)}


def _look_at(site: Site) -> Line:
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("chromium is not installed: make chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        state = _sign_in(browser, site) if site.token else None
        before = cpu_seconds(site.pid)
        loads = [_load(browser, site, state) for _ in range(LOADS)]
        cpu = cpu_seconds(site.pid) - before
        browser.close()
    return {
        "kilobytes": statistics.median(one[0] for one in loads) / 1000,
        "requests": statistics.median(one[1] for one in loads),
        "first_row_ms": 1000 * statistics.median(one[2] for one in loads),
        "server_cpu_ms": 1000 * cpu / LOADS,
    }


def _load(browser: Browser, site: Site, state: StorageState | None) -> tuple[int, int, float]:
    """(bytes, requests, seconds until the first of the list is there) of a browser that knows nothing yet."""
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    session = context.new_cdp_session(page)
    weights: list[int] = []
    session.on("Network.loadingFinished", lambda told: weights.append(told["encodedDataLength"]))
    session.send("Network.enable")
    began = time.perf_counter()
    page.goto(site.address, wait_until="commit")
    page.wait_for_selector(site.first)
    took = time.perf_counter() - began
    page.wait_for_timeout(1000)  # what it asks for after that
    context.close()
    return sum(weights), len(weights), took


def _sign_in(browser: Browser, site: Site) -> StorageState:
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.address)
    page.fill("#token", site.token or "")
    page.press("#token", "Enter")
    page.wait_for_selector(site.first)
    state = context.storage_state()
    context.close()
    return state


@contextmanager
def _ours(folder: Path, jobs: int) -> Iterator[Site]:
    server, api = RedisServer(folder).start(), ApiServer()
    try:
        asyncio.run(_fill(server.url, jobs))
        with api.serving() as url:
            gateway = GatewayProcess(url, server.url, folder / "gateway").start()
            try:
                assert gateway.process
                address = f"http://localhost:{gateway.port}/admin/queues/jobs"  # by name: cookies need no TLS then
                yield Site(address, FIRST_OF_OURS, gateway.process.pid, token("admin"))
            finally:
                gateway.kill()
    finally:
        server.kill()


async def _fill(url: str, jobs: int) -> None:
    dice = random.Random(1)
    rows = [build_row(number, dice) for number in range(jobs)]
    async with Store.connect(StoreAccess(url=url), name="bench") as store:
        await store.load_scripts()
        for first in range(0, jobs, BATCH):
            await store.index.keep({row.id: row for row in rows[first : first + BATCH]}, "bench")


@contextmanager
def _theirs(folder: Path, jobs: int) -> Iterator[Site]:
    server = RedisServer(folder).start()
    told: dict[str, Any] = {"port": server.port, "jobs": jobs, "text": TEXT}
    with subprocess.Popen(["node", "board.mjs", json.dumps(told)], cwd=BOARD, stdout=subprocess.PIPE) as board:
        try:
            assert board.stdout
            yield Site(json.loads(board.stdout.readline())["url"] + "/queue/bench", FIRST_OF_THEIRS, board.pid)
        finally:
            board.kill()
            server.kill()
