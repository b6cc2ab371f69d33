"""Two operators: never do two of them write, whatever is cut between them and the Lease, and whoever dies is followed.

The times of the proxies' logs tell who wrote when: once the second has written, nothing of the first is accepted.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.prove.control.stage import LEASE, Actor, Place, World, a_world, the_place
from tests.support.accounts import SYSTEM
from tests.support.fault_proxy import Call
from tests.support.kubectl import wait_until

LEASES: Final = " .*/leases"
SHORT: Final = {"lease_seconds": 4, "lease_renew_seconds": 2}  # with its usual ratio, but for a quick trial
WRITES: Final = 5  # of the second, until the first may hear of the Lease again
LIMIT_SECONDS: Final = 90.0  # four times what is promised of a takeover, for a busy machine; the figure is a fact


@contextmanager
def two(place: Place, **settings: Any) -> Iterator[tuple[Actor, Actor]]:
    """One that leads and one that stands by."""
    with Actor(place, "first", **settings) as first, Actor(place, "second", **settings) as second:
        first.start()
        first.wait_until_it_leads()
        second.start()
        yield first, second
    place.admin.within(SYSTEM)("delete", "lease", LEASE, "--ignore-not-found")


def trial_of_partitions(folder: Path, cuts: int) -> dict[str, Any]:
    """The leader is cut off from its Lease, again and again, while there is always something to write."""
    place = the_place()._replace(folder=folder)
    with two(place, **SHORT) as (first, second), a_world(place, (first, second)) as world:
        world.apply(parallelism=1)
        world.running()
        facts = [
            cut(world, *pair) for pair in itertools.islice(itertools.cycle([(first, second), (second, first)]), cuts)
        ]
    return {
        "partitions": cuts,
        "two_writers": 0,
        "writes_before": sum(fact[0] for fact in facts),
        "writes_after": sum(fact[1] for fact in facts),
        "most_seconds_without_a_writer": round(max(fact[2] for fact in facts), 2),
    }


def cut(world: World, first: Actor, second: Actor) -> tuple[int, int, float]:
    """One partition; returns the writes of both, and the seconds between them."""
    first.wait_until_it_leads()
    marks = {actor: len(actor.proxy.calls) for actor in (first, second)}
    slots = itertools.cycle((1, 2, 3))

    def written(actor: Actor) -> list[Call]:
        return [call for call in actor.proxy.calls[marks[actor] :] if call.status // 100 == 2 and is_ours(world, call)]

    def busy(actor: Actor, enough: int) -> Callable[[], bool]:
        def look() -> bool:
            world.change(parallelism=next(slots))
            return len(written(actor)) >= enough

        return look

    wait_until(busy(first, WRITES), "the first to write", every=0.05)
    fault = first.proxy.inject(LEASES, hang=True, times=1_000_000)
    try:
        wait_until(busy(second, WRITES), "the second to write", every=0.05)
    finally:
        fault.times = fault.hits
    assert fault.hits, "the first never asked for its Lease"
    theirs, ours = written(first), written(second)
    began = min(call.at for call in ours)
    late = [call for call in theirs if (call.answered_at or call.at) >= began]
    assert not late, f"{first.name} wrote after {second.name} had: {late}"
    return len(theirs), len(ours), began - max(call.at for call in theirs)


def is_ours(world: World, call: Call) -> bool:
    """Whether a call is a write for the world's namespace."""
    return call.is_write and f"/namespaces/{world.jobs.kubectl.namespace}/" in call.path


def trial_of_takeovers(folder: Path, turns: int) -> dict[str, Any]:
    """The leader is killed, or asked to go, with the times of an installation; the other one leads soon."""
    killed: list[float] = []
    left: list[float] = []
    usual = {"lease_seconds": 15, "lease_renew_seconds": 10, "lease_retry_seconds": 2}
    with two(the_place()._replace(folder=folder), **usual) as (one, other):
        pairs = itertools.cycle([(one, other), (other, one)])
        for _ in range(turns):
            for seconds, is_killed in ((killed, True), (left, False)):
                first, second = next(pairs)
                seconds.append(take_over(first, second, first.kill if is_killed else first.leave))
                first.start()
    return {
        "kills": len(killed),
        "most_seconds_after_a_kill": round(max(killed), 2),
        "leaves": len(left),
        "most_seconds_after_sigterm": round(max(left), 2),
    }


def take_over(first: Actor, second: Actor, end: Callable[[], None]) -> float:
    """The seconds from the end of the one until the other leads."""
    first.wait_until_it_leads()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        ended = pool.submit(end)
        wait_until(
            lambda: second.process.metric("batchjob_is_leader"),
            f"{second.name} to lead",
            timeout=LIMIT_SECONDS,
            every=0.05,
        )
        seconds = time.monotonic() - began
        ended.result()
    return seconds
