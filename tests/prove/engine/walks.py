"""A random walk through the lives of runs, with every invariant checked after every step (see store_machine)."""

from typing import Any, Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.store_machine import StoreMachine

STEPS: Final = 40  # of one run
WALK: Final = settings(
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes here: add Phase.shrink for a shorter story of a failure
    deadline=None,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),  # each step is a few round trips, and meant to be
)


def trial(url: str, runs: int, number: int) -> dict[str, Any]:
    """Walk through so many runs; AssertionError where an invariant does not hold."""
    machine: type[StoreMachine] = type("Machine", (StoreMachine,), {"url": url, "steps": 0})
    seed(number)(machine)
    run_state_machine_as_test(machine, settings=settings(WALK, max_examples=runs))
    return {"runs": runs, "steps": machine.steps}
