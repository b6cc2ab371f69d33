"""The proofs of the control plane, and how many trials each takes in full."""

from pathlib import Path
from typing import Any, Final

from tests.prove.control import kills
from tests.prove.control.scenarios import SCENARIOS
from tests.prove.proof import Proof


def kill(number: int, folder: Path) -> dict[str, Any]:
    return kills.trial(SCENARIOS[number - 1], folder)


PROOFS: Final = (
    Proof(
        "kills",
        "an operator that is killed before or after any write, and started again, comes to the same end",
        len(SCENARIOS),
        kill,
    ),
)
