"""What a new leader counts as running."""

from typing import Any, cast

import pytest

from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.manifests import KUEUE_LABEL, child_name
from batchjob.controller.queues import Queues
from batchjob.controller.takeover import restore
from batchjob.core.admission import Claim
from tests.support.plan_world import NAME, UID

KUEUE = {"kueue": {"queueName": "team"}}


class OneJob:
    """The Jobs of the run: one."""

    def __init__(self, kueue: str | None = None, **spec: Any) -> None:
        self._labels = {KUEUE_LABEL: kueue} if kueue else {}
        self._spec = spec

    def owned_by(self, *_: str) -> list[dict[str, Any]]:
        metadata = {"name": child_name(NAME, UID, 0), "uid": "j", "resourceVersion": "1"}
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
        return [{"metadata": {**metadata, "labels": self._labels}, "spec": {"parallelism": 3} | self._spec}]


class NoJobs:
    """None has a Job."""

    def owned_by(self, *_: str) -> list[dict[str, Any]]:
        return []


def nightly_queue(spec: dict[str, Any]) -> dict[str, Any]:
    """The BatchQueue."""
    metadata = {"name": "nightly", "uid": "q", "generation": 1, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": spec}


def batch_job(spec: dict[str, Any], status: dict[str, Any], name: str = NAME, uid: str = UID) -> dict[str, Any]:
    """A BatchJob of that queue."""
    metadata = {
        "namespace": "team",
        "name": name,
        "uid": uid,
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "spec": {"queueName": "nightly"} | spec, "status": status}


@pytest.mark.parametrize(
    ("phase", "job", "queue", "held"),
    [
        ("Queued", {"suspend": True, "kueue": "team"}, {}, (1, 3)),  # it has its turn: what it waits for is Kueue
        ("Queued", {"suspend": True}, KUEUE, (0, 0)),  # of a Job from before its queue had it, Kueue knows nothing
        ("Succeeded", {}, {}, (1, 3)),  # its pods have yet to leave
        ("Succeeded", {"suspend": True}, {}, (0, 0)),
        ("Suspended", {"suspend": True}, {}, (0, 0)),
        ("Queued", {"suspend": True}, {}, (0, 0)),
        ("Pending", {}, {}, (1, 3)),  # its Job was made, and the status does not tell of it yet
        ("Running", {"suspend": True}, {}, (1, 5)),  # every item is delayed
        ("Queued", {}, None, (0, 0)),  # its queue is away: it says so itself once that is back
    ],
)
def test_a_new_leader_counts_whoever_had_its_turn(
    phase: str, job: dict[str, Any], queue: dict[str, Any] | None, held: tuple[int, int]
) -> None:
    known, queues = KnownBatchJobs(), Queues(lambda _: None)
    if queue is not None:
        queues.seen(nightly_queue(queue), False)
    source = {"items": [{"id": "a", "data": {}}]}
    spec = {"type": "custom", "custom": {"processor": "noop"}, "source": source, "parallelism": 5}
    known.seen(batch_job(spec, {"phase": phase, "observedGeneration": 1}))
    restore(queues, known, cast("Any", OneJob(**job)))
    line = queues.line("nightly")
    assert (line.active, line.workers) == held


def test_who_waited_under_another_leader_is_in_line_before_anybody_is_looked_at() -> None:
    known, queues = KnownBatchJobs(), Queues(lambda _: None)
    queues.seen(nightly_queue({"maxActiveJobs": 1}), False)
    spec = {"type": "custom", "custom": {"processor": "noop"}, "parallelism": 2}
    for n, priority in enumerate((9, 5, 1)):
        status = {"phase": "Queued", "queuePosition": 3 - n, "effective": {"priority": priority}}
        known.seen(batch_job(spec, status, f"run-{n}", f"u{n}"))
    restore(queues, known, cast("Any", NoJobs()))
    assert queues.line("nightly").waiting == 3
    first_to_ask = Claim(9, "2026-01-01T00:00:00Z", "u0", "namespace team", 2)
    place = queues.place("nightly", "u0", first_to_ask)
    assert place
    assert (place.workers, place.position, queues.line("nightly").place("u2")) == (0, 2, (2, None, "", 0))


def test_what_runs_and_only_a_newer_version_can_read_is_counted_all_the_same() -> None:
    known, queues = KnownBatchJobs(), Queues(lambda _: None)
    queues.seen(nightly_queue({"maxActiveJobs": 1}), False)
    known.seen(batch_job({"type": "of a newer version", "parallelism": 3}, {"phase": "Running"}))
    restore(queues, known, cast("Any", OneJob()))
    line = queues.line("nightly")
    assert (line.active, line.workers) == (1, 3)
