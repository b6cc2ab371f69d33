"""The first result of the README, typed as it stands there into a fresh clone, with nothing of ours installed."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parents[2]


@pytest.mark.timeout(900)  # pip loads a hundred megabytes
def test_a_newcomer_has_a_first_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    _, _, section = readme.partition("## A first result, without a cluster\n")
    found = re.search(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert found
    clone = tmp_path / "batchjob"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]  # what a commit would have
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, clone / name)
    ours = str(REPOSITORY / ".venv")
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not one.startswith(ours))
    kept = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-e", "-c", found[1]],
        cwd=clone,
        env=kept | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "fingerprint: 2 of 3 succeeded, 1 failed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1, "an item failed, as the page says"
    assert len((clone / "fingerprint-results" / "results.jsonl").read_text().splitlines()) == 2
    with capsys.disabled():
        print(f"\nthe README's first result, from an empty environment: {time.monotonic() - began:.0f} s")  # noqa: T201
