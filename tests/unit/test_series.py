"""What /metrics says: about queues and schedules from the leader alone, and all of it on the page."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from math import nan
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from prometheus_client import Metric, generate_latest

from batchjob.api.schedule import BatchScheduleStatus
from batchjob.controller.child_jobs import shorten
from batchjob.controller.informer import Informer, Keep
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.queues import Queues
from batchjob.controller.series import Series
from batchjob.controller.totals import Totals
from batchjob.core.admission import Claim
from batchjob.kube import JOBS
from batchjob.metrics import LABELS, METRICS, OF_THE_LEADER, REGISTRIES, Process
from tests.support.exposition import declared, shown
from tests.unit.test_queues import queue


def claim(uid: str, created: str) -> Claim:
    return Claim(5, created, uid, "a", 1)


def body(name: str, phase: str, *, queue_name: str = "nightly", **status: Any) -> dict[str, Any]:
    """A BatchJob as the API server has it."""
    metadata = {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "5", "generation": 1}
    return {
        "metadata": metadata,
        "spec": {"type": "custom", "queueName": queue_name},
        "status": {"phase": phase, "observedGeneration": 1, **status},
    }


def job(of: str, **status: int) -> dict[str, Any]:
    """A Job of a BatchJob, with the numbers of its pods."""
    owner = {"uid": f"u-{of}", "controller": True}
    metadata = {"namespace": "team", "name": f"{of}-0", "uid": "j", "resourceVersion": "1", "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {}, "status": status}


def series(
    *schedules: BatchScheduleStatus,
    batch_jobs: Iterable[dict[str, Any]] = (),
    jobs: Iterable[dict[str, Any]] = (),
    told: bool = True,
    due: datetime | None = None,
) -> Series:
    queues = Queues(lambda _: None)
    queues.seen(queue("nightly", maxActiveJobs=1), False)
    for number in range(3):
        queues.place("nightly", f"u{number}", claim(f"u{number}", f"2026-01-0{number + 1}T00:00:00Z"))
    known = KnownBatchJobs()
    for one in batch_jobs:
        known.seen(one)
    children = Informer(Mock(), JOBS, [None], None, lambda _, __: None, keep=Keep(shorten))
    for one in jobs:
        children.remember(one)
    totals = Totals(Mock(history=Mock(totals=AsyncMock(return_value={("nightly", "Succeeded"): 7}))))
    if told:
        asyncio.run(totals.read())
    return Series(queues, known, children, lambda: schedules, lambda: due, totals)


def values(found: Iterable[Metric]) -> dict[str, float]:
    """Names of samples and their labels, with their values."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value for metric in found for sample in metric.samples
    }


def test_a_queue_says_how_many_wait_run_and_are_delayed_and_how_long_the_first_has_waited() -> None:
    held = {"type": "Queued", "status": "True", "reason": "StartAfter"}
    later = [body(f"later{number}", "Queued", conditions=[held]) for number in range(4)]
    found = values(series(batch_jobs=later).collect())
    assert found["queue_jobs_waiting nightly"] == 2
    assert found["queue_jobs_active nightly"] == 1
    assert found["queue_jobs_delayed nightly"] == 4
    assert found["batchjob_oldest_waiting_seconds nightly"] > 86_400
    assert found["queue_jobs_waiting email"] == 0, "every type has a queue"
    assert (found["batchjob_queue_paused nightly"], found["batchjob_queue_paused email"]) == (0, 0)


def test_a_queue_that_is_paused_says_so() -> None:
    queues = Queues(lambda _: None)
    queues.seen(queue("nightly", paused=True), False)
    one = Series(queues, KnownBatchJobs(), Mock(known_keys=list), list, lambda: None, Mock(of=Mock(return_value=None)))
    found = values(one.collect())
    assert (found["batchjob_queue_paused nightly"], found["batchjob_queue_paused email"]) == (1, 0)


def test_what_is_counted_begins_at_zero_for_every_queue() -> None:
    list(series().collect())
    text = text_of(Process.OPERATOR)
    assert 'batchjob_items_ended_total{outcome="failed",queue="nightly"} 0.0' in text
    assert 'batchjob_job_duration_seconds_count{queue="nightly"} 0.0' in text


