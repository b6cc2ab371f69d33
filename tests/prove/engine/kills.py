"""Workers are killed again and again: nothing is missing, counts are exact, and only what was in flight repeats.

Each victim is frozen first, so that what the store says of it in flight is what dies with it. The source is loaded by
whoever lives long enough, so loaders are killed too. Results of every other run go to a destination, sealed by one of
the workers: whoever that is may be killed as well.
"""

import asyncio
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.core.items import RunState
from batchjob.store.keys import run_key
from tests.support.crowd import Crowd, lines, spec
from tests.support.sealed import check_every_item, sealed_to
from tests.support.store_oracle import Oracle
from tests.support.store_runs import started_items
from tests.support.workers import Workers, wait_for

WORKERS: Final = 4
LEASE_SECONDS: Final = 5.0  # survivors have it too, and are not to lose it on a busy machine
ITEM_SECONDS: Final = 0.4
PAUSE_SECONDS: Final = 0.25
ITEMS_PER_KILL: Final = 20
EARLY: Final = 4  # of so many kills, one may come before the source is loaded


async def trial(workers: Workers, redis: Redis, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many workers of one run; returns what was counted. AssertionError where the promise does not hold."""
    random = Random(seed)
    items = kills * ITEMS_PER_KILL
    place = sealed_to(workers.claim) if seed % 2 else {}
    run = await workers.open(spec(parallelism=WORKERS) | place, lease_ms=round(LEASE_SECONDS * 1000))
    workers.reference(run, "source", items__jsonl=lines(items))
    in_flight = killed = early = sealers = 0
    with Crowd(workers, run, ITEM_SECONDS, LEASE_SECONDS) as crowd:
        while killed < kills:
            crowd.fill(WORKERS)
            await asyncio.sleep(PAUSE_SECONDS * 2 * random.random())
            is_loading = (await workers.snapshot(run)).state is RunState.LOADING
            if is_loading:
                early += 1
                if early > kills // EARLY:  # a slow machine would never get to the items
                    await workers.wait(run, lambda s: s.state is RunState.OPEN, "the source to be loaded")
                    continue
            # The first to die of those that work is the one that seals: chance alone might spare it.
            finds = place and not sealers and not is_loading
            victim = await who_seals(redis, run.uid, crowd) if finds else random.choice(sorted(crowd.living))
            crowd.freeze(victim)
            await redis.ping()  # what it had sent has arrived
            in_flight += await started_items(redis, run.uid, victim)
            sealers += await sealer(redis, run.uid) == victim
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
    parts, rows = 0, len([result async for result in workers.store.results(run.uid)])
    if place:
        assert sealers, "nobody who sealed was killed"
        assert not rows, "results are in the store and at the destination"
        parts = check_every_item(workers.claim / "out" / run.folder, items, found.manifest_sha256)
    assert place or rows == items
    await workers.store.revoke(run.uid)
    await workers.store.delete_run(run.uid)
    return {
        "kills": killed,
        "items": items,
        "missing": 0,
        "in_flight": in_flight,
        "repeats": repeats,
        "counted_repeats": found.counts.retried_after_loss,
        "sealers_killed": sealers,
        "parts": parts,
    }


async def sealer(redis: Redis, uid: str) -> str | None:
    """The worker that holds the seal lease."""
    duty: Any = await redis.hgetall(run_key(uid, "duty"))
    return duty[b"worker"].decode() if duty.get(b"kind") == b"seal" else None


async def who_seals(redis: Redis, uid: str, crowd: Crowd) -> str:
    """The same, once there is one and it lives."""

    async def look() -> str | None:
        found = await sealer(redis, uid)
        return found if found in crowd.living else None

    return await wait_for(look, "somebody to seal")
