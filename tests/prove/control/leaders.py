"""Two operators: never do two of them write, whatever is cut between them and the Lease, and whoever dies is followed.

The times of the proxies' logs tell who wrote when: once the second has written, nothing of the first is accepted; and
of a first that stood still nothing is even sent.
"""

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.prove.control.stage import LEASE, Actor, Place, World, a_world, the_place
from tests.support.accounts import SYSTEM
from tests.support.fault_proxy import Call
from tests.support.kubectl import wait_until

LEASES: Final = " .*/leases"
SHORT: Final = {"lease_seconds": 4, "lease_renew_seconds": 2}  # for quick trials
WRITES: Final = 5  # of the second, until the first may go on
PATIENCE_SECONDS: Final = 90.0  # for a takeover, so that its figure is known where it takes longer than it may
KILL_SECONDS: Final = 20.0  # promised of a takeover: the Lease, and a look at what there is
SIGTERM_SECONDS: Final = 2.0
# Writes of the first in whose middle it stands still; the next is a moment away when it goes on.
STOPPED_AT: Final = ("POST .*/jobs$", "POST .*/secrets$", "PATCH .*/batchjobs/.*/status$")


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


def trial_of_stops(folder: Path, places: Sequence[str]) -> dict[str, Any]:
    """The leader stands still in the middle of a write (SIGSTOP) until another one has led for a while."""
    place = the_place()._replace(folder=folder)
    with two(place, **SHORT) as (first, second), a_world(place, (first, second)) as world:
        pairs = itertools.cycle([(first, second), (second, first)])
        refused = sum(stop(world, *next(pairs), where, f"run{n}") for n, where in enumerate(places))
    assert refused, "whoever stood still never came to write: the stops were longer than a call may take"
    return {"stops": len(places), "looks_that_were_kept_from_writing": refused}


def stop(world: World, first: Actor, second: Actor, where: str, name: str) -> int:
    """One stop at the first write that matches `where`; returns how many looks were kept from writing when it went on.

    The answer of that write waits for the process, so the next step of its plan is the first that it comes to, unless
    the stop took longer than a call may.
    """
    first.wait_until_it_leads()
    marks = {actor: len(actor.proxy.calls) for actor in (first, second)}

    def sent(actor: Actor) -> list[Call]:
        return [call for call in actor.proxy.calls[marks[actor] :] if is_ours(world, call)]

    def refused() -> int:
        return sum(line["kind"] == "NotLeading" for line in first.process.logged("reconcile failed"))

    before = refused()
    fault = first.proxy.inject(
        where, where=lambda call: is_ours(world, call), meanwhile=lambda: first.process.send(signal.SIGSTOP)
    )
    slots = itertools.cycle((2, 3, 1))

    def wrote() -> bool:
        world.change(name, parallelism=next(slots))
        return bool(sent(second))

    try:
        world.apply(name, parallelism=1)
        wait_until(wrote, f"{second.name} to write", every=0.05)
    finally:
        first.process.send(signal.SIGCONT)
    assert fault.hits, f"{first.name} never came to {where}"
    wait_until(lambda: first.process.metric("batchjob_is_leader") == 0, f"{first.name} to stand by", every=0.05)
    began = min(call.at for call in sent(second))
    late = [call for call in sent(first) if call.at >= began]
    assert not late, f"{first.name} wrote when it went on: {late}"
    return refused() - before


def is_ours(world: World, call: Call) -> bool:
    """Whether a call is a write for the world's namespace."""
    return call.is_write and f"/namespaces/{world.jobs.kubectl.namespace}/" in call.path


def trial_of_takeovers(folder: Path, turns: int) -> dict[str, Any]:
    """The leader is killed, or asked to go, with the times of an installation; the other one writes soon."""
    killed: list[float] = []
    left: list[float] = []
    usual = {"lease_seconds": 15, "lease_renew_seconds": 10, "lease_retry_seconds": 2}
    place = the_place()._replace(folder=folder)
    with two(place, **usual) as (one, other), a_world(place, (one, other)) as world:
        pairs = itertools.cycle([(one, other), (other, one)])
        for turn in range(turns):
            for seconds, how in ((killed, "kill"), (left, "leave")):
                first, second = next(pairs)
                seconds.append(take_over(world, first, second, getattr(first, how), f"{how}{turn}"))
                first.start()
    facts = {
        "kills": len(killed),
        "most_seconds_after_a_kill": round(max(killed), 2),
        "leaves": len(left),
        "most_seconds_after_sigterm": round(max(left), 2),
    }
    assert max(killed) <= KILL_SECONDS, facts
    assert max(left) <= SIGTERM_SECONDS, facts
    return facts


def take_over(world: World, first: Actor, second: Actor, end: Callable[[], None], name: str) -> float:
    """The seconds from the end of the one until the other writes; there is always something to write."""
    first.wait_until_it_leads()
    world.apply(name, parallelism=1)
    world.running(name)
    mark, slots = len(second.proxy.calls), itertools.cycle((1, 2, 3))

    def wrote() -> bool:
        world.change(name, parallelism=next(slots))
        return any(is_ours(world, call) for call in second.proxy.calls[mark:])

    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        ended = pool.submit(end)
        wait_until(wrote, f"{second.name} to write", timeout=PATIENCE_SECONDS, every=0.05)
        ended.result()
    return min(call.at for call in second.proxy.calls[mark:] if is_ours(world, call)) - began
