"""Rates that workers share: never more than the limit, nobody waits in vain, and a hold is for all."""

import asyncio

from redis.asyncio import Redis

from batchjob.core.rates import Rate
from batchjob.store import RunStore, Store
from batchjob.store.keys import RATE_PREFIX

EACH_100_MS = Rate(100_000, 1)


async def take(run: RunStore, name: str, rate: Rate) -> float:
    """Seconds until the unit may be used."""
    taken, wait = await run.take_rate(name, rate, 1, 60)
    assert taken
    return wait


async def next_us(redis: Redis, name: str) -> int:
    """When the next unit would be due, by the server's clock."""
    found = await redis.hget(RATE_PREFIX + name, "next")
    assert found
    return int(found)


async def test_units_come_one_after_the_other_whoever_takes_them(store: Store, redis: Redis) -> None:
    first, second = store.run("a", "w1"), store.run("b", "w2")
    await take(first, "shared", EACH_100_MS)
    began = await next_us(redis, "shared")
    await asyncio.gather(*(take(run, "shared", EACH_100_MS) for run in [first, second] * 10))
    assert await next_us(redis, "shared") - began >= 20 * 100_000


async def test_a_burst_comes_at_once_and_then_the_rate_holds(store: Store) -> None:
    run = store.run("a", "w1")
    waits = [await take(run, "bursts", Rate(10_000_000, 5)) for _ in range(7)]
    assert waits[:5] == [0] * 5
    assert 0 < waits[5] <= 10 < waits[6] <= 20


async def test_a_heavy_unit_takes_the_room_of_several(store: Store, redis: Redis) -> None:
    run = store.run("a", "w1")
    assert await run.take_rate("weights", EACH_100_MS, 1, 60) == (True, 0)
    before = await next_us(redis, "weights")
    await run.take_rate("weights", EACH_100_MS, 20, 60)
    assert await next_us(redis, "weights") - before >= 20 * 100_000


async def test_what_is_beyond_the_horizon_is_not_taken_and_takes_nothing(store: Store) -> None:
    run = store.run("a", "w1")
    slow = Rate(10_000_000, 1)
    assert await run.take_rate("far", slow, 1, 1) == (True, 0)
    for _ in range(3):
        taken, wait = await run.take_rate("far", slow, 1, 1)
        assert not taken
        assert 5 < wait <= 10


async def test_what_is_heavier_than_the_horizon_has_its_turn_and_waits_for_its_own_weight(store: Store) -> None:
    run, slow = store.run("a", "w1"), Rate(100_000_000, 1)  # so slow that how long the calls take does not show
    taken, wait = await run.take_rate("heavy", slow, 20, 5)
    assert (taken, round(wait, -2)) == (True, 1900)
    taken, wait = await run.take_rate("heavy", slow, 1, 5)
    assert (taken, round(wait, -2)) == (False, 2000), "others wait until it is over"
    taken, wait = await run.take_rate("heavy", slow, 20, 5)
    assert (taken, round(wait, -2)) == (False, 2000), "and so does another of its weight, as long as they do"
    await run.hold_rate("told", 3000)
    taken, wait = await run.take_rate("told", slow, 20, 5)
    assert (taken, round(wait, -2)) == (False, 3000)


async def test_a_hold_is_for_everybody_and_the_longest_counts(store: Store) -> None:
    await store.run("a", "w1").hold_rate("held", 30)
    await store.run("a", "w1").hold_rate("held", 5)
    taken, wait = await store.run("b", "w2").take_rate("held", Rate.per_minute(None), 1, 1)
    assert not taken
    assert 25 < wait <= 30


async def test_a_rate_that_says_nothing_any_more_is_forgotten(store: Store, redis: Redis) -> None:
    await store.run("a", "w1").take_rate("short", Rate(10_000_000, 1), 1, 60)
    assert 0 < await redis.pttl(RATE_PREFIX + "short") <= 11_000
