"""The command line on a real API server: what each command prints, changes and refuses, and the rights it needs."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from batchjob.cli import execute
from batchjob.cli.rights import RIGHTS
from tests.localcluster import ControlPlane
from tests.support.cluster_jobs import Jobs
from tests.support.gateway_world import bound
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop

AGE: Final = re.compile(r"\b\d+[smh](\d+[sm])?\b")


class Said(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(control_plane: ControlPlane, jobs: Jobs, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Cli:
    """The command line, in the namespace of the test."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        command = 2 if arguments[0] in ("queue", "schedule", "results") else 1
        placed = [*arguments[:command], "-n", jobs.kubectl.namespace, *arguments[command:]]
        code = execute(placed)
        found = capsys.readouterr()
        return Said(code, found.out, found.err)

    return run


def make(jobs: Jobs, name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A BatchJob that no operator sees, with a status of ours."""
    jobs.kubectl.apply(noop(name, inline(2), **spec))
    if status:
        patch = json.dumps({"status": status})
        jobs.kubectl("patch", "batchjob", name, "--subresource=status", "--type=merge", "-p", patch)
    return jobs.kubectl.get("batchjob", name)


def ended(phase: str, succeeded: int, failed: int) -> dict[str, Any]:
    counts = {"total": succeeded + failed, "succeeded": succeeded, "failed": failed}
    return {"phase": phase, "progress": f"{succeeded + failed}/{succeeded + failed}", "counts": counts}


def test_a_batchjob_is_submitted_listed_and_read(cli: Cli, jobs: Jobs, tmp_path: Path) -> None:
    assert cli("ls").err == f"No BatchJobs found in the namespace {jobs.kubectl.namespace}.\n"
    file = tmp_path / "job.yaml"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside"}}
    file.write_text(yaml.safe_dump_all([noop("first", inline(2)), config]))
    tried = cli("submit", "-f", str(file), "--dry-run")
    assert (tried.code, tried.out) == (0, "batchjob.batchjob.dev/first created (dry run)\n")
    made = cli("submit", "-f", str(file))
    assert (made.code, made.out) == (0, "batchjob.batchjob.dev/first created\n")
    assert "ConfigMap beside is left alone: kubectl apply -f" in made.err
    again = cli("submit", "-f", str(file))
    assert (again.code, again.out) == (1, "")
    assert "there is one of that name, and a BatchJob runs once: give another with --name" in again.err
    assert cli("submit", "-f", str(file), "--name", "second", "-o", "name").out == "batchjob.batchjob.dev/second\n"

    listed = AGE.sub("AGE", cli("ls").out).splitlines()
    assert [line.split() for line in listed] == [
        ["NAME", "TYPE", "PHASE", "PROGRESS", "FAILED", "DURATION", "AGE"],
        ["first", "custom", *["<none>"] * 4, "AGE"],
        ["second", "custom", *["<none>"] * 4, "AGE"],
    ]
    assert "\x1b" not in "".join(listed)
    assert [one["metadata"]["name"] for one in json.loads(cli("ls", "-o", "json").out)["items"]] == ["first", "second"]
    assert [json.loads(line)["kind"] for line in cli("ls", "-o", "jsonl").out.splitlines()] == ["BatchJob"] * 2
    assert yaml.safe_load(cli("get", "first", "-o", "yaml").out)["spec"]["source"]["items"] == inline(2)["items"]
    assert json.loads(cli("get", "@latest", "-o", "json").out)["metadata"]["name"] == "second"
    assert cli("ls", "-l", "no=such").out == ""
    assert cli("ls", "-A").out.startswith("NAMESPACE")


def test_what_the_api_server_refuses_is_told_by_its_fields(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(noop("wrong", inline(2), parallelism=0, concurency=1)))
    said = cli("submit", "-f", str(file))
    assert (said.code, said.out) == (1, "")
    assert "spec.concurency" in said.err


def test_waiting_ends_with_the_code_of_how_it_ended(cli: Cli, jobs: Jobs) -> None:
    make(jobs, "good", ended("Succeeded", 2, 0))
    make(jobs, "partly", ended("Failed", 1, 1))
    make(jobs, "bad", ended("Failed", 0, 2))
    make(jobs, "stopped", ended("Cancelled", 1, 0))
    make(jobs, "going", {"phase": "Running", "progress": "1/2"})
    assert [cli("wait", name, "-q")[:2] for name in ("good", "partly", "bad", "stopped")] == [
        (0, ""), (5, ""), (4, ""), (4, ""),
    ]  # fmt: skip
    assert cli("watch", "good").out == "good: Succeeded, 2/2\nbatchjob.batchjob.dev/good succeeded\n"
    late = cli("watch", "going", "--timeout", "1")
    assert (late.code, late.out) == (124, "going: Running, 1/2\n")
    assert "has not ended in time. It goes on" in late.err
    assert "Phase:     Running" in cli("status", "going").out


def test_what_waits_for_a_program_is_one_document_of_how_it_ended(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(noop("asked", inline(2))))
    late = cli("submit", "-f", str(file), "--wait", "--timeout", "1", "-o", "json")
    assert (late.code, json.loads(late.out)["metadata"]["name"]) == (124, "asked")
    assert cli("submit", "-f", str(file), "--name", "b", "--wait", "--timeout", "1", "-o", "name").out == (
        "batchjob.batchjob.dev/b\n"
    )


def test_changes_are_those_of_the_custom_resource(cli: Cli, jobs: Jobs) -> None:
    make(jobs, "one")
    make(jobs, "over", ended("Failed", 1, 1))
    done = cli("suspend", "one", "over", "never-made")
    assert (done.code, done.out) == (1, "batchjob.batchjob.dev/one suspended\n")
    assert "over: nothing to suspend: it has ended (Failed)" in done.err
    assert 'never-made: batchjobs.batchjob.dev "never-made" not found. See what there is with: batchjob ls' in done.err
    assert jobs.kubectl.get("batchjob", "one")["spec"]["suspend"] is True
    assert cli("suspend", "one").err == "one: nothing to suspend: it is suspended already\n"
    assert cli("resume", "one").code == 0
    assert jobs.kubectl.get("batchjob", "one")["spec"]["suspend"] is False
    assert cli("cancel", "one", "--yes").out == "batchjob.batchjob.dev/one cancelled\n"
    assert jobs.kubectl.get("batchjob", "one")["spec"]["cancel"] is True

    assert "nothing to redrive of one: it has no failed items" in cli("redrive", "one").err
    made = cli("redrive", "over", "--error-class", "timeout", "--item", "i1", "--name", "again", "-o", "json")
    assert json.loads(made.out)["metadata"]["name"] == "again"
    assert jobs.kubectl.get("batchjob", "again")["spec"]["source"]["redriveOf"] == {
        "batchJobName": "over",
        "filter": {"errorClass": ["timeout"], "itemIds": ["i1"]},
    }
    assert "over has no pods: it has not begun" in cli("logs", "over").err


def test_queues_and_schedules(cli: Cli, jobs: Jobs, admin: Kubectl) -> None:
    try:
        assert cli("queue", "pause", "report").out == "batchqueue.batchjob.dev/report paused\n"
        assert cli("queue", "pause", "report").err.endswith("the queue report is paused already\n")
        [line] = [line for line in cli("queue", "ls").out.splitlines() if line.startswith("report ")]
        assert line.split()[-2] == "true"
        assert cli("queue", "resume", "report").code == 0
        assert "batchqueue.batchjob.dev/email" in cli("queue", "ls", "-o", "name").out.splitlines()
        assert cli("queue", "pause", "batchqueue.batchjob.dev/email").code == 0
        assert cli("queue", "resume", "email").code == 0
        assert cli("queue", "pause", "nope").err.endswith("there is no queue nope: see batchjob queue ls\n")
    finally:
        admin("delete", "batchqueue", "report", "email", "--ignore-not-found")
    spec = {"schedules": ["0 9 * * 1"], "jobTemplate": {"spec": noop("x", inline(1))["spec"]}}
    kind = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchSchedule", "metadata": {"name": "weekly"}}
    jobs.kubectl.apply({**kind, "spec": spec})
    assert "0 9 * * 1" in cli("schedule", "ls").out
    assert cli("schedule", "suspend", "weekly").out == "batchschedule.batchjob.dev/weekly suspended\n"
    assert jobs.kubectl.get("batchschedule", "weekly")["spec"]["suspend"] is True
    made = json.loads(cli("schedule", "run", "weekly", "-o", "json").out)
    assert made["metadata"]["ownerReferences"][0]["name"] == "weekly"
    assert made["metadata"]["labels"]["batchjob.dev/schedule"] == "weekly"


def test_a_list_that_is_watched_goes_on_with_what_changes(cli: Cli, jobs: Jobs, tmp_path: Path) -> None:
    assert cli("ls").code == 0  # the environment is set
    command = [str(Path(sys.executable).with_name("batchjob")), "ls", "-w", "-n", jobs.kubectl.namespace, "-o", "name"]
    said = tmp_path / "said"
    make(jobs, "before")
    with said.open("w") as file, subprocess.Popen(command, stdout=file) as watching:
        try:
            wait_until(said.read_text, "the list", until=lambda text: "before" in text)
            make(jobs, "after")
            wait_until(said.read_text, "the change", until=lambda text: "batchjob.batchjob.dev/after\n" in text)
        finally:
            watching.send_signal(signal.SIGINT)
    assert watching.returncode == 130


def test_no_cluster_and_no_rights_are_a_sentence_each(cli: Cli, jobs: Jobs, tmp_path: Path, control_plane: Any) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1"}
    away = tmp_path / "away"
    away.write_text(yaml.safe_dump(config))
    for arguments in (["ls"], ["status", "x"], ["queue", "ls"], ["schedule", "run", "x"], ["top"], ["errors", "x"]):
        said = cli(*arguments, "--kubeconfig", str(away))
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1), said.err
        assert "no answer from the Kubernetes API: 127.0.0.1:1: Connection refused. Does the cluster of" in said.err
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "nobody's"}
    away.write_text(yaml.safe_dump(config))
    assert "the cluster does not take who you are" in cli("ls", "--kubeconfig", str(away)).err
    make(jobs, "one")
    for arguments in (["ls"], ["get", "one"], ["status", "one"], ["cancel", "one", "--yes"], ["queue", "ls"], ["top"]):
        said = cli(*arguments, "--as", "nobody-at-all")
        assert (said.code, said.out) == (1, ""), arguments
        assert 'User "nobody-at-all" cannot' in said.err
        assert "Ask whoever runs the cluster for a role with that right" in said.err


def test_the_doctor_looks_at_the_installation(cli: Cli, jobs: Jobs) -> None:
    said = cli("doctor", "--system-namespace", jobs.kubectl.namespace)
    assert said.code == 1
    lines = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert lines["ok   kinds"] == "BatchJob, BatchQueue and BatchSchedule are there"
    assert lines["bad  operator"].startswith("it has no pods in")
    assert lines["bad  leader"].startswith("no operator leads")
    assert lines["ok   rights"].startswith("you may do all")
    poor = cli("doctor", "--system-namespace", jobs.kubectl.namespace, "--as", "nobody-at-all")
    assert "?    rights: in the namespace" in poor.out
    assert "you lack list batchjobs (of ls, get for @latest, " in poor.out
    assert f"list pods in {jobs.kubectl.namespace} (of ls with a query, " in poor.out


ASKED: Final = {
    "ls": ["ls"],
    "get": ["get", "over"],
    "status": ["status", "over"],
    "wait": ["wait", "over"],
    "watch": ["watch", "over"],
    "suspend": ["suspend", "new"],
    "resume": ["resume", "paused"],
    "cancel": ["cancel", "new", "--yes"],
    "redrive": ["redrive", "over"],
    "queue ls": ["queue", "ls"],
    "queue pause": ["queue", "pause", "email"],
    "queue resume": ["queue", "resume", "email"],
    "schedule ls": ["schedule", "ls"],
    "schedule suspend": ["schedule", "suspend", "daily"],
    "schedule resume": ["schedule", "resume", "daily"],
    "schedule run": ["schedule", "run", "daily"],
    "top": ["top"],
}


def test_each_command_does_with_the_rights_that_its_page_names(cli: Cli, jobs: Jobs, admin: Kubectl) -> None:
    make(jobs, "over", ended("Succeeded", 1, 1))
    make(jobs, "new")
    make(jobs, "paused", suspend=True)
    spec = {"schedules": ["@daily"], "jobTemplate": {"spec": noop("x", inline(1))["spec"]}}
    kind = {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchSchedule", "metadata": {"name": "daily"}}
    jobs.kubectl.apply({**kind, "spec": spec})
    try:
        for command, arguments in ASKED.items():
            user = f"cli-{command.replace(' ', '-')}"
            rules = [
                {"apiGroups": [right.group], "resources": [right.resource], "verbs": [*right.verbs]}
                for right in RIGHTS[command]
                if not right.when
            ]
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
            admin.apply(*bound(f"{user}-{jobs.kubectl.namespace}", rules, subject))
            said = wait_until(
                lambda: cli(*arguments, "--as", user),  # noqa: B023 - it is asked here and now
                f"the rights of {user} to be in force",
                until=lambda said: "cannot" not in said.err,
            )
            assert said.code == 0, (command, said)
    finally:
        admin("delete", "batchqueue", "email", "--ignore-not-found")
