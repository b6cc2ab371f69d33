"""What /metrics says: about queues and schedules from the leader alone, and all of it on the page."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import REGISTRY, Metric

from batchjob import metrics
from batchjob.api.schedule import BatchScheduleStatus
from batchjob.controller.queues import Queues
from batchjob.controller.series import Series
from batchjob.core.admission import Claim
from tests.unit.test_house import table, text
from tests.unit.test_queues import queue

OURS = ("batchjob_", "queue_")


def claim(uid: str, created: str) -> Claim:
    return Claim(5, created, uid, "a", 1)


def series(*schedules: BatchScheduleStatus) -> Series:
    queues = Queues(lambda _: None)
    queues.seen(queue("nightly", maxActiveJobs=1), False)
    for number in range(3):
        queues.place("nightly", f"u{number}", claim(f"u{number}", f"2026-01-0{number + 1}T00:00:00Z"))
    return Series(queues, lambda: Counter({"nightly": 4}), lambda: schedules)


def values(found: Iterable[Metric], label: str = "") -> dict[str, float]:
    """Names (and a label) of samples, with their values."""
    return {
        sample.name + (f" {sample.labels[label]}" if label in sample.labels else ""): sample.value
        for metric in found
        for sample in metric.samples
    }


def test_a_queue_says_how_many_wait_run_and_are_delayed_and_how_long_the_first_has_waited() -> None:
    found = values(series().collect(), "queue")
    assert found["queue_jobs_waiting nightly"] == 2
    assert found["queue_jobs_active nightly"] == 1
    assert found["queue_jobs_delayed nightly"] == 4
    assert found["batchjob_oldest_waiting_seconds nightly"] > 86_400
    assert found["queue_jobs_waiting email"] == 0, "every type has a queue"


def test_the_first_time_that_is_next_and_the_newest_run_stand_for_all_schedules() -> None:
    conditions = [{"type": "Suspended", "status": "True", "reason": "SuspendedByUser", "lastTransitionTime": ""}]
    found = values(
        series(
            BatchScheduleStatus(last_schedule_time="1970-01-01T00:00:05Z", next_schedule_time="1970-01-01T00:00:30Z"),
            BatchScheduleStatus(last_schedule_time="1970-01-01T00:00:07Z", next_schedule_time="1970-01-01T00:00:20Z"),
            BatchScheduleStatus.model_validate({"conditions": conditions}),
        ).collect(),
        "state",
    )
    assert found["batchjob_schedule_last_timestamp_seconds"] == 7
    assert found["batchjob_schedule_next_timestamp_seconds"] == 20
    assert (found["batchjob_schedules scheduled"], found["batchjob_schedules suspended"]) == (2, 1)
    assert "batchjob_schedule_next_timestamp_seconds" not in values(series().collect()), "no schedule, no time"


def test_who_does_not_lead_says_nothing_about_queues() -> None:
    def is_shown() -> bool:
        return any(metric.name == "queue_jobs_waiting" for metric in REGISTRY.collect())

    with series().shown():
        assert is_shown()
    assert not is_shown()


def test_every_metric_is_on_the_page_and_nothing_else() -> None:
    metrics.publish_build_info()
    page = text("docs", "reference", "metrics.md")
    rows = [row for heading in ("## The operator", "## The gateway", "## A worker") for row in table(page, heading)]
    documented = {name: (kind, help_text) for name, kind, _, help_text in rows}
    assert len(documented) == len(rows)
    with series().shown():
        found = {
            metric.name + ("_total" if metric.type == "counter" else ""): (metric.type, metric.documentation)
            for metric in REGISTRY.collect()
            if metric.name.startswith(OURS)
        }
    assert documented == found
