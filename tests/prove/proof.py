"""A proof, as a part lists it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Proof(NamedTuple):
    """One promise, and how it is tried: `run(number, folder)` is one trial and returns what it counted."""

    name: str
    promise: str
    trials: int
    run: Callable[[int, Path], dict[str, Any]]
