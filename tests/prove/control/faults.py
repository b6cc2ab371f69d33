"""One fault a trial, at each write and each watch of a scenario: the operator neither ends nor gives up, and the end
is the clean run's. Afterwards it is idle: not a write in a minute.

Faults of writes strike one world each, so several worlds are tried side by side; those of the Lease and of watches
strike the operator, and go one after the other.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.prove.control import scenarios
from tests.prove.control.kills import TRIES, learn, operators
from tests.prove.control.scenarios import Scenario, settings_of
from tests.prove.control.stage import Actor, Place, Step, World, a_world, the_place
from tests.prove.control.state import State
from tests.support.fault_proxy import HALF_A_LINE, status
from tests.support.kubectl import wait_until

RETRY_AFTER_SECONDS: Final = 2
WRITE_FAULTS: Final[dict[str, dict[str, Any]]] = {
    "lost reply": {"lose_reply": True},
    "hang": {"hang": True},
    "reset": {"reset": True},
    "409": {"answer": status(409, "Conflict")},
    "410": {"answer": status(410, "Expired")},
    "422": {"answer": status(422, "Invalid")},
    "429": {"answer": status(429, "TooManyRequests", retry_after=RETRY_AFTER_SECONDS)},
    "500": {"answer": status(500, "InternalError")},
    "503": {"answer": status(503, "ServiceUnavailable")},
}
REFUSALS: Final = frozenset({"409", "410", "422"})
IDLE_SECONDS: Final = 60.0
SIDE_BY_SIDE: Final = 4  # worlds: each waits most of the time
# Steps that several scenarios have are spoilt in one of them.
SHARED: Final[dict[str, Scenario]] = {
    "create": scenarios.create,
    "finish": scenarios.create,
    "suspend": scenarios.resume,
    "resume": scenarios.resume,
}


def error_event(code: int) -> bytes:
    """A watch's ERROR."""
    found = {"kind": "Status", "code": code, "message": "spoilt"}
    return json.dumps({"type": "ERROR", "object": found}).encode() + b"\n"


WATCH_FAULTS: Final[dict[str, dict[str, Any]]] = {
    "ERROR": {"end": error_event(500)},
    "ERROR 410": {"end": error_event(410)},
    "cut": {"end": b""},
    "cut in mid-line": {"end": HALF_A_LINE},
    "stall": {"stall": True},
    "duplicates": {"twice": True},
    "stale snapshot": {"end": error_event(410)},  # and the list that follows is an old one
}
# The scenario in which what is watched moves.
WATCHES: Final[dict[str, Scenario]] = {
    "/apis/batchjob.dev/v1alpha1/batchjobs": scenarios.create,
    "/apis/batch/v1/jobs": scenarios.create,
    "/apis/batchjob.dev/v1alpha1/batchqueues": scenarios.queue,
    "/apis/batchjob.dev/v1alpha1/batchschedules": scenarios.schedule,
    "/apis/batch/v1/cronjobs?schedule": scenarios.schedule,
    "/apis/batch/v1/jobs?schedule": scenarios.schedule,
    "/apis/batchjob.dev/v1alpha1/batchjobs?schedule": scenarios.schedule,
}


def trial_of_writes(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """A scenario, each of its writes spoilt in each way, unless another one has it too."""
    place = the_place()._replace(folder=folder)
    with operators(place, **settings_of(scenario)) as actors:
        clean = learn(place, actors, scenario)
        writes = [
            (step.name, write) for step in clean if SHARED.get(step.name, scenario) is scenario for write in step.writes
        ]

        def spoil(one: tuple[tuple[str, str], str]) -> None:
            at, how = one
            spoil_write(place, actors, scenario, clean, at, how)
            say(scenario, f"{at[0]}: {how} at {at[1]}")

        at_once = 1 if scenario is scenarios.takeover else SIDE_BY_SIDE
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(spoil, [(at, how) for at in writes for how in WRITE_FAULTS]))
        idle(place, actors, scenario, clean, IDLE_SECONDS)
    return told(scenario, [": ".join(at) for at in writes], WRITE_FAULTS)


def trial_of_watches(watch: str, folder: Path) -> dict[str, Any]:
    """A watch, spoilt in each way."""
    place, scenario = the_place()._replace(folder=folder), WATCHES[watch]
    with operators(place) as actors:
        wait_until(lambda: watches_of(actors[0]), "the watches that are spoilt", until=sorted(WATCHES).__eq__)
        clean = learn(place, actors, scenario)
        for how in WATCH_FAULTS:
            spoil_watch(place, actors, scenario, clean, watch, how)
            say(scenario, f"{how} of {watch}")
        idle(place, actors, scenario, clean, IDLE_SECONDS)
    return told(scenario, [watch], WATCH_FAULTS)


