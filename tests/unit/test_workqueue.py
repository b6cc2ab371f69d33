"""The keyed queue: no hint is lost, no key has two workers, many hints are one look."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from batchjob.controller.workqueue import MAX_BACKOFF_SECONDS, Workqueue

Look = Callable[[str], Awaitable[None]]


async def run(queue: Workqueue[str], look: Look, until: asyncio.Event, workers: int = 4) -> None:
    """Work until the event is set, at most some seconds."""
    work = asyncio.ensure_future(queue.work(look, workers))
    try:
        async with asyncio.timeout(10):
            await until.wait()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_many_hints_are_one_look() -> None:
    queue: Workqueue[str] = Workqueue()
    looks: Counter[str] = Counter()
    done = asyncio.Event()

    async def look(key: str) -> None:
        looks[key] += 1
        if key == "last":
            done.set()

    for _ in range(500):
        queue.add("a")
    queue.add("last")
    await run(queue, look, done)
    assert looks == {"a": 1, "last": 1}


async def test_a_hint_during_a_look_is_one_more_look_and_never_two_at_once() -> None:
    queue: Workqueue[str] = Workqueue()
    running: Counter[str] = Counter()
    looks: Counter[str] = Counter()
    done = asyncio.Event()

    async def look(key: str) -> None:
        running[key] += 1
        assert running[key] == 1
        looks[key] += 1
        if looks[key] == 1:
            for _ in range(5):
                queue.add(key)
        await asyncio.sleep(0)
        running[key] -= 1
        if looks[key] == 2:
            done.set()

    queue.add("a")
    await run(queue, look, done)
    assert looks == {"a": 2}


async def test_the_earliest_of_several_delays_wins() -> None:
    queue: Workqueue[str] = Workqueue()
    looked = asyncio.Event()

    async def look(_: str) -> None:
        looked.set()

    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    await run(queue, look, looked)


async def test_a_delay_is_forgotten_when_the_key_is_looked_at_earlier() -> None:
    queue: Workqueue[str] = Workqueue()
    queue.add_after("a", 60)
    timer = queue._timers["a"]
    queue.add("a")
    assert timer.cancelled()
    queue.add_after("a", 60)
    assert queue._timers == {}, "it waits for a worker already"


async def test_back_off_grows_by_key_up_to_a_limit_and_starts_anew_after_success() -> None:
    queue: Workqueue[str] = Workqueue()
    waits = [queue.back_off("a") for _ in range(12)]
    assert waits[0] <= 0.5
    assert max(waits) <= MAX_BACKOFF_SECONDS
    assert min(waits[8:]) >= 0.8 * MAX_BACKOFF_SECONDS
    assert queue.back_off("b") <= 0.5, "another key has failures of its own"
    queue.forget_failures("a")
    assert queue.back_off("a") <= 0.5
    queue.clear()
    assert queue._timers == {}


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_slow_key_does_not_hold_the_others_unless_it_is_alone(workers: int) -> None:
    queue: Workqueue[str] = Workqueue()
    release, others = asyncio.Event(), asyncio.Event()

    async def look(key: str) -> None:
        if key == "slow":
            await release.wait()
        else:
            others.set()

    queue.add("slow")
    queue.add("quick")
    work = asyncio.ensure_future(queue.work(look, workers))
    for _ in range(10):
        await asyncio.sleep(0)
    assert others.is_set() == (workers > 1)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
