"""A proof, as a part lists it, and one of its trials."""

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Proof(NamedTuple):
    """One promise, and how it is tried: `run(number, folder)` is one trial and returns what it counted."""

    name: str
    promise: str
    trials: int
    run: Callable[[int, Path], dict[str, Any]]


def trial(part: str, name: str, number: int) -> dict[str, Any]:
    """One trial, in a process that others may have had before: what is kept of it."""
    proof = next(proof for proof in proofs_of(part) if proof.name == name)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"prove-{name}-{number}-"))
    try:
        facts = proof.run(number, folder)
    except BaseException as error:
        error.add_note(f"trial {number} of {name}, which is kept in {folder}: {proof.promise}")
        raise
    shutil.rmtree(folder)
    return {"proof": name, "trial": number, "seconds": round(time.monotonic() - began, 1), "facts": facts}


def proofs_of(part: str) -> Sequence[Proof]:
    """The proofs of a part."""
    found: Sequence[Proof] = importlib.import_module(f"tests.prove.{part}.proofs").PROOFS
    return found


def at_once(part: str) -> int:
    """How many trials of a part go side by side."""
    found: int = importlib.import_module(f"tests.prove.{part}.proofs").AT_ONCE
    return found
