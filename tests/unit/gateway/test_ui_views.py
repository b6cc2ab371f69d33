import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from batchjob.api.queue import BatchQueue
from batchjob.api.schedule import BatchSchedule
from batchjob.api.status import ErrorClass
from batchjob.api.v1alpha1 import BatchJob, BatchJobSpec
from batchjob.core.actions import Action, build_change, build_redrive, obstacle, redrive_labels, redrive_name
from batchjob.core.queries import parse_query
from batchjob.core.rows import JobRow
from batchjob.gateway.ui import words
from batchjob.gateway.ui.cron_words import in_words
from batchjob.gateway.ui.reading import parse_key
from batchjob.gateway.ui.session import inside
from batchjob.gateway.ui.views_bulk import build_plan, bulk_job
from batchjob.gateway.ui.views_job import build_events, build_job
from batchjob.gateway.ui.views_jobs import build_fault, build_line, build_list
from batchjob.gateway.ui.views_queues import Ended, build_overview, per_hour
from batchjob.gateway.ui.views_schedules import build_schedules
from batchjob.gateway.ui.views_workers import build_pods
from batchjob.store import Page
from tests.support.ui_scene import build_scene, condition, spec_of
from tests.support.ui_world import stamp

NOW = 1_800_000_000.0


def job_of(phase: str = "Running", spec: dict[str, Any] | None = None, **status: Any) -> BatchJob:
    return BatchJob.parse(body_of(phase, spec, **status))


def body_of(phase: str = "Running", spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": "a", "namespace": "n", "uid": "u", "creationTimestamp": stamp(60)}
    counts = {"total": 100, "succeeded": 60, "failed": 5, "waiting": 35}
    given = {"phase": phase, "counts": counts, **status}
    return {"metadata": metadata, "spec": {**spec_of("custom"), **(spec or {})}, "status": given}


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * 1", "at 09:00 on Monday"),
        ("30 2 * * *", "every day at 02:30"),
        ("0 9 * * 1-5", "at 09:00 from Monday to Friday"),
        ("0 9 * * mon,WED,5", "at 09:00 on Monday, Wednesday and Friday"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/1 * * * *", "every minute"),
        ("* * * * *", "every minute"),
        ("5 * * * *", "every hour, 5 minutes past the hour"),
        ("0 * * * *", "every hour"),
        ("0 */6 * * *", "every 6 hours"),
        ("0 6,18 * * *", "every day at 06:00 and 18:00"),
        ("0 0 1 * *", "at 00:00 on the 1st of the month"),
        ("0 0 2,13,23 * *", "at 00:00 on the 2nd, the 13th and the 23rd of the month"),
        ("0 4 1 jan *", "at 04:00 on the 1st of the month in January"),
        ("0 4 1 1,7 0", "at 04:00 on the 1st of the month or on Sunday in January and July"),
        ("*/15 8-17 * * 1-5", "every 15 minutes, from 08:00 to 17:00 from Monday to Friday"),
        ("0 9-17/2 * * *", "on the hour, from 09:00 to 17:00 (every 2 hours)"),
        ("@weekly", "every Sunday at midnight"),
        ("no cron", "no cron"),
        ("0 0 1 99 *", "0 0 1 99 *"),
        ("0 0 * * tag", "0 0 * * tag"),
    ],
)
def test_a_cron_string_is_told_in_words(cron: str, expected: str) -> None:
    assert in_words(cron) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/admin/queues/jobs?q=a", "/admin/queues/jobs?q=a"),
        ("/admin/queues", "/admin/queues"),
        ("https://evil.example/admin/queues", "/admin/queues"),
        ("//evil.example/admin/queues", "/admin/queues"),
        ("/\\evil.example", "/admin/queues"),
        ("/admin/queues/\\..", "/admin/queues"),
        ("/admin/queuesx", "/admin/queues"),
        ("javascript:alert(1)", "/admin/queues"),
        ("/admin/queues/a\r\nSet-Cookie: x", "/admin/queues"),
        ("", "/admin/queues"),
    ],
)
def test_after_signing_in_one_comes_to_a_page_of_ours(target: str, expected: str) -> None:
    assert inside(target) == expected


@pytest.mark.parametrize("text", ["", "a", "a.", ".b", "a.b/../c", "A.b", "a.b?x", "a.b#x", "../x.y"])
def test_a_key_that_could_lead_elsewhere_is_none(text: str) -> None:
    assert parse_key(text) is None
    assert parse_key("team.job-1") == ("team", "job-1")


def test_a_bar_shows_what_is_not_nothing_and_never_leaves_its_box() -> None:
    chance = random.Random(5)
    for _ in range(500):
        parts = [(str(number), chance.choice((0, 1, 7, 10**6))) for number in range(4)]
        whole = sum(count for _, count in parts)
        found = words.segments(parts, whole)
        assert all(one.x >= 0 and one.x + one.width <= 100.03 for one in found)
        assert all(one.width >= 1 for one in found)
    assert words.segments([("a", 0)], 0) == ()


