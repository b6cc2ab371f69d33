"""`python -m tests.prove engine|control [proof …]`: the trials of each proof that this commit has not passed yet.

A trial that holds is a line in `.state/prove/`, so a run that was interrupted goes on where it was. Once every proof
of the part is whole, their sums are written to `docs/proof/<part>.json`. A trial that does not hold ends the run with
its number: the same number is the same trial.
"""

import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from tests.prove.proof import Proof

REPOSITORY: Final = Path(__file__).parents[2]
STATE: Final = REPOSITORY / ".state" / "prove"
RESULTS: Final = REPOSITORY / "docs" / "proof"
PACKAGE: Final = ("__init__.py", "errors.py", "log.py", "metrics.py", "api", "core", "store", "worker")
SUPPORT: Final = (
    *("chaos", "crowd.py", "redis_server.py", "sealed.py", "workers.py"),
    *("store_machine.py", "store_oracle.py", "store_proxy.py", "store_runs.py"),
)
TOOLS: Final = ("tests/prove/__init__.py", "tests/prove/__main__.py", "tests/prove/proof.py", "uv.lock")
# What a result of a part is a result of: the product, the trials, what both import, and nothing else.
CODE: Final = {
    "engine": (
        *(f"operator/batchjob/{name}" for name in PACKAGE),
        "worker-image",
        "tests/prove/engine",
        *(f"tests/support/{name}" for name in SUPPORT),
        *TOOLS,
    ),
    "control": (
        *("operator", "worker-image", "charts", "tests/prove/control", "tests/support", "tests/localcluster"),
        "tests/chart/rendering.py",
        *TOOLS,
    ),
}


def main(arguments: list[str]) -> int:
    """Run a part, or some of its proofs."""
    part, *names = arguments or [""]
    if part not in CODE:
        sys.stderr.write(f"usage: python -m tests.prove {'|'.join(CODE)} [proof …]\n")
        return 64
    proofs: Sequence[Proof] = importlib.import_module(f"tests.prove.{part}.proofs").PROOFS
    if unknown := set(names) - {proof.name for proof in proofs}:
        sys.stderr.write(
            f"no such proof: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in proofs)}\n"
        )
        return 64
    code = version(CODE[part])
    if code is None:
        sys.stdout.write("the code is not committed: trials are run, and nothing of them is kept\n")
    state = STATE / f"{part}-{code}.jsonl"
    state.parent.mkdir(parents=True, exist_ok=True)
    if code is None:
        state.unlink(missing_ok=True)
    for proof in proofs:
        if not names or proof.name in names:
            prove(proof, state)
    done = read(state)
    if code is None or any(len(done.get(proof.name, ())) < proof.trials for proof in proofs):
        sys.stdout.write("no result is written: that takes every proof of the part, on committed code\n")
        return 0
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{part}.json").write_text(json.dumps(summary(part, proofs, done), indent=2) + "\n")
    return 0


def prove(proof: Proof, state: Path) -> None:
    """Run the trials that are not done yet."""
    done = read(state).get(proof.name, {})
    for number in range(1, proof.trials + 1):
        if number in done:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="prove-") as folder, told(proof, number):
            facts = proof.run(number, Path(folder))
        line = {"proof": proof.name, "trial": number, "seconds": round(time.monotonic() - began, 1), "facts": facts}
        with state.open("a") as file:
            file.write(json.dumps(line) + "\n")
        sys.stdout.write(f"{proof.name} {number}/{proof.trials} {line['seconds']} s {facts}\n")
        sys.stdout.flush()


@contextmanager
def told(proof: Proof, number: int) -> Iterator[None]:
    """Says which trial it was that did not hold."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"trial {number} of {proof.name}: {proof.promise}")
        raise


def read(state: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The trials that are done, by proof and number."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for line in state.read_text().splitlines() if state.exists() else ():
        entry = json.loads(line)
        found.setdefault(entry["proof"], {})[entry["trial"]] = entry
    return found


def summary(part: str, proofs: Sequence[Proof], done: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """What is kept: numbers are summed over the trials."""
    return {
        "part": part,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "HEAD"),
        "machine": {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
        "proofs": [
            {
                "name": proof.name,
                "promise": proof.promise,
                "trials": proof.trials,
                "seconds": round(sum(entry["seconds"] for entry in done[proof.name].values())),
                "facts": total([entry["facts"] for entry in done[proof.name].values()]),
            }
            for proof in proofs
        ],
    }


def total(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of each number that trials counted; of a name that begins with `most_`, the greatest."""
    names = dict.fromkeys(name for fact in facts for name in fact)
    return {
        name: (max if name.startswith("most_") else sum)(fact.get(name, 0) for fact in facts) for name in names
    }  # fmt: skip


def version(paths: Sequence[str]) -> str | None:
    """These paths as they are committed, as one word; None where they are not."""
    if git("status", "--porcelain", "--", *paths):
        return None
    return sha256(git("rev-parse", *(f"HEAD:{path}" for path in paths)).encode()).hexdigest()[:16]


def git(*arguments: str) -> str:
    """What git says."""
    return subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
