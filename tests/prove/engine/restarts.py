"""Redis is killed and started again while workers work, and hangs for long: nothing is lost, nothing counted twice.

What Redis forgot of its last second runs again; so does what was in flight when every lease ran out in a hang. Results
of every other run go to a destination: what was sealed in that second is sealed again.
"""

import asyncio
from pathlib import Path
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.api.run import Run, StoreAccess
from batchjob.core.items import RunState
from batchjob.errors import StoreUnavailable
from batchjob.store import Store, keys
from tests.support.crowd import Crowd, lines, spec
from tests.support.redis_server import RedisServer
from tests.support.sealed import check_every_item, sealed_to
from tests.support.store_oracle import Oracle
from tests.support.workers import Workers, wait_for

WORKERS: Final = 3
LEASE_SECONDS: Final = 3.0
ITEM_SECONDS: Final = 0.5
LIFE_SECONDS: Final = 4.0  # of the server, at most
ITEMS_A_LIFE: Final = 200  # more than all workers do in the longest life: the hang must find a run that goes on


async def trial(folder: Path, lives: int, hang_seconds: float, seed: int) -> dict[str, Any]:
    """Kill the server so often, then freeze it once; returns what was counted. AssertionError where that is wrong."""
    random = Random(seed)
    items = (lives + 1) * ITEMS_A_LIFE
    (folder / "redis").mkdir(parents=True)
    server = RedisServer(folder / "redis").start()
    try:
        async with (
            Store.connect(StoreAccess(url=server.url), name="operator") as store,
            Redis.from_url(server.url) as redis,
        ):
            await store.load_scripts()
            workers = Workers(store, server.url, folder / "pods")
            place = sealed_to(workers.claim) if seed % 2 else {}
            run = await workers.open(spec(parallelism=WORKERS) | place, lease_ms=round(LEASE_SECONDS * 1000))
            workers.reference(run, "source", items__jsonl=lines(items))
            with Crowd(workers, run, ITEM_SECONDS, LEASE_SECONDS) as crowd:
                crowd.fill(WORKERS)
                if place:
                    await a_part(store, run)
                for _ in range(lives):
                    await asyncio.sleep(LIFE_SECONDS * random.random())
                    server.kill()
                    server.start()
                    await prepare(store, run)
                await all_hold(redis, run)
                server.freeze()
                await asyncio.sleep(hang_seconds)
                server.thaw()
                found = await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end", seconds=300)
                effects = crowd.effects()
                assert {crowd.exit_code(name) for name in crowd.living} <= {None, 0}, "a worker gave up"
            counts = await Oracle(redis, run.uid).check()
            assert counts["succeeded"] == found.total == items
            assert set(effects) == set(range(items)), "an item is missing"
            parts, rows = 0, len([result async for result in store.results(run.uid)])
            if place:
                assert not rows, "results are in the store and at the destination"
                parts = check_every_item(workers.claim / "out" / run.folder, items, found.manifest_sha256)
            assert place or rows == items
    finally:
        server.kill()
    return {
        "restarts": lives,
        "hang_seconds": hang_seconds,
        "items": items,
        "missing": 0,
        "repeats": effects.total() - items,
        "counted_after_loss": found.counts.retried_after_loss,
        "parts": parts,
    }


async def a_part(store: Store, run: Run) -> None:
    """Wait until a part is sealed: so the server is killed in the midst of it."""

    async def look() -> bool | None:
        return bool(await store.run(run.uid, "proof").sealed()) or None

    await wait_for(look, "a part to be sealed")


async def all_hold(redis: Redis, run: Run) -> None:
    """Wait until every worker has items under a lease: a hang that finds nothing in flight proves nothing."""

    async def look() -> bool | None:
        return await redis.hlen(keys.run_key(run.uid, "held")) == WORKERS or None

    await wait_for(look, "every worker to hold items")


async def prepare(store: Store, run: Run) -> None:
    """The operator's part after a restart: users and scripts live in the server's memory."""
    while True:
        try:
            await store.grant(run.uid, "secret")
        except StoreUnavailable:
            continue
        return
