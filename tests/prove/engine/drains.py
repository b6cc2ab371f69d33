"""Workers get SIGTERM at random moments: what was not started is back within 2 s, nothing repeats, nothing is spent.

Every item finishes well within the grace period, so nothing is cut off.
"""

import asyncio
import json
import signal
from contextlib import suppress
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from batchjob.api.run import EXIT_DRAINED, Run
from batchjob.core.items import RunState
from batchjob.store.keys import run_key
from tests.support.crowd import Crowd, lines, spec
from tests.support.store_oracle import Oracle, chunk_range
from tests.support.workers import Workers, wait_for

WORKERS: Final = 3
ITEM_SECONDS: Final = 1.0
BACK_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.5
ITEMS_PER_DRAIN: Final = 60  # more than are done meanwhile


async def trial(
    workers: Workers, redis: Redis, drains: int, seed: int, back_seconds: float = BACK_SECONDS
) -> dict[str, Any]:
    """Drain so many workers of one run; returns what was counted. AssertionError where the promise does not hold.

    `back_seconds`: what was not started is back by then; a sample on a busy machine asks for less than the promise.
    """
    random = Random(seed)
    items = drains * ITEMS_PER_DRAIN
    lease_seconds = max(LEASE_SECONDS, 2 * back_seconds)  # what comes back because a lease ran out is not given back
    run = await workers.open(spec(parallelism=WORKERS, concurrency=4), lease_ms=round(lease_seconds * 1000))
    workers.reference(run, "source", items__jsonl=lines(items))
    returned = 0
    with Crowd(workers, run, ITEM_SECONDS, lease_seconds) as crowd:
        for _ in range(drains):
            crowd.fill(WORKERS)
            await asyncio.sleep(PAUSE_SECONDS * 2 * random.random())
            returned += await drain(crowd, redis, run, random.choice(sorted(crowd.living)), back_seconds)
        crowd.fill(WORKERS)
        found = await workers.wait(run, lambda s: s.state is RunState.CLOSED, "the run to end", seconds=300)
        effects = crowd.effects()
    counts = await Oracle(redis, run.uid).check()
    assert counts["succeeded"] == found.total == items
    assert set(effects.values()) == {1}, "an item ran again"
    assert len(effects) == items
    assert found.counts.retried_after_loss == 0
    attempts = {json.loads(result.result)["attempt"] async for result in workers.store.results(run.uid)}
    assert attempts == {1}, "an attempt was spent"
    await workers.store.revoke(run.uid)
    await workers.store.delete_run(run.uid)
    return {"drains": drains, "items": items, "repeats": 0, "items_given_back": returned}


async def drain(crowd: Crowd, redis: Redis, run: Run, name: str, back_seconds: float) -> int:
    """Drain one worker; returns how many items it held and had not started."""
    before = await idle_items(redis, run.uid, name)
    crowd.drain(name)

    async def has_given_back() -> bool | None:
        return True if not await idle_items(redis, run.uid, name) else None

    async def exit_code() -> int | None:
        return crowd.exit_code(name)

    with suppress(TimeoutError):
        async with asyncio.timeout(back_seconds):
            await wait_for(has_given_back, "what was not started to come back")
    assert await has_given_back(), "what was not started is not back"  # who looks may have been late too
    code = await wait_for(exit_code, "the worker to leave")
    # One that has only begun has nothing to give back, and no handler yet.
    assert code in {EXIT_DRAINED, -signal.SIGTERM}, f"it left with {code}"
    return before


async def idle_items(redis: Redis, uid: str, worker: str) -> int:
    """Items that a worker holds and has not started."""
    owners: Any = await redis.hgetall(run_key(uid, "owner"))
    idle = 0
    for chunk, owner in owners.items():
        _, declared, _, _, name = owner.decode().split("/", 4)
        if name == worker:
            idle += len(chunk_range(chunk.decode())) - int(declared)
    return idle
