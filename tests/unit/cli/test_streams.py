"""The command line where standard input or output is closed, full, or left by whoever read it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FULL = "batchjob: standard output cannot be written: No space left on device\n"


def bash(script: str, *, buffered: bool = True) -> tuple[int, str, str]:
    """What a shell makes of it; `batchjob` is that of this environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "KUBECONFIG": "/nowhere/config", "PYTHONUNBUFFERED": "" if buffered else "1"}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, check=False, env=env
    )
    return done.returncode, done.stdout, done.stderr


def test_nobody_can_be_asked_on_a_standard_input_that_is_closed() -> None:
    code, _, err = bash("batchjob cancel x <&-")
    assert (code, "say --yes where nobody can be asked" in err) == (2, True), err


def test_a_standard_input_that_is_closed_has_nothing_in_it(tmp_path: Path) -> None:
    assert bash("batchjob lint - <&-") == (1, "", "batchjob: -: there is no document of batchjob.dev/v1alpha1\n")
    read = "from batchjob.cli import main; from batchjob.cli.submit import STDIN, read_items; "
    read += "import sys; sys.argv[1:] = ['version']\ntry: main()\nfinally: [*read_items(STDIN)]"
    script = tmp_path / "read.py"
    script.write_text(read)
    code, out, err = bash(f"'{sys.executable}' '{script}' <&-")
    assert (code, len(out.splitlines()), err.splitlines()[-1]) == (
        1,
        1,
        "batchjob.cli.exits.Refused: standard input has no items: write one in each line",
    )


def test_a_standard_input_that_cannot_be_read_is_said() -> None:
    assert bash("batchjob lint - 0>/dev/null") == (
        1,
        "",
        "batchjob: standard input cannot be read: Bad file descriptor\n",
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_nobody_has_to_listen(redirection: str) -> None:
    assert bash(f"batchjob explain spec.retry {redirection}")[0] == 0
    assert bash(f"batchjob version {redirection}")[0] == 0


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("command", ["explain batchjob -r", "--help", "completion bash", "version"])
def test_an_output_that_is_full_is_a_sentence(command: str, *, buffered: bool) -> None:
    assert bash(f"batchjob {command} > /dev/full", buffered=buffered) == (1, "", FULL)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("command", ["explain batchjob -r", "version"])
def test_whoever_stops_reading_hears_nothing_of_it(command: str, *, buffered: bool) -> None:
    gone = "exec {ends}> >(exec true); wait $!; "  # the reader has gone for sure
    assert bash(f"{gone} batchjob {command} >&$ends", buffered=buffered) == (1, "", "")


def test_an_error_that_cannot_be_told_is_told_by_its_code() -> None:
    assert bash("batchjob lss 2>/dev/full")[0] == 2
    assert bash("batchjob explain -r >/dev/full 2>&1") == (1, "", "")