def test_totals_are_those_of_the_store_and_absent_until_it_has_told() -> None:
    found = values(series().collect())
    assert [found[f"queue_jobs_{how}_total nightly"] for how in ("completed", "failed")] == [7, 0]
    assert not [name for name in values(series(told=False).collect()) if "_total" in name]


def test_a_queue_says_how_its_items_and_workers_stand_and_what_needs_somebody() -> None:
    stalled = [{"type": "Stalled", "status": "True", "reason": "StoreFull"}]
    counts = {"total": 9, "waiting": 1, "delayed": 2, "active": 3, "succeeded": 2, "failed": 1}
    expired = {"expiresAt": "2026-01-01T00:00:00Z"}
    found = values(
        series(
            batch_jobs=[
                body("works", "Running", counts=counts, conditions=stalled),
                body("failed", "Failed", counts={"total": 5, "failed": 5}, conditions=stalled),
                body("emptied", "Failed", counts={"total": 7, "failed": 7}, results=expired),
                body("elsewhere", "Running", queue_name="none", counts=counts, conditions=stalled),
            ],
            jobs=[job("works", active=5, ready=3), job("failed", ready=1, active=1), job("nobody", active=4)],
        ).collect()
    )
    states = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
    assert [found[f"batchjob_items nightly {state}"] for state in states] == [1, 2, 3, 2, 1, 0]
    assert found["batchjob_dead_letters nightly"] == 6, "of those that ended too, until they are removed"
    assert (found["batchjob_workers nightly starting"], found["batchjob_workers nightly ready"]) == (2, 4)
    assert found["batchjob_jobs_stalled nightly"] == 1, "nothing is left to do for what has ended"
    of_none = {name: value for name, value in found.items() if "none" in name}
    assert of_none == {"batchjob_dead_letters (none)": 1, "batchjob_jobs_stalled (none)": 1}, "what is none is no label"


def test_the_first_time_that_is_next_and_the_newest_run_stand_for_all_schedules() -> None:
    conditions = [{"type": "Suspended", "status": "True", "reason": "SuspendedByUser", "lastTransitionTime": ""}]
    found = values(
        series(
            BatchScheduleStatus(last_schedule_time="1970-01-01T00:00:05Z"),
            BatchScheduleStatus(last_schedule_time="1970-01-01T00:00:07Z"),
            BatchScheduleStatus.model_validate({"conditions": conditions}),
            due=datetime.fromtimestamp(20, UTC),
        ).collect()
    )
    assert found["batchjob_schedule_last_timestamp_seconds"] == 7
    assert found["batchjob_schedule_next_timestamp_seconds"] == 20
    assert (found["batchjob_schedules scheduled"], found["batchjob_schedules suspended"]) == (2, 1)
    assert "batchjob_schedule_next_timestamp_seconds" not in values(series().collect()), "no schedule, no time"


def text_of(process: Process) -> str:
    return generate_latest(REGISTRIES[process]).decode()


def test_who_leads_shows_what_is_declared_and_who_does_not_says_nothing_about_queues() -> None:
    for gauge in OF_THE_LEADER:
        gauge.set(7)  # as it measures them
    with series().shown():
        assert shown(text_of(Process.OPERATOR)) == declared(Process.OPERATOR, Process.LEADER)
    assert shown(text_of(Process.OPERATOR)) == declared(Process.OPERATOR)
    now = [sample.value for gauge in OF_THE_LEADER for one in gauge.collect() for sample in one.samples]
    assert now == pytest.approx([nan, 0, 0, 0], nan_ok=True)


def test_a_store_that_nobody_has_asked_is_not_down() -> None:
    code = (
        "from batchjob.metrics import REGISTRIES as all; print(all['operator'].get_sample_value('batchjob_store_up'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "nan\n"


def test_no_metric_is_declared_twice_and_none_has_a_label_that_grows_with_the_users() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert {label for metric in METRICS for label in metric.labels} == LABELS.keys()
    assert [name for name in names if not name.startswith(("batchjob_", "queue_jobs_"))] == []
