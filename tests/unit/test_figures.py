"""Figures of a report from records of runs."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from batchjob.core.durations import bucket_of
from batchjob.core.figures import Waiting, Wanted, reckon
from batchjob.core.records import RunRecord

UNTIL = datetime(2026, 3, 30, 7, tzinfo=UTC).timestamp()  # Monday 09:00 in Berlin, a day after summer time began
DAY = 86_400
WEEK = Wanted(UNTIL - 7 * DAY, UNTIL, ZoneInfo("Europe/Berlin"), "Europe/Berlin", "owner", "team", "alice")
LONG_AGO = UNTIL - 60 * DAY


def record(days_ago: float, **fields: Any) -> RunRecord:
    ended = UNTIL - days_ago * DAY
    known = {"namespace": "team", "name": "job", "type": "custom", "queue": "custom", "phase": "Succeeded"}
    return RunRecord(uid=str(days_ago), created=ended, ended=ended, **known | fields)


def test_items_and_runs_are_added_up_and_compared_with_the_window_before() -> None:
    found = reckon(
        WEEK,
        [
            record(13, succeeded=50, failed=50, phase="Failed"),
            record(3, succeeded=90, failed=10, retried=4, usage={"emailsSent": 90}, active_seconds=60),
            record(1, succeeded=98, failed=2, skipped=1, cancelled=3, repeated=5, usage={"emailsSent": 9}),
            record(0.5, phase="Cancelled"),
        ],
        LONG_AGO,
        {},
    )
    now, before = found.total, found.before
    assert (now.runs, now.succeeded_runs, now.failed_runs, now.cancelled_runs) == (3, 2, 0, 1)
    assert (now.items, now.succeeded, now.failed, now.cancelled, now.skipped) == (200, 188, 12, 3, 1)
    assert (now.retried, now.repeated, now.success_percent, now.usage) == (4, 5, 94.0, {"emailsSent": 99})
    assert (now.items_per_hour, now.items_per_active_hour) == (200 / 168, 12_000)
    assert before is not None
    assert (before.runs, before.failed_runs, before.success_percent) == (1, 1, 50.0)


def test_of_nothing_there_is_no_rate_and_no_duration() -> None:
    found = reckon(WEEK, [], LONG_AGO, {}).total
    assert (found.runs, found.success_percent, found.items_per_hour, found.p50_seconds) == (0, None, None, None)


@pytest.mark.parametrize(("begins", "compares"), [(None, False), (UNTIL - 13 * DAY, False), (UNTIL - 14 * DAY, True)])
def test_nothing_is_compared_where_records_do_not_reach_back(begins: float | None, compares: bool) -> None:
    found = reckon(WEEK, [record(13, failures={"timeout": 1}), record(1, failures={"timeout": 2})], begins, {})
    assert (found.before is not None, found.queues[0].before is not None) == (compares, compares)
    assert [(line.items, line.before) for line in found.failures] == [(2, 1 if compares else None)]


def test_each_queue_has_a_line_with_what_waits_there() -> None:
    records = [record(2, queue="a", succeeded=1), record(1, queue="b", succeeded=9, durations={bucket_of(2): 9})]
    found = reckon(WEEK, records, LONG_AGO, {"b": Waiting(2, 60), "c": Waiting(1, 5), "idle": Waiting()}).queues
    assert [(line.queue, line.now.items, line.waiting, line.oldest_waiting_seconds) for line in found] == [
        ("b", 9, 2, 60),
        ("a", 1, 0, None),
        ("c", 0, 1, 5),
    ]
    assert found[0].now.p95_seconds == pytest.approx(2, rel=0.05)


def test_days_are_those_of_the_time_zone_also_when_its_clock_changes() -> None:
    found = reckon(WEEK, [record(7, succeeded=1), record(7 - 14 / 24, failed=2), record(0.001, succeeded=4)], None, {})
    assert [span.start for span in found.spans][:2] == ["2026-03-23T08:00:00+01:00", "2026-03-24T00:00:00+01:00"]
    assert [span.start for span in found.spans][-2:] == ["2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"]
    assert [(span.succeeded, span.failed) for span in found.spans] == [(1, 2), *[(0, 0)] * 6, (4, 0)]
    assert (found.since, found.until) == ("2026-03-23T08:00:00+01:00", "2026-03-30T09:00:00+02:00")


def test_a_short_window_is_drawn_by_hours() -> None:
    night = WEEK.__class__(UNTIL - 24 * 3600, UNTIL, WEEK.zone, WEEK.zone_name, "all", "team", None)
    assert [span.label for span in reckon(night, [], None, {}).spans][:3] == ["Sun 09:00", "Sun 10:00", "Sun 11:00"]
    assert len(reckon(night, [], None, {}).spans) == 24


def test_the_worst_runs_are_named_and_those_that_failed_without_an_item() -> None:
    worst = [record(n / 2, name=f"job-{n}", failed=n, total=100) for n in range(1, 13)]
    bad = record(6.9, name="bad", phase="Failed", reason="InvalidSource")
    found = reckon(WEEK, [bad, *worst], LONG_AGO, {}).failing_jobs
    assert [job.name for job in found] == [f"job-{n}" for n in range(12, 2, -1)]
    [only] = reckon(WEEK, [bad, record(1, succeeded=5)], LONG_AGO, {}).failing_jobs
    assert (only.name, only.reason, only.failed) == ("bad", "InvalidSource", 0)
