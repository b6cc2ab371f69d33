"""What a result of `make prove` is a result of."""

import json
import subprocess
import sys

import pytest

from tests.prove.__main__ import CODE, REPOSITORY

LIST = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]))
"""


@pytest.mark.parametrize("part", CODE)
def test_whatever_a_proof_imports_of_ours_is_part_of_its_version(part: str) -> None:
    command = [sys.executable, "-c", LIST, f"tests.prove.{part}.proofs"]
    found = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    ours = [path.removeprefix(f"{REPOSITORY}/") for path in json.loads(found) if path.startswith(f"{REPOSITORY}/")]
    code = [path for path in ours if not path.startswith(".venv") and path != "tests/__init__.py"]
    assert f"tests/prove/{part}/proofs.py" in code
    assert [path for path in code if not path.startswith(CODE[part])] == []


@pytest.mark.parametrize("part", CODE)
def test_every_path_of_a_version_is_there(part: str) -> None:
    assert [path for path in CODE[part] if not (REPOSITORY / path).exists()] == []


def test_the_engine_is_proven_apart_from_what_controls_it() -> None:
    assert not {"operator", "operator/batchjob", "operator/batchjob/controller", "tests", "tests/support"} & set(
        CODE["engine"]
    )
