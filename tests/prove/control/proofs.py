"""The proofs of the control plane, and how many trials each takes in full."""

import itertools
from pathlib import Path
from typing import Any, Final

from tests.prove.control import absence, faults, kills, leaders, limits
from tests.prove.control.scenarios import SCENARIOS, delete, delete_while_down
from tests.prove.control.stage import a_place, the_place
from tests.prove.proof import Proof

KILLED: Final = list(itertools.product(SCENARIOS, kills.SIDES))
SPOILT: Final = [one for one in SCENARIOS if one not in {delete, delete_while_down}]  # these write nothing of their own
WATCHED: Final = list(faults.WATCHES)
AT_ONCE: Final = 2  # trials: each waits half of the time
AWAY_SECONDS: Final = 600.0
TAKEOVERS: Final = 3  # of each kind


def kill(number: int, folder: Path) -> dict[str, Any]:
    return kills.trial(*KILLED[number - 1], folder)


def spoil_writes(number: int, folder: Path) -> dict[str, Any]:
    return faults.trial_of_writes(SPOILT[number - 1], folder)


def spoil_watches(number: int, folder: Path) -> dict[str, Any]:
    return faults.trial_of_watches(WATCHED[number - 1], folder)


def partition(_: int, folder: Path) -> dict[str, Any]:
    return leaders.trial_of_partitions(folder, cuts=5)


def stop(_: int, folder: Path) -> dict[str, Any]:
    return leaders.trial_of_stops(folder, 2 * leaders.STOPPED_AT)


def take_over(_: int, folder: Path) -> dict[str, Any]:
    return leaders.trial_of_takeovers(folder, TAKEOVERS)


def be_away(_: int, folder: Path) -> dict[str, Any]:
    place = the_place()._replace(folder=folder)
    with kills.operators(place) as actors:
        return absence.trial(place, actors, AWAY_SECONDS)


def keep_limits(number: int, folder: Path) -> dict[str, Any]:
    with a_place(folder) as place:
        return limits.trial(place, limits.FULL, seed=number)


PROOFS: Final = (
    Proof(
        "kills",
        "an operator that is killed before or after any write, and started again, comes to the same end",
        len(KILLED),
        kill,
    ),
    Proof("writes", "a write that fails in any way changes nothing of the end", len(SPOILT), spoil_writes),
    Proof("watches", "a watch that breaks or lies in any way changes nothing of the end", len(WATCHED), spoil_watches),
    Proof(
        "partitions", "of two operators never do two write, though the leader is cut off from its Lease", 2, partition
    ),
    Proof("stops", "a leader that stood still sends no write when it goes on after another has led", 2, stop),
    Proof(
        "takeovers",
        "a leader that is killed is followed within 20 s, and one that is asked to go within 2 s, to the first write",
        1,
        take_over,
    ),
    Proof("absence", "an API server that is away for ten minutes is waited for, and nothing is lost", 1, be_away),
    Proof(
        "limits", "no limit of a queue is broken in any version of 300 BatchJobs, and nobody jumps it", 2, keep_limits
    ),
)