def told(scenario: Scenario, places: Sequence[str], faults: Sequence[str] | dict[str, Any]) -> dict[str, Any]:
    """What a trial found: where it struck, each time with the same end and then a minute without a write."""
    return {
        "places": len(places),
        "faults": len(places) * len(faults),
        "points": [f"{scenario.__name__}: {place}: {', '.join(faults)}: the same end" for place in places],
    }


def spoil_write(
    place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], at: tuple[str, str], how: str
) -> None:
    """One trial; AssertionError where the end is another one, or the operator ends."""
    _, write = at
    wanted = [without(step, write, how) for step in clean]
    fault = WRITE_FAULTS[how]
    if how == "409" and write.startswith("POST"):
        fault = {"answer": status(409, "AlreadyExists")}
    for _ in range(TRIES):
        with a_world(place, actors, wanted) as world:
            world.unwanted = lambda state: explained(state, write, how)
            faults = [
                actor.proxy.inject(
                    "^(POST|PUT|PATCH|DELETE) ",
                    where=lambda call: (world.at, world.label(call)) == at,
                    **fault,
                )
                for actor in actors
            ]
            try:
                scenario(world)
            finally:
                over(faults)
            if any(fault.hits for fault in faults):
                if how == "429":
                    must_wait(world, write)
                return
    raise AssertionError(f"never came to {at}")


def must_wait(world: World, write: str) -> None:
    """What was told when to come again did not come sooner."""
    calls = sorted(
        (call for actor in world.actors for call in actor.proxy.calls if world.label(call) == write),
        key=lambda call: call.at,
    )
    told = next(number for number, call in enumerate(calls) if call.status == 429)  # others may be of an earlier step
    waited = calls[told + 1].at - calls[told].at
    assert waited >= RETRY_AFTER_SECONDS, f"{write} came again after {waited:.1f} s"


def spoil_watch(
    place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], watch: str, how: str
) -> None:
    """One trial, with an operator that was just started: one whose watches broke lately waits longer each time."""
    actor = actors[0]
    actor.kill()
    actor.start()
    fault = dict(WATCH_FAULTS[how])
    if how != "duplicates":
        fault["lines"] = 1  # it is seen moving first
    faults = [actor.proxy.inject(f"^WATCH {re.escape(watch)}$", **fault)]
    if how == "stale snapshot":
        faults.append(actor.proxy.inject(f"^GET {re.escape(watch)}$", stale=True))
    wait_until(lambda: actor.proxy.open_watches, "watches to be open")
    actor.proxy.cut_watches(last=b"")
    wait_until(lambda: faults[0].hits, "the watch to be opened again")
    with a_world(place, actors, clean) as world:
        try:
            scenario(world)
        finally:
            over(faults)
    assert all(fault.hits for fault in faults), f"{how} did not strike {watch}"


def idle(place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], seconds: float) -> None:
    """After a clean run, wait until nobody has written anything but renewals for so long."""
    with a_world(place, actors, clean) as world:
        scenario(world)
        ended = time.monotonic()

        def quiet_seconds() -> float:
            return time.monotonic() - last_write(world, actors, ended)

        wait_until(quiet_seconds, f"{seconds} s without a write", until=lambda quiet: quiet >= seconds)


def last_write(world: World, actors: Sequence[Actor], since: float) -> float:
    """When the last write but for renewals was; at least `since`."""
    calls = (call for actor in actors for call in list(actor.proxy.calls) if call.is_write)
    return max([since, *(call.at for call in calls if world.label(call) or "/leases" not in call.path)])


def watches_of(actor: Actor) -> list[str]:
    """The path of each watch that it has opened."""
    return sorted({call.path for call in actor.proxy.calls if call.is_watch})


def explained(state: State, write: str, how: str) -> State:
    """Without what the fault itself explains: that it was said, and an Event that was refused."""
    reasons = {"Refused"}
    if how in REFUSALS and write.startswith("POST events"):
        reasons.add(write.rpartition(" ")[2])
    return state | {"events": [event for event in state["events"] if event[1] not in reasons]}


def without(step: Step, write: str, how: str) -> Step:
    """The step as it is to be compared."""
    return step._replace(state=explained(step.state, write, how))


def over(faults: Sequence[Any]) -> None:
    """From now on they strike nobody."""
    for fault in faults:
        fault.times = fault.hits


def say(scenario: Scenario, what: str) -> None:
    """A line for each trial."""
    sys.stdout.write(f"  {scenario.__name__}: {what}: the same end\n")
    sys.stdout.flush()
