"""The command line before any cluster is asked: help, wrong arguments, and what needs no cluster."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchjob.cli import execute as batchjob
from batchjob.cli.app import COMMANDS, SECTIONS
from batchjob.cli.completion import answer
from batchjob.cli.reference import main as write_reference
from batchjob.cli.rights import RIGHTS

REPOSITORY = Path(__file__).parents[3]
Output = Callable[[], tuple[str, str]]
HEAVY = ("pydantic", "aiohttp", "yaml", "httpx2", "kubernetes", "redis", "rich")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Output:
    def read() -> tuple[str, str]:
        found = capsys.readouterr()
        return found.out, found.err

    return read


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = "import sys; from batchjob.cli import execute; execute(['--help']); execute(['ls', '--help']); "
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary[:20])}", shown, re.MULTILINE), name


def test_without_click_the_processes_still_start_and_the_rest_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, said: Output
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert batchjob(["version"]) == 0
    assert batchjob(["ls"]) == 1
    assert "pip install 'batchjob[cli]'" in said()[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("lss", "No such command 'lss'"),
        ("get", "batchjob get: Missing argument 'NAME...'"),
        ("ls -o xml", "'xml' is not one of 'table', 'wide', 'json', 'yaml', 'jsonl', 'name'"),
        ("ls typ:export", "There is no qualifier typ."),
        ("ls status:failed -l a=b", "a query goes without -l and --watch"),
        ("wait x --timeout 5y", "'5y' is no duration: write seconds, or such as 90s, 10m or 2h"),
        (f"wait x --timeout {'9' * 400}s", "a number of 400 digits is too long"),
        (f"wait x --timeout {'9' * 4400}", "a number of 4400 digits is too long"),
        ("redrive x --error-class tiemout", "tiemout is no class: there are timeout"),
        ("items x --error-class nope", "nope is no class: there are timeout"),
        ("items x --status succeeded --error-class timeout", "--error-class is of items that failed"),
        ("logs x --tail 0", "0 is not in the range x>=1"),
        ("submit", "Missing option '-f' / '--file'"),
        ("completion tcsh", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("queue stop x", "No such command 'stop'"),
        ("worker now", "batchjob worker: Got unexpected extra argument"),
        ("queue", "Usage: batchjob queue [OPTIONS] COMMAND"),
    ],
)
def test_a_wrong_command_line_is_a_sentence_and_code_2(arguments: str, sentence: str, said: Output) -> None:
    assert batchjob(arguments.split()) == 2
    out, err = said()
    assert (out, sentence in err, "--help." in err) == ("", True, True), err


def test_a_query_that_is_wrong_shows_where(said: Output) -> None:
    assert batchjob(["ls", "type:export", "age:2d"]) == 2
    lines = said()[1].splitlines()
    assert lines[1:3] == ["  type:export age:2d", " " * (2 + len("type:export age:")) + "^"]


def test_nobody_is_asked_before_a_cancel_who_cannot_answer(monkeypatch: pytest.MonkeyPatch, said: Output) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert batchjob(["cancel", "x"]) == 2
    assert "say --yes where nobody can be asked" in said()[1]


def test_a_kubeconfig_that_is_not_there_is_an_error_of_one_line(said: Output) -> None:
    assert batchjob(["get", "x", "--kubeconfig", "/nowhere/config"]) == 1
    out, err = said()
    assert (out, err.count("\n")) == ("", 1)
    assert "the kubeconfig /nowhere/config does not exist" in err


def test_a_token_is_not_sent_without_tls(said: Output, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )
    where = ["--kubeconfig", str(config), "--gateway", "http://gateway.example.org"]
    assert batchjob(["errors", "x", *where]) == 1
    assert "would send your token without TLS" in said()[1]
    assert batchjob(["errors", "x", *where[:2], "--as", "bob"]) == 1
    assert "the HTTP API knows no --as" in said()[1]


# ---- lint and explain


def test_an_example_of_each_kind_passes_lint(said: Output) -> None:
    """The others are read by `batchjob run`, which finds the same faults (test_local)."""
    files = [str(REPOSITORY / "examples" / name) for name in ("custom-in-a-queue.yaml", "schedule-weekly-report.yaml")]
    assert batchjob(["lint", *files]) == 0, said()
    assert said()[1].endswith("checked, nothing is wrong\n")


def test_lint_says_of_each_kind_what_is_wrong(said: Output, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "apiVersion: batchjob.dev/v1alpha1\nkind: BatchQueue\nmetadata: {name: q}\nspec: {maxActiveJobs: 0}\n---\n"
        "apiVersion: batchjob.dev/v1alpha1\nkind: BatchSchedule\nmetadata: {name: s}\n"
        "spec: {schedules: ['0 9 * * 8'], jobTemplate: {spec: {type: custom, custom: {processor: noop}, "
        "source: {items: [{id: a, data: {}}]}}}}\n---\nkind: ConfigMap\n"
    )
    assert batchjob(["lint", str(path), "-o", "jsonl"]) == 1
    faults = [json.loads(line) for line in said()[0].splitlines()]
    assert batchjob(["lint", str(path), "-o", "json"]) == 1
    assert json.loads(said()[0]) == faults
    assert [(one["kind"], one["name"], one["fault"].partition(":")[0]) for one in faults] == [
        ("BatchQueue", "q", "spec.maxActiveJobs"),
        ("BatchSchedule", "s", "spec.schedules[0]"),
    ]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("BatchJbo", "has no kind 'BatchJbo': did you mean BatchJob? There are BatchJob, BatchQueue, BatchSchedule"),
        ("Job", "has no kind 'Job': write one of BatchJob, BatchQueue, BatchSchedule"),
        ("", "has no kind '': write one of BatchJob, BatchQueue, BatchSchedule"),
    ],
)
def test_a_kind_that_our_group_does_not_have_is_an_error(
    said: Output, tmp_path: Path, kind: str, sentence: str
) -> None:
    path = tmp_path / "wrong.yaml"
    good = (REPOSITORY / "examples" / "custom-noop.yaml").read_text()
    path.write_text(
        f"{good}\n---\napiVersion: batchjob.dev/v1alpha1\nkind: {kind or repr('')}\nmetadata: {{name: x}}\n"
    )
    assert batchjob(["lint", str(path)]) == 1
    assert f"wrong.yaml: {kind} x: kind: batchjob.dev {sentence}" in said()[0]
    assert batchjob(["submit", "-f", str(path)]) == 1
    assert f"wrong.yaml: x: kind: batchjob.dev {sentence}" in said()[1]


def test_lint_reads_standard_input_and_made_up_names(monkeypatch: pytest.MonkeyPatch, said: Output) -> None:
    text = (REPOSITORY / "examples" / "custom-noop.yaml").read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO(re.sub(r"^  name: ", "  generateName: ", text, flags=re.MULTILINE)))
    assert batchjob(["lint", "-"]) == 0, said()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("a: [", "is not YAML: line"),
        ("kind: ConfigMap", "there is no document of batchjob.dev"),
    ],
)
def test_what_cannot_be_checked_is_said(said: Output, tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "file.yaml"
    if content:
        path.write_text(content)
    assert batchjob(["lint", str(path)]) == 1
    assert sentence in said()[1]


def test_explain_says_what_a_field_means(said: Output) -> None:
    assert batchjob(["explain", "spec.source.items.id"]) == 0
    assert said()[0].startswith("batchjob.spec.source.items.id <string>, required\n  ")
    assert batchjob(["explain", "bq.spec"]) == 0
    assert "  maxActiveJobs <integer>\n" in said()[0]
    assert batchjob(["explain", "batchschedule.spec.jobTemplate.spec.retry", "-r"]) == 0
    assert "  maxAttempts <integer>\n" in said()[0]
    assert batchjob(["explain", "spec.retri"]) == 1
    assert "batchjob.spec has no field retri: did you mean retry?" in said()[1]


# ---- completion and the page


def test_kubectl_completes_commands_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")  # then names are not completed, and nobody reads why
    *found, directive = answer(["s"])
    assert [line.partition("\t")[0] for line in found] == ["submit", "status", "suspend", "schedule"]
    assert directive == ":4"
    assert "--output\tThe form." in answer(["ls", "--o"])[0]
    assert answer(["queue", "p"])[0].startswith("pause\t")
    assert answer(["submit", "-f", ""])[-1] == ":0"
    assert answer(["get", "x"]) == [":4"]


def test_a_shell_gets_its_script(said: Output) -> None:
    assert batchjob(["completion", "fish"]) == 0
    assert "_BATCHJOB_COMPLETE=fish_complete" in said()[0]


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    assert write_reference(["--check"], REPOSITORY) == 0


def test_rights_are_told_of_every_command_that_asks_the_cluster() -> None:
    alone = {"lint", "explain", "completion", "migrate", "run", "version"} | set(SECTIONS["In the cluster"])
    assert {path.partition(" ")[0] for path in RIGHTS} == COMMANDS.keys() - alone
