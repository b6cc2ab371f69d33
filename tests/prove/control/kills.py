"""The operator is killed at every write that a scenario makes: before the API server has it, and after it was done.

A clean run through the proxy tells the writes and the states; then there is a trial for each write and each side.
"""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.prove.control.scenarios import Scenario, settings_of
from tests.prove.control.stage import LEASE, Actor, Place, Step, a_world, the_place
from tests.support.accounts import SYSTEM
from tests.support.cluster_jobs import LOOK_SECONDS
from tests.support.kubectl import wait_until
from tests.support.rights import refused

SIDES: Final = ("before", "after")
TRIES: Final = 3  # a run may take another way to the same end and never come to the point


class Point(NamedTuple):
    """A write of a clean run, and the side of it."""

    step: str
    write: str
    side: str


@contextmanager
def operators(place: Place, **settings: Any) -> Iterator[tuple[Actor, Actor]]:
    """The one that leads, and another that does not run; neither lacks a right. The Lease goes with them."""
    with Actor(place, "first", **settings) as first, Actor(place, "second", **settings) as second:
        first.start()
        first.wait_until_it_leads()
        yield first, second
        lacking = [words for actor in (first, second) for words in refused(actor.proxy.calls)]
        assert not lacking, f"the chart grants too little: {lacking[0]}"
    place.admin.within(SYSTEM)("delete", "lease", LEASE, "--ignore-not-found")


def trial(scenario: Scenario, side: str, folder: Path) -> dict[str, Any]:
    """A scenario, killed at every write on one side of it."""
    place = the_place()._replace(folder=folder)
    with operators(place, **settings_of(scenario)) as actors:
        clean = learn(place, actors, scenario)
        found = [point for point in points(clean) if point.side == side]
        lines = []
        for point in found:
            kill(place, actors, scenario, clean, point)
            lines.append(f"{scenario.__name__}: {point.step}: {point.side} {point.write}: the same end")
            sys.stdout.write(f"  {lines[-1]}\n")
            sys.stdout.flush()
    return {"kills": len(found), "points": lines}


def learn(place: Place, actors: Sequence[Actor], scenario: Scenario) -> list[Step]:
    """How it goes when nothing is spoilt."""
    with a_world(place, actors) as world:
        scenario(world)
        return world.steps


def points(clean: Sequence[Step]) -> list[Point]:
    """Every write of a clean run, from both sides."""
    found = [Point(step.name, write, side) for step in clean for write in step.writes for side in SIDES]
    assert len(set(found)) == len(found), "two steps of one name: the second would never be struck"
    return found


def kill(place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], point: Point) -> None:
    """One trial; AssertionError where the end is another one."""
    for _ in range(TRIES):
        if _kill(place, actors, scenario, clean, point):
            return
    raise AssertionError(f"never came to {point}")


def _kill(place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], point: Point) -> bool:
    revived: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool, a_world(place, actors, clean) as world:
        faults = []
        for actor in actors:

            def strike(victim: Actor = actor) -> None:
                victim.kill()
                revived.append(pool.submit(come_back, victim))

            def come_back(victim: Actor) -> None:
                world.in_between()
                victim.revive()

            faults.append(
                actor.proxy.inject(
                    "^(POST|PUT|PATCH|DELETE) ",
                    where=lambda call: (world.at, world.label(call)) == (point.step, point.write),
                    strike=strike,
                    lose_reply=point.side == "after",
                )
            )

        def all_back() -> None:
            if any(fault.hits for fault in faults):
                wait_until(lambda: revived, "the kill to be done", every=LOOK_SECONDS)
            for done in revived:
                done.result()

        world.all_back = all_back
        try:
            scenario(world)
        finally:
            for fault in faults:
                fault.times = fault.hits  # it is over
        return bool(revived)
