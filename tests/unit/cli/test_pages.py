"""What commands print of objects, against golden files (`pytest tests/unit/cli --update-golden`)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchjob.api.v1alpha1 import BatchJob, JobType
from batchjob.cli.contents import show_errors, show_items
from batchjob.cli.doctor import (
    BAD,
    GOOD,
    UNKNOWN,
    Question,
    judge_jobs,
    judge_lease,
    judge_pods,
    judge_rights,
    questions,
)
from batchjob.cli.options import Place
from batchjob.cli.output import show, show_objects
from batchjob.cli.progress import build_line
from batchjob.cli.queues import with_built_in
from batchjob.cli.searching import show_found, within
from batchjob.cli.status_page import build_page
from batchjob.cli.top import build_rows
from batchjob.client import ErrorKind, Errors, FoundJob, JobItem
from batchjob.core.answers import Counts
from batchjob.core.queries import parse_query
from tests.support.manifests import inline, noop

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def job(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = noop(name, inline(2), owner="alice", **spec)
    body["metadata"] |= {
        "namespace": "team",
        "uid": "u-1",
        "creationTimestamp": "2026-11-27T11:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    return body | ({"status": status} if status else {})


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    when = "2026-11-27T11:30:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": when}


RUNNING = {
    "phase": "Running",
    "progress": "7/20",
    "percent": "35%",
    "duration": "30m",
    "rate": "0.50/s",
    "activeWorkers": 2,
    "counts": {"total": 20, "waiting": 10, "active": 3, "succeeded": 6, "failed": 1, "retriedAfterLoss": 2},
    "failedItems": "3",
    "estimatedCompletionTime": "2026-11-27T12:00:26Z",
    "lastErrors": [{"itemId": "i3\u001b[2J", "errorClass": "timeout", "message": "it took\ntoo long"}],
    "usage": {"promptTokens": 900},
    "effective": {"queue": "custom", "maxLosses": 3, "itemTimeoutSeconds": 300},
    "conditions": [
        condition("Stalled", "True", "SecretNotFound", "Make the Secret x."),
        condition("Complete", "False", "Running"),
    ],
}
POD = {
    "metadata": {
        "name": "run-x-0",
        "creationTimestamp": "2026-11-27T11:50:00Z",
        "labels": {"batch.kubernetes.io/job-completion-index": "0"},
    },
    "spec": {"nodeName": "node-1"},
    "status": {
        "phase": "Pending",
        "containerStatuses": [
            {"restartCount": 1, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
        ],
    },
}


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], update_golden: bool) -> Any:
    def compared(name: str, text: str | None = None) -> None:
        found = capsys.readouterr().out if text is None else text
        path = GOLDEN / f"{name}.txt"
        if update_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(found, "utf-8")
        assert found == path.read_text("utf-8")

    return compared


def test_a_page_of_one_that_runs(check: Any) -> None:
    check("status-running", "\n".join(build_page(BatchJob.parse(job("run", RUNNING)), [POD], NOW)) + "\n")


def test_a_page_of_one_that_nobody_has_looked_at(check: Any) -> None:
    check("status-new", "\n".join(build_page(BatchJob.parse(job("new")), None, NOW)) + "\n")


def test_what_people_named_cannot_rewrite_the_page() -> None:
    body = job("run", RUNNING | {"failedItems": "3\x9b2J", "progress": "7/20\x1b[2J"})
    body["spec"]["owner"] = "eve\x1b[2J\nPhase: Succeeded"
    lines = list(build_page(BatchJob.parse(body), [], NOW))
    assert lines[1] == "Type:      custom, queue custom, owner eve\\x1b[2J\\x0aPhase: Succeeded"
    assert all(line.isprintable() for line in lines), lines


def test_a_page_of_one_that_has_ended(check: Any) -> None:
    status = {
        "phase": "Failed",
        "progress": "2/2",
        "percent": "100%",
        "duration": "5m",
        "startTime": "2026-11-27T11:01:00Z",
        "completionTime": "2026-11-27T11:06:00Z",
        "counts": {"total": 2, "succeeded": 1, "failed": 1},
        "results": {"expiresAt": "2026-12-04T11:06:00Z"},
        "conditions": [condition("Failed", "True", "ItemsFailed", "1 of 2 items failed.")],
    }
    check("status-failed", "\n".join(build_page(BatchJob.parse(job("over", status)), [], NOW)) + "\n")


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "jsonl", "name"])
def test_objects_in_every_form(check: Any, form: str) -> None:
    show([job("run", RUNNING), job("new")], form, "BatchJob", NOW)
    check(f"list-{form}")


def test_one_object_is_itself_and_a_list_of_everywhere_has_namespaces(check: Any) -> None:
    show([job("new")], "json", "BatchJob", NOW, single=True)
    show_objects([job("run", RUNNING)], "BatchJob", NOW, everywhere=True)
    check("one-and-everywhere")


def test_what_runs_now(check: Any) -> None:
    fast = {"phase": "Running", "rate": "12.0/s", "counts": {"active": 1}}
    found = [job("run", RUNNING), job("fast", fast), job("over", {"phase": "Succeeded"}), job("new", {})]
    rows = build_rows([one | {"status": one.get("status") or {}} for one in found], NOW, everywhere=False)
    check("top", "\n".join(" | ".join(row) for row in rows) + "\n")


def test_progress_is_a_line() -> None:
    line = build_line(BatchJob.parse(job("run", RUNNING)))
    assert line == "run: Running, 7/20, 35%, 1 failed, 0.50/s, for 30m, SecretNotFound"


def test_a_queue_without_an_object_is_not_paused_and_shows_no_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    mine = {"metadata": {"name": "mine"}, "spec": {"paused": True}, "status": {"waiting": 3}}
    show(with_built_in([mine]), "table", "BatchQueue", NOW)
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert {name: (row["PAUSED"], row["WAITING"]) for name, row in shown.items()} == {
        "mine": ("true", "3"),
        **{str(kind): ("false", "<none>") for kind in JobType},
    }


def test_what_a_search_found(check: Any) -> None:
    counts = Counts(total=3, succeeded=1, failed=1)
    found = [
        FoundJob("team.a", "a", "team", "export", "failed", queue="export", owner="alice", reason="ItemsFailed",
                 created=NOW.timestamp() - 90, counts=counts),
        FoundJob("team.b", "b", "team", "custom", "pending"),
    ]  # fmt: skip
    for form in ("table", "wide", "name", "jsonl"):
        show_found(found, form, NOW, "type:export")
    check("search")


def test_a_search_is_of_ones_namespace_unless_it_says_otherwise() -> None:
    assert str(within(parse_query("type:export"), Place(), "team")) == "namespace:team type:export"
    assert str(within(parse_query("namespace:x"), Place(), "team")) == "namespace:x"
    assert str(within(parse_query(""), Place(everywhere=True), "team")) == ""


@pytest.mark.parametrize(
    ("phase", "counts", "reason", "told"),
    [
        ("succeeded", Counts(total=10, succeeded=5, cancelled=5), "Succeeded", "10/10"),
        ("failed", Counts(total=10, succeeded=4, failed=1, cancelled=5), "ItemsFailed", "10/10"),
        ("failed", Counts(total=10, succeeded=4, failed=1, cancelled=5), "DeadlineExceeded", "5/10"),
        ("cancelled", Counts(total=10, succeeded=5, cancelled=5), "Cancelled", "5/10"),
        ("succeeded", Counts(), "Succeeded", "0/0"),
        ("running", Counts(), "Loading", "0/?"),
    ],
)
def test_progress_of_what_a_search_found_is_that_of_its_status(
    phase: str, counts: Counts, reason: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_found([FoundJob("team.a", "a", "team", "export", phase, reason=reason, counts=counts)], "table", NOW, "")
    assert capsys.readouterr().out.splitlines()[1].split()[4] == told


def test_items_and_causes(check: Any) -> None:
    failed = [JobItem("i\u001b1", 1, "failed", error_class="timeout", message="too long", attempts=3, data={"a": 1})]
    done = [JobItem("i0", 0, "succeeded", result={"text": "x" * 200})]
    causes = Errors([ErrorKind("abc", "timeout", "too long", 7, "i1")], items_read=7, complete=True)
    show_items(failed, "table", "failed")
    show_items(done, "table", "succeeded")
    show_items(failed, "jsonl", "failed")
    show_errors(causes, "table")
    check("contents")


def lease(name: str, holder: str, renewed: str = "2026-11-27T11:59:50Z") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"holderIdentity": holder, "renewTime": renewed}}


def test_the_leader_is_a_pod_of_the_operator_whatever_other_controllers_hold() -> None:
    others = [
        lease("keda-operator", "keda-operator-6f7-abc", "2026-11-27T11:59:59Z"),
        lease("another-batchjob-operator", "somebody"),
        lease("given-back", ""),
    ]
    assert judge_lease(others, {"prod-operator-7d9-x"}, NOW).said.startswith("no operator leads")
    named = lease("prod-operator", "prod-operator-7d9-x")
    assert judge_lease([*others, named], {"prod-operator-7d9-x"}, NOW) == (GOOD, "leader", "prod-operator-7d9-x")


def test_the_doctor_tells_what_is_wrong_and_what_to_do() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert judge_pods("operator", "sys", [ready, {}]) == (GOOD, "operator", "1 of 2 pods are ready in sys")
    assert judge_pods("operator", "sys", []).state == judge_pods("operator", "sys", [{}]).state == BAD
    assert judge_pods("gateway", "sys", []).state == judge_pods("operator", "sys", None).state == UNKNOWN
    assert judge_lease([lease("batchjob-operator", "a")], {"a", "b"}, NOW) == (GOOD, "leader", "a")
    old = lease("batchjob-operator", "a", "2026-11-27T11:50:00Z")
    assert "a led last 10m ago" in judge_lease([old], {"a"}, NOW).said
    assert judge_lease([], {"a"}, NOW).state == BAD
    seen = {"observedGeneration": 1}
    assert judge_jobs([job("new", seen)], NOW).state == GOOD
    assert (
        "1 cannot go on: run (SecretNotFound)" in judge_jobs([job("new", seen), job("run", RUNNING | seen)], NOW).said
    )
    waits = {"phase": "Running", **seen, "conditions": [condition("Reconciling", "True", "StoreUnavailable")]}
    assert "1 cannot go on: run (StoreUnavailable)" in judge_jobs([job("run", waits)], NOW).said
    for unseen in (None, {"observedGeneration": -1}):
        found = judge_jobs([job("old", unseen)], NOW)
        assert (found.state, "has not looked at 1: old; does it watch this namespace" in found.said) == (BAD, True)
        assert judge_jobs([job("old", unseen)], NOW - timedelta(minutes=59, seconds=40)).state == GOOD


def test_the_doctor_asks_for_rights_that_are_needed_at_times_and_says_when() -> None:
    all_of_them = dict.fromkeys(questions(), True)
    assert judge_rights(all_of_them, "team", "sys") == (GOOD, "rights", "you may do all in the namespace team")
    lacking = {Question("list", "pods", "system"), Question("list", "pods", "namespace")}
    assert lacking <= all_of_them.keys()
    found = judge_rights(all_of_them | dict.fromkeys(lacking, False), "team", "sys")
    assert found.state == UNKNOWN
    assert found.said == (
        "in the namespace team you lack list pods in sys (of ls with a query, submit with --items, items without "
        "--gateway, errors without --gateway, results download without --gateway); list pods (of logs)"
    )
    assert Question("list", "leases", "system") not in all_of_them, "it is looked at where that is allowed"
    assert "get for @latest" in questions()[Question("list", "batchjobs", "namespace")][1]
