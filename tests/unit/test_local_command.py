"""`batchjob run` as a command line: what it says of itself, in --help and in the docs."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchjob.api.run import StoreAccess
from batchjob.api.v1alpha1 import BatchJob
from batchjob.cli import execute as batchjob
from batchjob.cli.run import EXIT_CODES
from batchjob.errors import (
    ResultsError,
    ScriptsUnknown,
    StoreError,
    StoreFull,
    StoreNotReady,
    StoreUnavailable,
)
from batchjob.local import session
from batchjob.local.absence import TELL_SECONDS, Absence, in_words
from tests.support.manifests import inline, noop

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "run-without-a-cluster.md"


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        batchjob(["run", "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_help_and_docs_tell_the_same_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    told = dict(re.findall(r"^  (\d+) +(.*)$", help_text(capsys), re.MULTILINE))
    assert told == {str(code): said for code, said in EXIT_CODES.items()}
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


def test_the_version_is_asked_for_as_with_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert (batchjob(["version"]), batchjob(["--version"])) == (0, 0)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            StoreNotReady("the store has not been prepared for this user: NOAUTH no login."),
            "the login is missing, wrong or lacks rights (NOAUTH no login): write redis://user:password@host:port",
        ),
        (
            StoreFull("the store is full: OOM command not allowed. script: 5379fe, on @user_script:155."),
            "the store is full: raise its maxmemory, or delete what else it holds",
        ),
        (
            StoreUnavailable("the store does not answer: [Errno 111] refused"),
            "the store does not answer: [Errno 111] refused: see that a Redis or Valkey runs there",
        ),
        (ScriptsUnknown("the store does not know our scripts: NOSCRIPT"),) * 2,
    ],
)
def test_a_fault_of_the_store_says_what_to_do(error: StoreError, said: str | StoreError) -> None:
    assert in_words(error) == str(said)


def test_a_store_that_stays_away_is_told_of_at_once_and_then_by_how_long_it_has_been() -> None:
    said: list[str] = []
    absence, error = Absence("tell", said.append), StoreUnavailable("the store does not answer")
    for now in (7.0, 9.0, 8 + TELL_SECONDS, 10 + TELL_SECONDS):
        absence.tell(error, now)
    first, second = said
    assert first.startswith("tell: waiting for the store, until it is back: the store does not answer")
    assert "Ctrl-C: give the run up" in first
    assert second == "tell: waiting for the store, for 1m1s now"
    absence.end()
    absence.tell(error, 1000.0)
    assert said[2:] == [first]


async def test_a_disk_that_stays_full_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "STORE_SECONDS", 0.0)
    said: list[str] = []
    nobody: Any = None
    screen: Any = SimpleNamespace(say=said.append)
    job = BatchJob.model_validate(noop("n", inline(1)))
    refusals = ["it is full", "it is full", "it is full", "it is read-only"]

    async def write() -> None:
        if refusals:
            raise ResultsError(refusals.pop(0))

    await session.Session(job, StoreAccess(url="redis://127.0.0.1"), tmp_path, nobody, screen)._write(write)
    assert [line.partition(":")[0] for line in said] == ["it is full", "it is read-only"]
