"""`python -m tests.bench [part …]`: one JSON line a part."""

import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime

PARTS = ("items", "worker", "control")


def main(parts: list[str]) -> int:
    """Run the parts named, or all."""
    if unknown := set(parts) - set(PARTS):
        sys.stderr.write(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}\n")
        return 64
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    for part in parts or PARTS:
        figures = importlib.import_module(f"tests.bench.{part}").measure()
        sys.stdout.write(json.dumps({"part": part, "at": datetime.now(UTC).isoformat(), **machine, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
