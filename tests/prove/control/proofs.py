"""The proofs of the control plane, and how many trials each takes in full."""

from pathlib import Path
from typing import Any, Final

from tests.prove.control import faults, kills, leaders, limits, scenarios
from tests.prove.control.stage import a_place
from tests.prove.proof import Proof

# The first has the writes that all have in common; of the others only what they have of their own is spoilt.
SPOILT: Final = (scenarios.resume, scenarios.scale, scenarios.cancel, scenarios.fail, scenarios.schedule)
TAKEOVERS: Final = 3  # of each kind


def kill(number: int, folder: Path) -> dict[str, Any]:
    return kills.trial(scenarios.SCENARIOS[number - 1], folder)


def spoil_writes(number: int, folder: Path) -> dict[str, Any]:
    scenario = SPOILT[number - 1]
    return faults.trial_of_writes(scenario, folder, leave_out=faults.IN_COMMON.get(scenario.__name__, ()))


def spoil_watches(number: int, folder: Path) -> dict[str, Any]:
    return faults.trial_of_watches(scenarios.create, folder, number, of=3)


def partition(_: int, folder: Path) -> dict[str, Any]:
    return leaders.trial_of_partitions(folder, cuts=10)


def take_over(_: int, folder: Path) -> dict[str, Any]:
    return leaders.trial_of_takeovers(folder, TAKEOVERS)


def keep_limits(number: int, folder: Path) -> dict[str, Any]:
    with a_place(folder) as place:
        return limits.trial(place, limits.FULL, seed=number)


PROOFS: Final = (
    Proof(
        "kills",
        "an operator that is killed before or after any write, and started again, comes to the same end",
        len(scenarios.SCENARIOS),
        kill,
    ),
    Proof("writes", "a write that fails in any way changes nothing of the end", len(SPOILT), spoil_writes),
    Proof("watches", "a watch that breaks or lies in any way changes nothing of the end", 3, spoil_watches),
    Proof(
        "partitions", "of two operators never do two write, though the leader is cut off from its Lease", 1, partition
    ),
    Proof(
        "limits", "no limit of a queue is broken in any version of 300 BatchJobs, and nobody jumps it", 2, keep_limits
    ),
    Proof("takeovers", "a leader that is killed or asked to go is followed", 1, take_over),
)
