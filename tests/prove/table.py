"""The fault table: the last result of each part, as a page for people."""

import json
from pathlib import Path
from typing import Any, Final

NAME: Final = "README.md"
HEAD: Final = """\
# What was proven

Written by `make prove` from the results beside it: each promise was tried so often, against real servers and real
processes, and held in every trial. What was counted is summed over the trials, and is the greatest of them where it
says "most". `make test` runs samples of the same trials with fixed seeds. A trial that does not hold ends the run with
its number, and leaves no result.
"""


def write(folder: Path) -> None:
    """Write the table from every result in the folder."""
    parts = [_part(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    (folder / NAME).write_text("\n".join([HEAD, *parts]))


def _part(result: dict[str, Any]) -> str:
    machine, minutes = result["machine"], sum(proof["seconds"] for proof in result["proofs"]) / 60
    rows = [
        f"| {proof['promise']} | {proof['name']} | {proof['trials']} | {_facts(proof['facts'])} |"
        for proof in result["proofs"]
    ]
    return "\n".join([
        f"## {result['part']}, {result['at'][:10]}",
        "",
        f"Commit {result['commit'][:12]}, {machine['cpus']} cores, Python {machine['python']}; {minutes:,.0f} minutes.",
        "",
        "| promise | proof | trials | counted |",
        "|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def _facts(facts: dict[str, Any]) -> str:
    numbers = {name: fact for name, fact in facts.items() if isinstance(fact, int | float)}
    return " · ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in numbers.items())
