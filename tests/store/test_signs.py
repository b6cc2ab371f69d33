"""When workers were last heard: by what they hold, from the clock of the store."""

import time

from redis.asyncio import Redis

from batchjob.store import Store
from batchjob.store.keys import run_key
from tests.support.redis_server import RedisServer
from tests.support.store_runs import Runs, commit


async def test_a_worker_is_heard_when_it_renews_and_not_while_it_holds_nothing(runs: Runs, store: Store) -> None:
    uid, other = await runs.open(items=8, chunk=4), await runs.open(items=4, chunk=4)
    assert await store.signs([uid, other, "unknown"]) == {}
    await runs.claim(uid, want=4)
    before = time.time()
    [chunk] = (await store.run(uid, "w2").exchange([], 4, 4)).chunks
    first = await store.signs([uid, other])
    assert set(first) == {"w1", "w2"}
    assert abs(first["w2"] - before) < 5, "seconds since 1970, and no end of a lease"
    await store.run(uid, "w2").exchange([commit(chunk)], 0)  # a heartbeat
    second = await store.signs([uid])
    assert second["w2"] >= first["w2"]
    assert second["w1"] == first["w1"]


async def test_what_a_runs_user_wrote_by_hand_is_left_out(runs: Runs, store: Store, redis_server: RedisServer) -> None:
    uid, other = await runs.open(items=4, chunk=4), await runs.open(items=4, chunk=4)
    await runs.claim(uid)
    await runs.claim(other)
    async with Redis.from_url(redis_server.url) as redis:
        await redis.hset(run_key(uid, "owner"), mapping={"0+4/0-3": "words"})
        await redis.delete(run_key(other, "lease"))
        await redis.set(run_key(other, "lease"), "words")
    assert await store.signs([uid, other]) == {}
