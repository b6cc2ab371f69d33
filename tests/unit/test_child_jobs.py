"""What the operator keeps of Jobs, and which of their changes are worth a look."""

from datetime import UTC, datetime
from typing import Any, cast

from batchjob.controller.child_jobs import shorten
from batchjob.controller.children import is_held, read_child
from batchjob.controller.informer import Informer, Keep
from batchjob.controller.manifests import KUEUE_LABEL
from batchjob.kube import JOBS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = {"kind": "BatchJob", "name": "run", "uid": "u1", "controller": True}


def job(version: int, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "run-abcde",
            "namespace": "team",
            "uid": "j1",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "batchjob"}],
            "ownerReferences": [OWNER],
        },
        "spec": {"parallelism": 2, "completions": 2, "template": {"spec": {"containers": [{"name": "worker"}]}}},
        "status": status,
    }


def watched(*events: tuple[str, dict[str, Any]]) -> tuple[Informer, list[bool]]:
    """The copy after some events, and what its listener heard: whether the Job was gone."""
    heard: list[bool] = []
    jobs = Informer(cast("Any", None), JOBS, [None], None, lambda _, gone: heard.append(gone), keep=Keep(shorten))
    for kind, item in events:
        jobs._apply(kind, item)
    return jobs, heard


def test_a_job_is_kept_without_its_template_and_read_all_the_same() -> None:
    status = {"active": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    jobs, _ = watched(("ADDED", job(5, **status)))
    (kept,) = jobs.owned_by("team", "u1")
    assert "template" not in kept["spec"]
    assert "managedFields" not in kept["metadata"]
    assert read_child(kept, 0, NOW) == read_child(job(5, **status), 0, NOW)


def test_of_a_jobs_labels_only_that_is_kept_which_says_that_it_is_kueues() -> None:
    mine, kueues = job(5), job(5)
    mine["metadata"]["labels"] = {"batchjob.dev/uid": "u1"}
    kueues["metadata"]["labels"] = mine["metadata"]["labels"] | {KUEUE_LABEL: "gpus"}
    assert [shorten(one)["metadata"].get("labels") for one in (mine, kueues)] == [None, {KUEUE_LABEL: "gpus"}]
    assert [read_child(shorten(one), 0, NOW).kueue for one in (mine, kueues)] == [None, "gpus"]


def test_only_a_change_of_what_is_read_of_a_job_is_worth_a_look() -> None:
    steps = [
        ("ADDED", job(5)),
        ("MODIFIED", job(6, active=1)),
        ("MODIFIED", job(7, active=1, uncountedTerminatedPods={"succeeded": ["p"]})),
        ("MODIFIED", job(8, active=1, ready=1)),
        ("DELETED", job(8, active=1, ready=1)),
    ]
    assert watched(*steps)[1] == [False, False, False, True]


def test_what_our_own_write_returned_is_no_news_when_the_watch_tells_of_it() -> None:
    jobs, heard = watched()
    jobs.remember(job(5))
    jobs._apply("ADDED", job(5))
    assert heard == []


def test_a_job_that_kubernetes_has_not_come_to_is_not_asked_why_it_has_no_pods() -> None:
    waiting = read_child(job(5), 0, NOW)
    begun = read_child(job(6, startTime="2026-01-01T00:00:00Z"), 0, NOW)
    assert (waiting.is_starting, begun.is_starting) == (False, True)


def test_a_pod_is_held_that_failed_and_was_deleted_and_is_still_there() -> None:
    deleted, failed = {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"phase": "Failed"}
    assert is_held([{"metadata": {}}, {"metadata": deleted, "status": failed}])
    assert not is_held([{"metadata": deleted, "status": {"phase": "Running"}}, {"metadata": {}, "status": failed}])