def test_what_stands_between_backticks_is_code_and_nothing_is_markup() -> None:
    assert words.coded("fewer than `limit` <b>") == "fewer than <code>limit</code> &lt;b&gt;"
    assert words.coded("`<i>`") == "<code>&lt;i&gt;</code>"


def test_times_that_are_none_are_left_out() -> None:
    assert words.when(1e300, NOW) is None
    assert words.since("yesterday", NOW) is None
    assert words.when(NOW - 90, NOW) == ("1m30s ago", "2027-01-15 07:58:30 UTC", "2027-01-15T07:58:30Z")
    assert words.when(NOW + 90, NOW).short == "in 1m30s"  # type: ignore[union-attr]


def test_a_sparkline_fills_its_box_and_nothing_draws_none() -> None:
    assert words.points([0, 0, 0], 120, 24) == ""
    assert words.points([0, 5, 10], 100, 22) == "0.0,21.0 50.0,11.0 100.0,1.0"


def test_a_line_counts_what_is_finished() -> None:
    row = JobRow(
        phase="Running", queue="q", namespace="n", type="export", name="a", uid="u", created=int(NOW) - 100,
        started=int(NOW) - 90, total=2000, succeeded=1200, failed=300, active=4, errors=("timeout", "0123456789ab"),
    )  # fmt: skip
    line = build_line(row, NOW)
    assert (line.done, line.total, line.percent, line.took) == ("1,500", "2,000", 75, "1m30s")
    assert [one.kind for one in line.bar] == ["good", "bad", "active"]
    assert line.classes == ("timeout",)
    assert (line.key, line.path) == ("n.a", "/admin/queues/jobs/n/a")


def test_items_that_were_cancelled_with_their_run_are_finished_in_no_list_and_on_no_page() -> None:
    counts = {"total": 10, "succeeded": 5, "cancelled": 5}
    for phase, done in (("Succeeded", "10"), ("Cancelled", "5")):
        row = JobRow(
            phase=phase, queue="q", namespace="n", type="export", name="a", uid="u", created=0, total=10, succeeded=5,
            cancelled=5,
        )  # fmt: skip
        line = build_line(row, NOW)
        assert (line.done, line.total, line.percent) == (done, "10", 10 * int(done))
        body = body_of(phase, counts=counts)
        view = build_job(BatchJob.parse(body), body, NOW)
        assert (view.progress, view.percent) == (f"{done} of 10 items", 10 * int(done))


def test_a_phase_that_a_newer_operator_wrote_is_shown_quietly() -> None:
    row = JobRow(phase="Dreaming", queue="q", namespace="n", type="export", name="a", uid="u", created=0)
    assert (build_line(row, NOW).phase, build_line(row, NOW).state) == ("Dreaming", "quiet")


def test_tabs_keep_the_rest_of_a_search() -> None:
    query = parse_query("owner:alice status:failed")
    tabs = {tab.label: tab for tab in build_list("", query, Page([], None, 0), NOW, is_later=False).tabs}
    assert tabs["Failed"].is_current
    assert not tabs["All"].is_current
    assert tabs["All"].path == "/admin/queues/jobs?q=owner%3Aalice"
    assert tabs["Running"].path == "/admin/queues/jobs?q=owner%3Aalice+status%3Arunning"


def test_a_search_that_is_wrong_says_where() -> None:
    assert build_fault("type:x statu:y", "There is no qualifier statu.", 7).fault == (
        "There is no qualifier statu. (at “statu:y”)"
    )


@pytest.mark.parametrize(
    ("phase", "spec", "possible"),
    [
        ("Running", {}, {"redrive", "suspend", "cancel"}),
        ("Queued", {"suspend": True}, {"redrive", "resume", "cancel"}),
        ("Running", {"cancel": True}, {"redrive", "suspend"}),
        ("Succeeded", {}, {"redrive"}),
        ("Failed", {"suspend": True}, {"redrive"}),
    ],
)
def test_what_can_be_done_follows_from_where_it_stands(phase: str, spec: dict[str, Any], possible: set[str]) -> None:
    job = job_of(phase, spec)
    assert {str(action) for action in Action if obstacle(action, job) is None} == possible


def test_what_is_held_goes_on_with_a_token_that_nobody_used() -> None:
    held = job_of("Suspended", conditions=[condition("Suspended", "FailureThreshold", "too many")])
    assert obstacle(Action.RESUME, held) is None
    change = {"metadata": {"uid": "u"}, "spec": {"suspend": False, "resumeToken": "t1"}}
    assert build_change(Action.RESUME, held, "t1") == change


