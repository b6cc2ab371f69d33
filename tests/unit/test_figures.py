"""Figures of a report from records of runs."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from batchjob.api.v1alpha1 import SCHEDULED_AT, BatchJob
from batchjob.core.durations import bucket_of
from batchjob.core.figures import (
    QUEUES,
    QUEUES_ADDED,
    USAGES_ADDED,
    USAGES_OF_A_QUEUE,
    Waiting,
    Wanted,
    reckon,
    wanted_of,
)
from batchjob.core.records import RunRecord

UNTIL = datetime(2026, 3, 30, 7, tzinfo=UTC).timestamp()  # Monday 09:00 in Berlin, a day after summer time began
DAY = 86_400
NOW = datetime(2030, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
WEEK = Wanted(UNTIL - 14 * DAY, UNTIL - 7 * DAY, UNTIL, BERLIN, "Europe/Berlin", "owner", "team", "alice")
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
    night = Wanted(UNTIL - 2 * DAY, UNTIL - DAY, UNTIL, WEEK.zone, WEEK.zone_name, "all", "team", None)
    assert [span.label for span in reckon(night, [], None, {}).spans][:3] == ["Sun 09:00", "Sun 10:00", "Sun 11:00"]
    assert len(reckon(night, [], None, {}).spans) == 24


def test_the_worst_runs_are_named_and_those_that_failed_without_an_item() -> None:
    worst = [record(n / 2, name=f"job-{n}", failed=n, total=100) for n in range(1, 13)]
    bad = record(6.9, name="bad", phase="Failed", reason="InvalidSource")
    found = reckon(WEEK, [bad, *worst], LONG_AGO, {}).failing_jobs
    assert [job.name for job in found] == [f"job-{n}" for n in range(12, 2, -1)]
    [only] = reckon(WEEK, [bad, record(1, succeeded=5)], LONG_AGO, {}).failing_jobs
    assert (only.name, only.reason, only.failed) == ("bad", "InvalidSource", 0)


def wanted(window: str, zone: str = "Europe/Berlin", **metadata: Any) -> Wanted:
    """Of a report that was created a while after nine in Berlin, on the day after summer time began."""
    report = {"window": window, "timeZone": zone, "deliver": {"destination": {"url": "file:///data"}}}
    known = {"name": "week", "namespace": "team", "creationTimestamp": "2026-03-30T07:00:41Z", **metadata}
    found = wanted_of(BatchJob.parse({"metadata": known, "spec": {"type": "report", "report": report}}), NOW)
    assert found
    return found


def hours(found: Wanted) -> tuple[float, float]:
    """Of the window, and of the one before."""
    return (found.until - found.since) / 3600, (found.since - found.before) / 3600


def test_the_windows_of_a_schedule_meet_however_late_its_runs_are_created() -> None:
    first = wanted("7d", annotations={SCHEDULED_AT: "2026-03-23T08:00:00Z"})
    late = wanted("7d", annotations={SCHEDULED_AT: "2026-03-30T07:00:00Z"})
    assert (late.until, late.since) == (UNTIL, first.until)


@pytest.mark.parametrize("text", ["2026-04-30T07:00:00Z", "soon", "", 7, "2026-03-30T07:00:00"])
def test_a_time_that_is_to_come_or_none_is_no_end_of_a_window(text: Any) -> None:
    """The annotation is anybody's to write."""
    assert wanted("7d", annotations={SCHEDULED_AT: text}).until == UNTIL + 41


@pytest.mark.parametrize(
    ("window", "zone", "expected"),
    [
        ("7d", "Europe/Berlin", (167, 168)),
        ("7d", "UTC", (168, 168)),
        ("168h", "Europe/Berlin", (168, 168)),
        ("1d", "Europe/Berlin", (24, 23)),
        ("90d", "Europe/Berlin", (90 * 24 - 1, 90 * 24 + 1)),
    ],
)
def test_days_of_a_window_are_those_of_the_clock_of_its_time_zone(
    window: str, zone: str, expected: tuple[float, float]
) -> None:
    assert hours(wanted(window, zone)) == expected


def test_a_window_before_of_another_length_has_rates_of_its_own() -> None:
    week = wanted("7d", annotations={SCHEDULED_AT: "2026-03-30T07:00:00Z"})
    found = reckon(week, [record(8, succeeded=168), record(1, succeeded=167)], LONG_AGO, {})
    assert found.before
    assert (found.total.items_per_hour, found.before.items_per_hour) == (1, 1)


def test_hours_are_those_of_the_time_zone_also_where_that_is_half_an_hour_off() -> None:
    starts = [span.start for span in reckon(wanted("3h", "Asia/Kolkata"), [], None, {}).spans]
    assert starts == [f"2026-03-30T{time}+05:30" for time in ("09:30:41", "10:00:00", "11:00:00", "12:00:00")]


@pytest.mark.parametrize(("begins", "covers"), [(None, False), (WEEK.since + 1, False), (WEEK.since, True)])
def test_where_records_do_not_reach_back_to_the_beginning_of_the_window_it_is_said(
    begins: float | None, covers: bool
) -> None:
    assert reckon(WEEK, [record(1)], begins, {}).covers_window is covers


def test_counters_that_processors_make_up_are_added_up_in_bounds_and_that_is_said() -> None:
    invented = [record(6 - n / 100, usage={f"c{n}-{i}": 1 for i in range(32)}) for n in range(100)]
    found = reckon(WEEK, [record(6.5, usage={"emailsSent": 1}), *invented, record(1, usage={"emailsSent": 2})], 0, {})
    assert found.usage_left_out
    assert (len(found.total.usage), found.total.usage["emailsSent"]) == (USAGES_ADDED, 3)
    assert len(found.queues[0].now.usage) == USAGES_OF_A_QUEUE
    assert not reckon(WEEK, [record(1, usage={"emailsSent": 2})], 0, {}).usage_left_out


def test_queues_that_somebody_makes_up_are_kept_apart_in_bounds_and_count_in_the_sums() -> None:
    invented = [record(6 - n / 1000, queue=f"q{n}", succeeded=1) for n in range(QUEUES_ADDED + 9)]
    before = [record(13 - n / 1000, queue=f"b{n}") for n in range(QUEUES_ADDED)]
    found = reckon(WEEK, [*before, *invented], 0, {"other": Waiting(1, 5)})
    assert (found.queues_left_out, len(found.queues), found.total.succeeded) == (True, QUEUES, QUEUES_ADDED + 9)
    assert {line.before for line in found.queues} == {None}, "they may have been there, and were not added up"
    assert not reckon(WEEK, [record(1)], 0, {}).queues_left_out
