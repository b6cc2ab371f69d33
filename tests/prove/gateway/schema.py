"""Schemathesis asks whatever the OpenAPI document allows and what it does not, alone and in sequences along its links.

Every answer has to be one that the document has for the operation: its status, media type, headers and shape; never a
5xx; what breaks the schema is refused, and so is who does not sign in. It runs as its own command, from a seed.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.prove.gateway.stage import a_gateway
from tests.support.gateway import build_gateway
from tests.support.live_gateway import token

HOOKS: Final = "tests.prove.gateway.schemathesis_hooks"
CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
REPOSITORY: Final = Path(__file__).parents[3]
ALL_PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")
OPERATIONS: Final = 18  # or more: a document that lost some would hold by silence
_CASES: Final = re.compile(r"^ +(\d+) generated", re.MULTILINE)
_TESTED: Final = re.compile(r"^ +Tested: (\d+)", re.MULTILINE)
_LINKS: Final = re.compile(r"API Links: +(\d+) covered")


def trial(
    store_url: str, folder: Path, seed: int, examples: int, phases: tuple[str, ...] = ALL_PHASES
) -> dict[str, Any]:
    """One run; `examples`: for each operation, and sequences."""
    document = folder / "openapi.json"
    document.write_text(json.dumps(build_gateway().openapi()))
    with a_gateway(folder / "gateway", store_url) as stage:
        command: list[str | Path] = [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run", document),
            *("--url", stage.gateway.url, "--header", f"Authorization: Bearer {token('admin')}"),
            *("--phases", ",".join(phases), "--max-examples", str(examples), "--seed", str(seed)),
            *("--request-timeout", "60", "--continue-on-failure", "--no-color", "--no-shrink"),
        ]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        said = stage.gateway.said()
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "Traceback" not in said, said
    cases, tested = _number(_CASES, done.stdout), _number(_TESTED, done.stdout)
    assert tested >= OPERATIONS, done.stdout
    facts = {"requests_made_up": cases, "most_operations": tested}
    return facts | ({"most_links_followed": _number(_LINKS, done.stdout)} if "stateful" in phases else {})


def _number(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    assert found, text
    return int(found[1])
