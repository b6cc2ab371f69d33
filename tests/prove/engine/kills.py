"""Workers are killed again and again: nothing is missing, counts are exact, and only what was in flight repeats.

Each victim is frozen first, so that what the store says of it in flight is what dies with it. The source is loaded by
whoever lives long enough, so loaders are killed too.
"""

import asyncio
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.core.items import RunState
from tests.support.crowd import Crowd, lines, spec
from tests.support.store_oracle import Oracle
from tests.support.store_runs import started_items
from tests.support.workers import Workers

WORKERS: Final = 4
LEASE_SECONDS: Final = 1.5
ITEM_SECONDS: Final = 0.4
PAUSE_SECONDS: Final = 0.25
ITEMS_PER_KILL: Final = 20
EARLY: Final = 4  # of so many kills, one may come before the source is loaded


async def trial(workers: Workers, redis: Redis, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many workers of one run; returns what was counted. AssertionError where the promise does not hold."""
    random = Random(seed)
    items = kills * ITEMS_PER_KILL
    run = await workers.open(spec(parallelism=WORKERS), lease_ms=round(LEASE_SECONDS * 1000))
    workers.reference(run, "source", items__jsonl=lines(items))
    in_flight = killed = early = 0
    with Crowd(workers, run, ITEM_SECONDS, LEASE_SECONDS) as crowd:
        while killed < kills:
            crowd.fill(WORKERS)
            await asyncio.sleep(PAUSE_SECONDS * 2 * random.random())
            if (await workers.snapshot(run)).state is RunState.LOADING:
                early += 1
                if early > kills // EARLY:  # a slow machine would never get to the items
                    await workers.wait(run, lambda s: s.state is RunState.OPEN, "the source to be loaded")
                    continue
            victim = random.choice(sorted(crowd.living))
            crowd.freeze(victim)
            await redis.ping()  # what it had sent has arrived
            in_flight += await started_items(redis, run.uid, victim)
            crowd.kill(victim)
            killed += 1
        crowd.fill(WORKERS)
        found = await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end", seconds=300)
        effects = crowd.effects()
    counts = await Oracle(redis, run.uid).check()
    assert counts["succeeded"] == found.total == items
    assert set(effects) == set(range(items)), "an item is missing"
    repeats = effects.total() - items
    assert repeats <= in_flight, f"{repeats} items ran again, {in_flight} were in flight at the kills"
    assert found.counts.retried_after_loss <= in_flight
    results = [result async for result in workers.store.results(run.uid)]
    assert len(results) == items
    await workers.store.revoke(run.uid)
    await workers.store.delete_run(run.uid)
    return {
        "kills": killed,
        "items": items,
        "missing": 0,
        "in_flight": in_flight,
        "repeats": repeats,
        "counted_repeats": found.counts.retried_after_loss,
    }
