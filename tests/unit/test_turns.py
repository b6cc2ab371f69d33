"""Whose turn it is in the queue of a BatchSchedule."""

from typing import Any, cast

import pytest

from batchjob.api.v1alpha1 import SCHEDULED_AT
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import Entry, build_entry
from batchjob.controller.schedules.turns import Turns
from batchjob.core.schedule_runs import IN_TURN, SCHEDULE_LABEL
from batchjob.errors import BatchJobError


class Runs:
    """A copy of BatchJobs, as the informer has it."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = {("team", body["metadata"]["name"]): body for body in bodies}

    def get(self, key: ObjectKey) -> dict[str, Any] | None:
        return self.bodies.get(key)

    def owned_by(self, _: str, schedule: str) -> list[dict[str, Any]]:
        return [b for b in self.bodies.values() if b["metadata"]["labels"].get(SCHEDULE_LABEL) == schedule]


def run(name: str, hour: int, *, schedule: str = "s", in_turn: bool = True, phase: str = "Queued") -> dict[str, Any]:
    """One that was made by hand, so that its name says nothing about its turn."""
    annotations = {SCHEDULED_AT: f"2026-01-01T{hour:02}:00:00Z"} | ({IN_TURN: "true"} if in_turn else {})
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "labels": {SCHEDULE_LABEL: schedule},
        "annotations": annotations,
        "ownerReferences": [{"kind": "Job", "name": name, "uid": f"uid-job-{name}", "controller": True}],
    }
    return {"metadata": metadata, "spec": {"owner": "bob"}, "status": {"phase": phase}}


def turns(*bodies: dict[str, Any]) -> tuple[Turns, list[ObjectKey]]:
    looked_at: list[ObjectKey] = []
    return Turns(cast("Any", Runs(*bodies)), looked_at.append), looked_at


def entry(body: dict[str, Any]) -> Entry:
    return build_entry(body)


def test_the_oldest_that_has_not_ended_goes_first_whatever_its_name() -> None:
    first, second, third = run("z", 1), run("b", 2, in_turn=False), run("a", 3)
    queue, _ = turns(third, second, first)
    assert queue.before(entry(first)) is None
    assert queue.before(entry(second)) is None, "it was made before the policy was Queue"
    assert queue.before(entry(third)) == "b", "the last of those before it: its end is what concerns it"
    second["status"]["phase"] = "Failed"
    assert queue.before(entry(third)) == "z"


def test_runs_that_have_ended_and_runs_of_other_schedules_are_not_waited_for() -> None:
    waiting = run("waiting", 9)
    others = [run("ended", 1, phase="Failed"), run("other", 2, schedule="t"), run("later", 10)]
    queue, _ = turns(waiting, *others)
    assert queue.before(entry(waiting)) is None


def test_a_run_at_its_time_is_waited_for() -> None:
    first, second = run("s-202601010100", 1), run("s-202601010200", 2)
    for one in (first, second):
        one["metadata"]["ownerReferences"][0]["name"] = "s-0a1b2-29453400"
    assert turns(first, second)[0].before(entry(second)) == "s-202601010100"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"owner": "alice"}},
        {"spec": {}},
        {"metadata": {"ownerReferences": []}},
        {"metadata": {"ownerReferences": [{"kind": "Deployment", "name": "z", "uid": "u", "controller": True}]}},
        {"metadata": {"name": "a-copy"}},
        {"metadata": {"annotations": {}}},
        {"metadata": {"annotations": {SCHEDULED_AT: "now"}}},
        {"metadata": {"annotations": {SCHEDULED_AT: "0001-01-01T00:00:00+14:00"}}},
    ],
)
def test_who_only_has_the_label_holds_up_nobody(change: dict[str, Any]) -> None:
    waiting, other = run("waiting", 8), run("z", 1, phase="Suspended")
    assert turns(waiting, other)[0].before(entry(waiting)) == "z"
    for part, fields in change.items():
        other[part] = {**other[part], **fields} if fields else {}
    assert turns(waiting, other)[0].before(entry(waiting)) is None


def test_a_run_that_the_copy_does_not_have_yet_waits_until_it_has() -> None:
    missing = run("missing", 2)
    for queue, _ in (turns(), turns({**missing, "metadata": {**missing["metadata"], "uid": "another"}})):
        with pytest.raises(BatchJobError, match="not all known yet"):
            queue.before(entry(missing))


def test_a_batch_job_of_no_schedule_waits_for_nothing() -> None:
    plain = run("plain", 1)
    plain["metadata"]["labels"][SCHEDULE_LABEL] = ""
    assert turns()[0].before(entry(plain)) is None
    del plain["metadata"]["labels"][SCHEDULE_LABEL]
    assert turns()[0].before(entry(plain)) is None


@pytest.mark.parametrize(
    ("phase", "gone", "looks"), [("Running", False, 0), ("Succeeded", False, 1), ("Running", True, 1)]
)
def test_the_next_that_waits_is_looked_at_when_one_ends_or_goes(phase: str, gone: bool, looks: int) -> None:
    """And no other: of thousands that wait each end would cost minutes."""
    others = [run("ended", 0, phase="Failed"), run("free", 2, in_turn=False), run("waits-longer", 4)]
    queue, looked_at = turns(run("waiting", 3), *others)
    queue.moved(run("moved", 1, phase=phase), gone=gone)
    assert looked_at == [("team", "waiting")] * looks
