"""One fault a trial, at each write and each watch of a scenario: the operator neither ends nor gives up, and the end
is the clean run's. Afterwards it is idle: not a write in a minute.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.prove.control.kills import TRIES, learn, operators
from tests.prove.control.scenarios import Scenario, lease_of
from tests.prove.control.stage import Actor, Place, Step, World, a_place, a_world
from tests.prove.control.state import State
from tests.support.fault_proxy import HALF_A_LINE, status
from tests.support.kubectl import wait_until

WRITE_FAULTS: Final[dict[str, dict[str, Any]]] = {
    "lost reply": {"lose_reply": True},
    "hang": {"hang": True},
    "reset": {"reset": True},
    "409": {"answer": status(409, "Conflict")},
    "410": {"answer": status(410, "Expired")},
    "422": {"answer": status(422, "Invalid")},
    "429": {"answer": status(429, "TooManyRequests", retry_after=1)},
    "500": {"answer": status(500, "InternalError")},
    "503": {"answer": status(503, "ServiceUnavailable")},
}
REFUSALS: Final = frozenset({"409", "410", "422"})
IDLE_SECONDS: Final = 60.0
IN_COMMON: Final = {"scale": ("create", "finish"), "cancel": ("create",)}  # steps that `resume` has too


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


def trial_of_writes(scenario: Scenario, folder: Path, *, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """A scenario, each of its writes spoilt in each way; steps to `leave_out` are another scenario's too."""
    with a_place(folder) as place, operators(place, **lease_of(scenario)) as actors:
        clean = learn(place, actors, scenario)
        writes = [(step.name, write) for step in clean if step.name not in leave_out for write in step.writes]
        for step, write in writes:
            for how in WRITE_FAULTS:
                spoil_write(place, actors, scenario, clean, (step, write), how)
                say(scenario, f"{step}: {how} at {write}")
        idle(place, actors, scenario, clean, IDLE_SECONDS)
    trials = len(writes) * len(WRITE_FAULTS)
    return {"writes": len(writes), "faults": trials, "exits": 0, "other_ends": 0, "idle_writes": 0}


def trial_of_watches(scenario: Scenario, folder: Path, number: int, of: int) -> dict[str, Any]:
    """Every `of`th watch, spoilt in each way."""
    with a_place(folder) as place, operators(place) as actors:
        clean = learn(place, actors, scenario)
        watches = watches_of(actors[0])[number - 1 :: of]
        for watch in watches:
            for how in WATCH_FAULTS:
                spoil_watch(place, actors, scenario, clean, watch, how)
                say(scenario, f"{how} of {watch}")
        idle(place, actors, scenario, clean, IDLE_SECONDS)
    trials = len(watches) * len(WATCH_FAULTS)
    return {"watches": len(watches), "faults": trials, "exits": 0, "other_ends": 0, "idle_writes": 0}


def spoil_write(
    place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], at: tuple[str, str], how: str
) -> None:
    """One trial; AssertionError where the end is another one, or the operator ends."""
    _, write = at
    wanted = [without(step, write, how) for step in clean]
    told = WRITE_FAULTS[how]
    if how == "409" and write.startswith("POST"):
        told = {"answer": status(409, "AlreadyExists")}
    for _ in range(TRIES):
        with a_world(place, actors, wanted) as world:
            world.unwanted = lambda state: explained(state, write, how)
            faults = [
                actor.proxy.inject(
                    "^(POST|PUT|PATCH|DELETE) ",
                    where=lambda call: (world.at, world.label(call)) == at,
                    **told,
                )
                for actor in actors
            ]
            try:
                scenario(world)
            finally:
                over(faults)
            if any(fault.hits for fault in faults):
                return
    raise AssertionError(f"never came to {at}")


def spoil_watch(
    place: Place, actors: Sequence[Actor], scenario: Scenario, clean: Sequence[Step], watch: str, how: str
) -> None:
    """One trial, with an operator that was just started: one whose watches broke lately waits longer each time."""
    actor = actors[0]
    actor.kill()
    actor.start()
    told = dict(WATCH_FAULTS[how])
    if how != "duplicates":
        # BatchJobs and their Jobs are seen moving first; of the others nothing moves.
        told["lines"] = 1 if watch.endswith(("/batchjobs", "/jobs")) else 0
    faults = [actor.proxy.inject(f"^WATCH {watch_pattern(watch)}$", **told)]
    if how == "stale snapshot":
        faults.append(actor.proxy.inject(f"^GET {watch_pattern(watch)}$", stale=True))
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


def watch_pattern(path: str) -> str:
    """As a regular expression."""
    return path.replace("?", r"\?").replace(".", r"\.")


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
