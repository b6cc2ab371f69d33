"""`batchjob run` as a command line: what it says of itself, in --help and in the docs."""

import re
from pathlib import Path

import pytest

from batchjob.cli import run as batchjob
from batchjob.cli.run import EXIT_CODES

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "run-without-a-cluster.md"


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        batchjob(["run", "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_help_and_docs_tell_the_same_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert EXIT_CODES in help_text(capsys)
    told = dict(re.findall(r"^  (\d+) +(.*)$", EXIT_CODES, re.MULTILINE))
    assert dict(re.findall(r"^\| (\d+) \| (.*) \|$", HOW_TO.read_text("utf-8"), re.MULTILINE)) == told
    assert list(told) == ["0", "1", "2", "64", "130"]


def test_every_option_is_in_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    options = set(re.findall(r"--[a-z-]+", help_text(capsys))) - {"--help", "--file"}
    assert {option for option in options if option not in HOW_TO.read_text("utf-8")} == set()


@pytest.mark.parametrize("wrong", [[], ["-f"], ["-f", "a.yaml", "--workers", "0"], ["-f", "a.yaml", "--colour"]])
def test_a_wrong_command_line_is_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        batchjob(["run", *wrong])
    assert left.value.code == 2
    assert "usage: batchjob run" in capsys.readouterr().err
