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


async def order(queue: Workqueue[str], looks: int) -> list[str]:
    """The keys in the order in which a single worker looks at them."""
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        if len(seen) == looks:
            done.set()

    await run(queue, look, done, workers=1)
    return seen


async def test_what_is_to_be_started_goes_before_the_rest_which_has_its_share_of_looks() -> None:
    queue: Workqueue[str] = Workqueue()
    for number in range(2):
        queue.add(f"rest {number}")
    for number in range(7):
        queue.add(f"first {number}", first=True)
    assert queue.first_waiting == 7
    firsts = [f"first {number}" for number in range(7)]
    assert await order(queue, 9) == [*firsts[:3], "rest 0", *firsts[3:6], "rest 1", firsts[6]]
    assert queue.first_waiting == 0


async def test_groups_take_turns_in_both_lanes_and_their_own_go_as_they_came() -> None:
    queue: Workqueue[str] = Workqueue(group=lambda key: key[0])
    for number in range(600):
        queue.add(f"a{number}", first=number % 2 == 0)
    for key in ("b1", "b2", "c1"):
        queue.add(key, first=True)
    queue.add("b3")
    seen = await order(queue, 604)
    assert seen[:10] == ["a0", "b1", "c1", "a1", "a2", "b2", "a4", "b3", "a6", "a8"]
    assert len(set(seen)) == 604


async def test_a_key_that_waits_is_moved_before_the_others_and_is_looked_at_once() -> None:
    depths: list[float] = []
    queue: Workqueue[str] = Workqueue(depths.append)
    queue.add("a")
    queue.add("b")
    queue.add("b", first=True)
    queue.add("b")
    assert await order(queue, 2) == ["b", "a"]
    assert depths == [1, 2, 1, 0]


async def test_a_hint_that_goes_first_does_so_too_when_it_comes_during_a_look() -> None:
    queue: Workqueue[str] = Workqueue()
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        if seen == ["a"]:
            queue.add("b")
            queue.add("a", first=True)
            queue.add("a")
        elif len(seen) == 3:
            done.set()

    queue.add("a")
    await run(queue, look, done, workers=1)
    assert seen == ["a", "a", "b"]


async def test_a_look_that_fails_is_made_again_in_the_lane_that_it_came_from() -> None:
    seen: list[str] = []
    back, done = asyncio.Event(), asyncio.Event()

    def tell(_: float) -> None:
        if seen and queue.first_waiting:
            back.set()

    queue: Workqueue[str] = Workqueue(tell)

    async def look(key: str) -> None:
        seen.append(key)
        if key == "rest":
            await back.wait()
        if seen == ["start"]:
            queue.back_off(key)
            for name in ("rest", "more"):
                queue.add(name)
        elif len(seen) == 4:
            done.set()

    queue.add("start", first=True)
    await run(queue, look, done, workers=1)
    assert seen == ["start", "rest", "start", "more"]


async def test_a_key_is_expected_while_it_waits_for_a_worker_or_its_time() -> None:
    queue: Workqueue[str] = Workqueue()
    assert not queue.expects("a")
    queue.add_after("a", 60)
    assert queue.expects("a")
    queue.add("a")
    assert queue.expects("a")
    expected = asyncio.Event()

    async def look(key: str) -> None:
        assert queue.expects(key)
        expected.set()

    await run(queue, look, expected)
    assert not queue.expects("a")
    queue.add("a", first=True)
    queue.clear()
    assert not queue.expects("a")
