"""`python -m tests.prove engine|control|processors|gateway [proof …]`: the trials that this commit has not passed yet.

A trial that holds is a line in `.state/prove/`, so a run that was interrupted goes on where it was. Once every proof
of the part is whole, their sums are written to `docs/proof/<part>.json`, and the table there anew. A trial that does
not hold is told with its number, for the same number is the same trial, and its folder, with the logs, stays; the
others go on, and the run ends with 1.
"""

import functools
import json
import operator
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tests.prove import table
from tests.prove.proof import Proof, at_once, proofs_of, trial

REPOSITORY: Final = Path(__file__).parents[2]
STATE: Final = REPOSITORY / ".state" / "prove"
RESULTS: Final = REPOSITORY / "docs" / "proof"
PACKAGE: Final = (
    "__init__.py",
    "errors.py",
    "log.py",
    "memory.py",
    "metrics",
    "api",
    "core",
    "files",
    "store",
    "traces",
    "worker",
)
SUPPORT: Final = (
    *("chaos", "crowd.py", "ports.py", "redis_server.py", "sealed.py", "workers.py"),
    *("store_machine.py", "store_oracle.py", "store_proxy.py", "store_runs.py"),
)
TOOLS: Final = (*(f"tests/prove/{name}.py" for name in ("__init__", "__main__", "proof", "table")), "uv.lock")
# What a result of a part is a result of: the product, the trials, what both import, and nothing else.
CODE: Final = {
    "engine": (
        *(f"operator/batchjob/{name}" for name in PACKAGE),
        "worker-image",
        "tests/prove/engine",
        *(f"tests/support/{name}" for name in SUPPORT),
        *TOOLS,
    ),
    "processors": (
        *(f"operator/batchjob/{name}" for name in (*PACKAGE, "controller", "kube")),  # the figures are the operator's
        "worker-image",
        "tests/prove/processors",
        *("tests/support/chaos", "tests/support/neighbours"),
        *(f"tests/support/{name}.py" for name in ("ai_runs", "crew", "mailing", "manifests", "postgres_server")),
        *(f"tests/support/{name}.py" for name in ("ports", "redis_server", "reporting", "reviews", "workers")),
        *TOOLS,
    ),
    "gateway": (
        *("operator", "crds", "tests/chart/rendering.py", "tests/prove/gateway", "tests/support", "tests/localcluster"),
        *("tests/cluster/conftest.py", "tests/cluster/test_gateway_tenancy.py"),
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
    proofs = proofs_of(part)
    if unknown := set(names) - {proof.name for proof in proofs}:
        sys.stderr.write(
            f"no such proof: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in proofs)}\n"
        )
        return 64
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes are started: each would compile anew
    code = version(CODE[part])
    if code is None:
        sys.stdout.write("the code is not committed: trials are run, and nothing of them is kept\n")
    state = STATE / f"{part}-{code}.jsonl"
    state.parent.mkdir(parents=True, exist_ok=True)
    if code is None:
        state.unlink(missing_ok=True)
    if broken := prove(part, [proof for proof in proofs if not names or proof.name in names], state):
        sys.stdout.write(f"{broken} trials did not hold\n")
        return 1
    done = read(state)
    if code is None or any(len(done.get(proof.name, ())) < proof.trials for proof in proofs):
        sys.stdout.write("no result is written: that takes every proof of the part, on committed code\n")
        return 0
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{part}.json").write_text(json.dumps(summary(part, proofs, done), indent=2) + "\n")
    table.write(RESULTS)
    return 0


def prove(part: str, proofs: Sequence[Proof], state: Path) -> int:
    """Run the trials that are not done yet, as many at once as the part says; returns how many did not hold."""
    broken = 0
    done = read(state)
    wanted = [(p.name, n) for p in proofs for n in range(1, p.trials + 1) if n not in done.get(p.name, ())]
    with ProcessPoolExecutor(at_once(part), get_context("spawn")) as pool:
        trials = [pool.submit(trial, part, name, number) for name, number in wanted]
        for held in as_completed(trials):
            if error := held.exception():
                broken += 1
                sys.stdout.write("".join(traceback.format_exception(error)))
                sys.stdout.flush()
                continue
            line = held.result()
            with state.open("a") as file:
                file.write(json.dumps(line) + "\n")
            facts = {name: fact for name, fact in line["facts"].items() if not isinstance(fact, list)}
            sys.stdout.write(f"{line['proof']} {line['trial']} {line['seconds']} s {facts}\n")
            sys.stdout.flush()
    return broken


def read(state: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The trials that are done, by proof and number."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for line in state.read_text().splitlines() if state.exists() else ():
        entry = json.loads(line)
        found.setdefault(entry["proof"], {})[entry["trial"]] = entry
    return found


def summary(part: str, proofs: Sequence[Proof], done: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """What is kept: numbers are summed over the trials, lists are put together."""
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
                "facts": total([entry["facts"] for _, entry in sorted(done[proof.name].items())]),
            }
            for proof in proofs
        ],
    }


def total(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of each number and list that trials have; of a name that begins with `most_`, the greatest."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for fact in facts for name in fact):
        values = [fact[name] for fact in facts if name in fact]
        found[name] = max(values) if name.startswith("most_") else functools.reduce(operator.add, values)
    return found


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
