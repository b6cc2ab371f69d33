"""Nobody is anybody else: the whole of tests/cluster/test_gateway_tenancy.py, against an API server of its own.

It is run as tests are, for its fixtures are theirs; what is counted is what its tables ask, and that none was left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.tenancy import ROLES, TABLE

REPOSITORY: Final = Path(__file__).parents[3]
TESTS: Final = "tests/cluster/test_gateway_tenancy.py"
_PASSED: Final = re.compile(r"^(\d+) passed in ", re.MULTILINE)  # and nothing else


def trial(folder: Path, seed: int) -> dict[str, Any]:
    """One run, in an order of its own."""
    command = [sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'pytest'}", f"--randomly-seed={seed}"],
        cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    passed = _PASSED.search(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert passed, done.stdout[-2000:]
    return {"tests": int(passed[1]), "answers_by_role": len(TABLE) * len(ROLES)}
