"""What objects look like to people: columns, ages, tables, and texts that would rewrite a terminal."""

import json
import re
from datetime import UTC, datetime

import pytest
import yaml

from batchjob.api.status import BatchJobStatus
from batchjob.cli.exits import JOB_FAILED, OK, PARTLY_FAILED
from batchjob.cli.output import clean, show, table
from batchjob.cli.progress import exit_code
from batchjob.cli.views import TABLES, in_units, read_path
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (200, "3m20s"), (725, "12m"), (3600, "1h"), (11_100, "3h5m"),
     (86_400, "1d"), (100_000, "1d3h"), (1_000_000, "11d")],
)  # fmt: skip
def test_a_duration_is_told_in_its_largest_units(seconds: int, text: str) -> None:
    assert in_units(seconds) == text


def test_paths_are_those_of_the_crds() -> None:
    item = {
        "spec": {"a": 1},
        "status": {"conditions": [{"status": "False", "reason": "No"}, {"status": "True", "reason": "Yes"}]},
    }
    assert read_path(item, ".spec.a") == 1
    assert read_path(item, ".spec.b.c") is None
    assert read_path(item, '.status.conditions[?(@.status=="True")].reason') == "Yes"
    assert read_path({}, '.status.conditions[?(@.status=="True")].reason') is None


def test_every_column_of_a_kind_is_a_path_that_can_be_read() -> None:
    assert TABLES.keys() == {kind.kind for kind in (BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES)}
    for columns in TABLES.values():
        for column in columns:
            assert re.fullmatch(r"(\.\w+)+(\[\?\(@\.\w+==\"\w+\"\)\]\.\w+)?", column.path), column
            assert column.cell({}, NOW) == "<none>"


def test_cells_are_those_of_kubectl() -> None:
    queue = {one.header: one for one in TABLES["BatchQueue"]}
    assert queue["Paused"].cell({"spec": {"paused": True}}, NOW) == "true"
    schedule = {one.header: one for one in TABLES["BatchSchedule"]}
    item = {"spec": {"schedules": ["0 9 * * 1", "@daily"]}, "status": {"lastScheduleTime": "2026-11-27T11:00:00Z"}}
    assert schedule["Schedule"].cell(item, NOW) == "0 9 * * 1, @daily"
    assert schedule["Last"].cell(item, NOW) == "1h"


def test_what_a_terminal_would_act_on_is_shown_as_its_number() -> None:
    assert clean("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\x0ac\\x202ed"
    assert table(("A", "B"), [("\x1b]0;x\x07", 1)])[1] == "\\x1b]0;x\\x07   1"


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert table(("NAME", "N"), [("a-long-name", 1), ("b", None)]) == ["NAME          N", "a-long-name   1", "b"]


def test_columns_stand_under_each_other_in_every_script() -> None:
    rows = [("\u7ffb\u8a33", 1), ("\uff21\U0001f600", 2), ("cafe\u0301", 3), ("four", 4)]
    assert table(("NAME", "N"), rows) == [
        "NAME   N",
        "\u7ffb\u8a33   1",
        "\uff21\U0001f600   2",
        "cafe\u0301   3",
        "four   4",
    ]


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_what_a_terminal_would_act_on_is_escaped_there_and_the_document_is_the_same(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = yaml.safe_load if form == "yaml" else json.loads
    mean = {"metadata": {"name": "a\x9b2J\x7f\u202e\U000e0001\u00fc\u7ffb"}}
    show([mean], form, "BatchJob", NOW, single=True)
    assert "\u202e" in capsys.readouterr().out
    monkeypatch.setattr("batchjob.cli.output.is_terminal", lambda: True)
    show([mean], form, "BatchJob", NOW, single=True)
    shown = capsys.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert read(shown) == mean
    assert ("\u00fc\u7ffb" in shown) is (form != "yaml")
    show([{"metadata": {"name": "\u00fc"}}], form, "BatchJob", NOW, single=True)
    assert "\u00fc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("phase", "succeeded", "code"),
    [
        ("Succeeded", 3, OK),
        ("Succeeded", 0, OK),
        ("Failed", 3, PARTLY_FAILED),
        ("Failed", 0, JOB_FAILED),
        ("Cancelled", 3, JOB_FAILED),
    ],
)
def test_the_exit_code_says_how_it_ended(phase: str, succeeded: int, code: int) -> None:
    status = BatchJobStatus.model_validate({"phase": phase, "counts": {"succeeded": succeeded}})
    assert exit_code(status) == code
