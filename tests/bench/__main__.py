"""`python -m tests.bench [part …] [--scale 0.01]`: JSON lines on the output, kept below .state/bench, and a table.

`--scale`: the share of the full counts, for a quick try.
"""

import argparse
import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

PARTS: Final = ("items", "control", "exports", "submissions", "index", "live", "pages", "cli")
KEPT: Final = Path(".state/bench")


def main() -> int:
    """Run the parts named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    told = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    for part in told.parts or PARTS:
        module = importlib.import_module(f"tests.bench.{part}")
        line: dict[str, Any] = {}
        with (KEPT / f"{part}.jsonl").open("a") as kept:
            for line in module.measure(told.scale):
                text = json.dumps({"part": part, **_machine(), **_rounded(line)})
                for place in (kept, sys.stdout):
                    place.write(text + "\n")
                    place.flush()
        if hasattr(module, "table"):
            sys.stdout.write(module.table(line) + "\n")
    return 0


def _machine() -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    load = round(os.getloadavg()[0], 1)
    return {"at": now, "cpus": os.cpu_count(), "load": load, "python": platform.python_version()}


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in line.items()}


if __name__ == "__main__":
    sys.exit(main())