def test_a_redrive_is_the_same_run_again_over_the_failed_items() -> None:
    body = body_of("Failed", {"suspend": True, "cancel": True, "resumeToken": "t", "owner": "bob"})
    job, wanted = BatchJob.parse(body), {"filter": {"errorClass": ["timeout"]}}
    kept = {key: value for key, value in spec_of("custom").items() if key != "source"}
    spec = build_redrive(job, body, wanted)
    assert spec == {"owner": "bob", **kept, "source": {"redriveOf": {"batchJobName": "a", **wanted}}}
    assert BatchJobSpec.model_validate(spec).source.redrive_of
    labels = {"team": "a", "app.kubernetes.io/instance": "app", "kustomize.toolkit.fluxcd.io/name": "app"}
    assert redrive_labels({"metadata": {"labels": labels}}) == {"team": "a"}, "nobody takes it for a part of Git"
    names = {redrive_name(job, kind) for kind in ("", *ErrorClass)}
    assert len(names) == 1 + len(ErrorClass)
    assert redrive_name(job, "timeout") in names
    body["metadata"]["name"] = "b" * 52
    assert len(redrive_name(BatchJob.parse(body), "")) == 52


def test_a_plan_tells_apart_what_it_fits() -> None:
    jobs = [job_of("Running"), job_of("Succeeded")]
    plan = build_plan(Action.CANCEL, jobs, [bulk_job("n", "gone", "it is not there")])
    assert (len(plan.fit), [one.detail for one in plan.left]) == (1, ["it has ended (Succeeded)", "it is not there"])
    assert plan.typed == "cancel 1"
    assert "35 items will not be done" in plan.consequence
    assert build_plan(Action.SUSPEND, jobs, []).typed == ""


def test_why_it_waits_is_told_with_its_place() -> None:
    waits = [condition("Queued", "ConcurrencyLimit", "20 BatchJobs run."), condition("Reconciling", "x", "y")]
    body = body_of("Queued", conditions=waits, queuePosition=3)
    why = build_job(BatchJob.parse(body), body, time.time()).why
    assert why
    assert (why.title, why.reason) == ("Why it waits", "ConcurrencyLimit")
    assert why.message == "20 BatchJobs run. It is number 3 in line."


def test_a_long_spec_is_cut() -> None:
    body = body_of(spec={"labels": ["x" * 80] * 1000})
    view = build_job(BatchJob.parse(body), body, NOW)
    assert view.is_spec_cut
    assert len(view.spec) == 20_000


def test_events_come_newest_first_whichever_clock_they_carry() -> None:
    events = [
        {"metadata": {"creationTimestamp": stamp(9)}, "reason": "Old", "eventTime": "2020-01-01T00:00:00.000000Z"},
        {"metadata": {"creationTimestamp": stamp(9)}, "reason": "New", "note": "n", "series": {"count": 3}},
    ]
    assert [(one.reason, one.message, one.count) for one in build_events(events, NOW)] == [
        ("New", "n", 3),
        ("Old", "", 1),
    ]


def test_every_type_has_a_queue_without_an_object() -> None:
    view = build_overview([], {}, {}, NOW, is_admin=True)
    assert [line.name for line in view.lines] == ["ai-batch", "custom", "email", "export", "report"]
    assert view.is_empty


@pytest.mark.parametrize(("is_admin", "oldest"), [(True, "12m34s"), (False, "")])
def test_how_long_the_oldest_has_waited_is_for_admins(is_admin: bool, oldest: str) -> None:
    since = datetime.fromtimestamp(NOW - 754, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    queue = BatchQueue.model_validate({"metadata": {"name": "q"}, "status": {"oldestWaitingSince": since}})
    [line] = build_overview([queue], {}, {}, NOW, is_admin=is_admin).lines
    assert (line.name, line.oldest) == ("q", oldest)


def test_ended_runs_are_counted_by_hour() -> None:
    def ended(ago: float, phase: str) -> Ended:
        return Ended("q", phase, NOW - ago)

    hours, failed = per_hour([ended(60, "Failed"), ended(3700, "Succeeded"), ended(90_000, "Failed")], NOW)["q"]
    assert (hours[-1], hours[-2], sum(hours), failed) == (1, 1, 2, 1)


def test_schedules_that_run_next_come_first() -> None:
    lines = build_schedules([BatchSchedule.parse(one) for one in build_scene(1).schedules], time.time())
    assert [line.name for line in lines] == ["nightly-export", "weekly-report", "office-hours"]
    assert lines[2].is_suspended
    assert lines[2].following is None


def test_a_pod_says_why_it_does_not_run() -> None:
    unscheduled = {"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}}  # fmt: skip
    ending = {"metadata": {"name": "q", "deletionTimestamp": stamp(1)}}
    lines = build_pods([ending, unscheduled, *build_scene(1).pods], time.time())
    assert [line.phase for line in lines] == ["Running"] * 3 + ["Pending", "Pending", "Ending"]
    assert {line.detail for line in lines} >= {"0/3 nodes are available"}
