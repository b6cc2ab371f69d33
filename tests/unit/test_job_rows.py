"""The row that a BatchJob is listed as: whatever the API server hands out gives one."""

from typing import Any

import msgspec
import pytest

from batchjob.controller.rows import MOST_CHARACTERS, build_row
from batchjob.core.rows import MOST_FINGERPRINTS, MOST_LABELS, JobRow, fingerprint

METADATA = {"namespace": "team", "name": "a", "uid": "u1", "creationTimestamp": "2026-01-31T09:00:00Z"}


def test_a_row_says_what_a_list_shows() -> None:
    error = {"itemId": "i1", "errorClass": "timeout", "message": "no answer in 30 s"}
    strange = {"itemId": "i2", "errorClass": "my-own", "message": "?"}
    status = {
        "phase": "Failed", "startTime": "2026-01-31T09:00:05Z", "completionTime": "2026-01-31T09:01:00Z",
        "counts": {"total": 9, "succeeded": 7, "failed": 2, "waiting": 0}, "lastErrors": [error, strange, error],
        "conditions": [{"type": "Queued", "status": "False", "reason": "X"},
                       {"type": "Failed", "status": "True", "reason": "ItemsFailed"}],
    }  # fmt: skip
    body = {
        "metadata": METADATA | {"labels": {"team": "search", "app": ""}},
        "spec": {"type": "export", "queueName": "nightly", "owner": "alice"},
        "status": status,
    }
    created = 1_769_850_000
    assert build_row(body) == JobRow(
        phase="Failed", queue="nightly", owner="alice", namespace="team", type="export", reason="ItemsFailed",
        labels=("app=", "team=search"),
        errors=tuple(sorted({"timeout", fingerprint("timeout", "no answer in 7 s"), fingerprint("my-own", "?")})),
        name="a", uid="u1", created=created, started=created + 5, ended=created + 60, total=9, succeeded=7, failed=2,
    )  # fmt: skip


def test_one_that_was_just_made_is_pending_in_the_queue_of_its_type() -> None:
    row = build_row({"metadata": METADATA, "spec": {"type": "email"}})
    assert (row.phase, row.queue, row.owner, row.reason, row.started) == ("Pending", "email", None, "", None)


def test_labels_and_errors_are_bounded_whatever_somebody_makes_up() -> None:
    labels = {f"l{n:03d}": "x" * 63 for n in range(200)}
    words = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")
    errors = [{"errorClass": "upstream", "message": word * 500} for word in words]
    row = build_row({"metadata": METADATA | {"labels": labels}, "status": {"lastErrors": errors}})
    assert row.labels == tuple(f"l{n:03d}={'x' * 63}" for n in range(MOST_LABELS))
    newest = {fingerprint("upstream", (word * 500)[:MOST_CHARACTERS]) for word in words[:MOST_FINGERPRINTS]}
    assert set(row.errors) == newest | {"upstream"}
    assert len(msgspec.msgpack.encode(row)) < 3000


@pytest.mark.parametrize("nonsense", [None, 7, "x", [], {"a": 1}, True])
@pytest.mark.parametrize(
    "field", ["phase", "counts", "startTime", "completionTime", "conditions", "lastErrors", "labels", "spec", "total"]
)
def test_what_makes_no_sense_here_makes_no_trouble(field: str, nonsense: Any) -> None:
    iterable = field in ("conditions", "lastErrors")
    value = [nonsense] if iterable else nonsense
    status: dict[str, Any] = {"phase": "Running", "counts": {"total": 1}}
    if field == "total":
        status["counts"] = {"total": value}
    body: dict[str, Any] = {"metadata": METADATA | {"labels": {"a": "b"}}, "status": status | {field: value}}
    if field == "labels":
        body["metadata"]["labels"] = value
    if field == "spec":
        body["spec"] = {"owner": value, "queueName": value, "type": value}
    row = build_row(body)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=JobRow) == row
