"""What the operator decides about a BatchSchedule, in a world of plain values."""

import copy
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import V1CronJob, V1Job

from batchjob.api.base import MAX_NAME
from batchjob.api.schedule import MAX_SCHEDULE_NAME, ScheduleConditionType
from batchjob.api.v1alpha1 import SCHEDULED_AT
from batchjob.controller.observed import Trouble
from batchjob.controller.schedule_actions import MakeCronJob, MakeJob, MakeRun
from batchjob.controller.schedule_manifests import (
    IN_TURN,
    JOB_MANAGER,
    JOB_TIME,
    SCHEDULE_LABEL,
    cron_job_name,
    fits,
    run_name,
)
from batchjob.controller.schedule_plan import MAX_MISSED, plan_schedule
from batchjob.controller.schedule_status import build_schedule_status
from batchjob.core.reasons import Reason
from tests.support.schedule_world import HOURLY, NAME, START, ScheduleWorld

DAILY = "0 0 * * *"


def world(**spec: Any) -> ScheduleWorld:
    """A BatchSchedule whose CronJobs are there."""
    found = ScheduleWorld(spec)
    found.settle()
    return found


def missed(found: ScheduleWorld, hours: int) -> None:
    """Kubernetes' controllers were away: it makes the last run alone."""
    found.fire(found.hour(hours))


def run(number: int) -> str:
    return f"{NAME}-{START:%Y%m%d}{number:02}00"


def times_of_jobs(found: ScheduleWorld) -> list[datetime]:
    return sorted(job.at for job in found.observe().jobs)


def job_name(found: ScheduleWorld, number: int) -> str:
    """The name of the Job of a full hour."""
    return f"{found.cron_job()}-{int(found.hour(number).timestamp()) // 60}"


def an_hour_of(found: ScheduleWorld, hour: int) -> None:
    """An hour of a cluster: a run is due, everything ends, and one Complete Job is kept."""
    if job_name(found, hour) not in found.jobs:
        found.fire(found.hour(hour))
    for _ in range(3):
        found.look()
    for name in list(found.runs):
        found.end(name)
    for _ in range(3):
        found.look()
    found.prune(1)


def owed(found: ScheduleWorld) -> list[str]:
    """The times that are still to be made up for."""
    assert found.status is not None
    return found.status.cron_jobs[0].owed


def runs_made(found: ScheduleWorld) -> list[str]:
    """The names of all BatchJobs that were made, as often as they were."""
    return [action.manifest["metadata"]["name"] for action in found.writes if isinstance(action, MakeRun)]


def condition(found: ScheduleWorld, kind: ScheduleConditionType) -> tuple[str, str, str]:
    assert found.status is not None
    one = found.status.condition(kind)
    assert one is not None
    return one.status, one.reason, one.message


def test_each_cron_string_becomes_a_cron_job_whose_jobs_have_no_pods() -> None:
    found = world(schedules=[HOURLY, DAILY], timeZone="Europe/Berlin", concurrencyPolicy="Forbid")
    assert [body["spec"]["schedule"] for body in found.cron_jobs.values()] == [HOURLY, DAILY]
    for body in found.cron_jobs.values():
        assert body["spec"]["timeZone"] == "Europe/Berlin"
        assert body["spec"]["concurrencyPolicy"] == "Forbid"
        assert body["spec"]["jobTemplate"]["spec"]["managedBy"] == JOB_MANAGER
        assert body["metadata"]["ownerReferences"][0]["kind"] == "BatchSchedule"
    assert found.status is not None
    assert found.status.next_schedule_time == "2026-01-01T01:00:00Z"
    assert condition(found, ScheduleConditionType.RECONCILING) == ("False", "Scheduled", "")


def test_queue_lets_kubernetes_allow_and_its_runs_wait_for_their_turn() -> None:
    found = world(concurrencyPolicy="Queue")
    [cron_job] = found.cron_jobs.values()
    assert cron_job["spec"]["concurrencyPolicy"] == "Allow"
    found.fire(found.hour(1))
    found.settle()
    assert found.runs[run(1)]["metadata"]["annotations"][IN_TURN] == "true"
    assert IN_TURN not in world_with_run().runs[run(1)]["metadata"]["annotations"]


def world_with_run(**spec: Any) -> ScheduleWorld:
    found = world(**spec)
    found.fire(found.hour(1))
    found.settle()
    return found


def test_a_job_gets_a_batch_job_that_is_named_after_its_time_and_made_from_the_template() -> None:
    template = {
        "metadata": {"labels": {"team": "a"}, "annotations": {"why": "because"}},
        "spec": {**ScheduleWorld().schedule().spec.job_template.spec.to_json(), "unknown": "kept"},
    }
    found = world_with_run(jobTemplate=template)
    made = found.runs[run(1)]
    assert made["metadata"]["labels"] == {"team": "a", SCHEDULE_LABEL: NAME}
    assert made["metadata"]["annotations"] == {"why": "because", SCHEDULED_AT: "2026-01-01T01:00:00Z"}
    assert made["spec"]["unknown"] == "kept", "a field that a newer version knows"
    [job] = found.jobs.values()
    assert made["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert job["status"] == {"startTime": "2026-01-01T01:00:00Z", "active": 1}
    assert found.status is not None
    assert (found.status.active, found.status.active_runs) == ([run(1)], 1)
    assert found.status.last_schedule_time == "2026-01-01T01:00:00Z"


@pytest.mark.parametrize("owner", [{}, {"owner": "alice"}])
def test_a_run_is_its_schedules_owners_whatever_the_template_says(owner: dict[str, str]) -> None:
    template = {"spec": {**ScheduleWorld().schedule().spec.job_template.spec.to_json(), "owner": "mallory"}}
    found = world_with_run(jobTemplate=template, **owner)
    assert {name: value for name, value in found.runs[run(1)]["spec"].items() if name == "owner"} == owner


def test_a_template_that_was_edited_is_for_later_runs() -> None:
    found = world_with_run()
    before = copy.deepcopy(found.runs[run(1)])
    found.edit(jobTemplate={"spec": {**before["spec"], "parallelism": 7}})
    found.settle()
    found.fire(found.hour(2))
    found.settle()
    assert found.runs[run(1)] == before
    assert found.runs[run(2)]["spec"]["parallelism"] == 7


def test_what_became_of_the_batch_job_ends_its_job_once() -> None:
    found = world_with_run()
    [name] = found.jobs
    found.now += timedelta(minutes=5)
    found.end(run(1))
    found.settle()
    status = found.jobs[name]["status"]
    assert (status["active"], status["succeeded"], status["completionTime"]) == (0, 1, "2026-01-01T01:05:00Z")
    assert [c["type"] for c in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert found.status is not None
    assert found.status.active == []


def test_an_end_before_the_beginning_is_the_beginning() -> None:
    found = world_with_run()
    [job] = found.jobs.values()
    found.now -= timedelta(hours=1)  # another replica's clock
    found.end(run(1))
    found.settle()
    assert job["status"]["completionTime"] == job["status"]["startTime"], "Kubernetes refuses an earlier one"


def test_runs_begin_in_the_order_of_their_times_whatever_their_cron_jobs_are_called() -> None:
    found = world(schedules=[HOURLY, DAILY])
    later, earlier = sorted((HOURLY, DAILY), key=found.cron_job)
    found.fire(found.hour(48), later)
    found.fire(found.hour(24), earlier)
    found.settle()
    assert list(found.runs) == [f"{NAME}-202601020000", f"{NAME}-202601030000"]


@pytest.mark.parametrize("phase", ["Failed", "Cancelled"])
def test_a_batch_job_that_failed_fails_its_job_with_its_reason(phase: str) -> None:
    found = world_with_run()
    found.end(run(1), phase)
    found.settle()
    [job] = found.jobs.values()
    said = [(c["type"], c["reason"], c["message"]) for c in job["status"]["conditions"]]
    assert said == [
        (kind, "ItemsFailed", f"BatchJob {run(1)}: 2 of 3 items failed.") for kind in ("FailureTarget", "Failed")
    ]
    assert "completionTime" not in job["status"], "Kubernetes refuses one on a failed Job"


def test_a_batch_job_that_somebody_deleted_is_not_made_again() -> None:
    found = world_with_run()
    del found.runs[run(1)]
    found.settle()
    assert found.runs == {}
    [job] = found.jobs.values()
    assert {c["reason"] for c in job["status"]["conditions"]} == {"RunDeleted"}


def test_a_batch_job_of_that_name_that_is_not_ours_is_left_alone() -> None:
    found = world()
    foreign = {"metadata": {"name": run(1), "ownerReferences": [{"uid": "somebody", "controller": True}]}}
    found.runs[run(1)] = foreign
    found.fire(found.hour(1))
    plan = plan_schedule(found.observe())
    assert [type(action) for step in plan.steps for action in step.actions][:1] == [MakeRun], "it ends in NameTaken"
    status = build_schedule_status(found.observe(), plan, Trouble(Reason.NAME_TAKEN, "taken"))
    assert {c.type: (c.status, c.reason) for c in status.conditions}["Stalled"] == ("True", "NameTaken")


def test_a_minute_that_two_strings_name_is_one_run_and_ends_both_jobs() -> None:
    found = world(schedules=[HOURLY, DAILY])
    for text in (HOURLY, DAILY):
        found.fire(found.hour(24), text)
    found.settle()
    assert len(found.jobs) == 2
    [name] = found.runs
    found.end(name)
    found.settle()
    assert [job["status"]["succeeded"] for job in found.jobs.values()] == [1, 1]


def test_a_run_that_was_made_by_hand_is_named_after_its_job() -> None:
    found = world()
    found.by_hand("try-it")
    found.settle()
    assert list(found.runs) == ["try-it"]
    assert found.status is not None
    assert found.status.last_schedule_time is None, "it was not due"
    assert found.status.active == ["try-it"]


def test_a_job_that_is_not_ours_to_keep_the_books_of_is_left_alone() -> None:
    found = world()
    found.by_hand("other")
    found.jobs["other"]["spec"] = {"template": {}}
    found.settle()
    assert found.runs == {}


def test_a_cron_job_that_somebody_changed_or_deleted_is_as_it_was() -> None:
    found = world()
    name = found.cron_job()
    wanted = copy.deepcopy(found.cron_jobs[name])
    found.cron_jobs[name]["spec"] |= {"schedule": "* * * * *", "suspend": True, "startingDeadlineSeconds": 9}
    found.settle()
    assert fits(found.cron_jobs[name]["spec"], wanted["spec"])
    del found.cron_jobs[name]
    found.settle()
    assert list(found.cron_jobs) == [name]


def test_an_idle_schedule_costs_no_write() -> None:
    found = world_with_run()
    found.writes.clear()
    status = found.status
    found.look()
    assert (found.writes, found.status) == ([], status)


def test_a_string_that_was_removed_makes_no_new_runs_and_its_cron_job_goes_with_its_last_run() -> None:
    found = world_with_run()
    old = found.cron_job()
    found.edit(schedules=[DAILY])
    found.settle()
    assert found.cron_jobs[old]["spec"]["suspend"] is True
    found.end(run(1))
    found.settle()
    assert list(found.cron_jobs) == [found.cron_job(DAILY)]
    assert found.runs == {}, "its history went along"
    assert found.status is not None
    assert [one.schedule for one in found.status.cron_jobs] == [DAILY]


def test_another_time_zone_is_another_cron_job() -> None:
    found = world()
    before = set(found.cron_jobs)
    found.edit(timeZone="Europe/Berlin")
    found.settle()
    assert len(found.cron_jobs) == 1
    assert not before & set(found.cron_jobs), "Kubernetes would make up for times of the new zone that have passed"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"timeZone": "Europe/Berln"}, "spec.timeZone: there is no time zone Europe/Berln. Use a name of the IANA"),
        ({"schedules": [DAILY, "0 0 30 2 *"]}, "spec.schedules[1]: '0 0 30 2 *': bad day-of-month, or a day that"),
    ],
)
def test_what_the_api_server_cannot_see_is_said_and_runs_go_on(spec: dict[str, Any], words: str) -> None:
    found = world_with_run()
    found.edit(**spec)
    found.settle()
    status, reason, message = condition(found, ScheduleConditionType.STALLED)
    assert (status, reason) == ("True", "InvalidSpec")
    assert message.startswith(words)
    found.end(run(1))
    found.settle()
    assert next(iter(found.jobs.values()))["status"]["succeeded"] == 1
    assert list(found.cron_jobs) == [cron_job_name(NAME, HOURLY, "UTC")], "nothing is taken away for a typing error"


def test_a_schedule_that_is_being_deleted_makes_nothing() -> None:
    found = ScheduleWorld()
    seen = found.observe()
    metadata = seen.schedule.metadata.model_copy(update={"deletion_timestamp": "2026-01-01T00:00:00Z"})
    gone = seen.schedule.model_copy(update={"metadata": metadata})
    assert plan_schedule(type(seen)(**{**vars(seen), "schedule": gone})).steps == ()


def test_suspend_is_kubernetes_own_and_says_so() -> None:
    found = world(suspend=True)
    [cron_job] = found.cron_jobs.values()
    assert cron_job["spec"]["suspend"] is True
    assert condition(found, ScheduleConditionType.SUSPENDED)[:2] == ("True", "SuspendedByUser")
    assert found.status is not None
    assert found.status.next_schedule_time is None


def test_without_catch_up_missed_runs_are_counted_and_given_up() -> None:
    found = world()
    missed(found, 5)
    plan = found.look()
    assert plan.missed == 4
    found.settle()
    assert list(found.runs) == [run(5)]
    assert found.look().missed == 0, "once"
    note = found.said[0]
    assert (note.type, note.reason) == ("Warning", "RunsMissed")
    assert f"not made up for: 4 of '{HOURLY}' from 2026-01-01T01:00:00Z to 2026-01-01T04:00:00Z." in note.message


def test_forbid_leaves_runs_out_on_purpose_and_they_are_not_missed() -> None:
    found = world(concurrencyPolicy="Forbid")
    missed(found, 5)
    assert found.look().missed == 0
    found.settle()
    assert [(note.type, note.reason) for note in found.said] == [("Normal", "RunsLeftOut"), ("Normal", "RunCreated")]


@pytest.mark.parametrize(("most", "hours"), [(10, [1, 2, 3, 4, 5]), (2, [1, 2, 5])])
def test_missed_runs_are_made_oldest_first_up_to_the_most(most: int, hours: list[int]) -> None:
    found = world(catchUp={"maxRuns": most})
    missed(found, 5)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in hours]
    assert sorted(found.runs) == [*map(run, hours)]
    assert [note.message for note in found.said if note.reason == Reason.RUN_CAUGHT_UP] == [
        f"Made BatchJob {run(hour)} for 2026-01-01T0{hour}:00:00Z, which had been missed." for hour in hours[:-1]
    ]
    found.settle()
    assert len(found.runs) == len(hours), "what was given up is not made with the next look"


def test_in_a_queue_what_was_missed_is_made_before_what_kubernetes_made_since() -> None:
    found = world(catchUp={"maxRuns": 10}, concurrencyPolicy="Queue")
    missed(found, 4)
    found.settle()
    assert list(found.runs) == [run(hour) for hour in (1, 2, 3, 4)]


def test_what_is_older_than_the_deadline_is_not_made() -> None:
    found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=2 * 3600 + 60)
    missed(found, 5)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in (3, 4, 5)]


def test_after_more_missed_runs_than_are_looked_through_those_in_time_are_made() -> None:
    found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=2 * 3600 + 60)
    last = MAX_MISSED + 100
    missed(found, last)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in (last - 2, last - 1, last)]


def test_what_fell_into_a_pause_is_not_made_up_for() -> None:
    found = world(catchUp={"maxRuns": 10}, suspend=True)
    found.edit(suspend=False)
    found.now = found.hour(6)
    found.settle()
    found.fire(found.hour(6))
    found.settle()
    assert list(found.runs) == [run(6)]
    found.fire(found.hour(8))
    found.settle()
    assert sorted(found.runs) == [run(6), run(7), run(8)], "what was missed after it is"


def test_a_job_that_could_not_be_made_is_made_later_and_alone() -> None:
    found = world(catchUp={"maxRuns": 10})
    found.taken = {job_name(found, hour) for hour in (1, 2)}
    missed(found, 4)
    for hour in range(4, 9):
        an_hour_of(found, hour)
    assert owed(found) == ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
    assert condition(found, ScheduleConditionType.STALLED)[:2] == ("True", "NameTaken")
    found.taken = {job_name(found, 2)}
    an_hour_of(found, 9)
    assert owed(found) == ["2026-01-01T02:00:00Z"]
    found.taken = set()
    an_hour_of(found, 10)
    assert owed(found) == []
    assert condition(found, ScheduleConditionType.STALLED)[0] == "False"
    assert Counter(runs_made(found)) == Counter(map(run, range(1, 11))), "each once, whatever was owed meanwhile"


def test_what_is_owed_is_given_up_and_told_once_where_its_deadline_is_over_or_nobody_wants_it() -> None:
    for change in ({"startingDeadlineSeconds": 3600}, {"catchUp": None}):
        found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=5 * 3600)
        found.taken = {job_name(found, 1)}
        missed(found, 3)
        found.look()
        found.edit(**change)
        assert found.look().missed == 1
        found.settle()
        assert owed(found) == []
        [note] = [note for note in found.said if note.reason == Reason.RUNS_MISSED]
        assert f"1 of '{HOURLY}' from 2026-01-01T01:00:00Z" in note.message
        assert times_of_jobs(found) == [found.hour(2), found.hour(3)]


def test_in_a_queue_what_is_owed_keeps_no_job_from_being_told_that_its_run_has_ended() -> None:
    found = world(catchUp={"maxRuns": 10}, concurrencyPolicy="Queue")
    first = found.fire(found.hour(1))
    found.settle()
    found.taken = {job_name(found, 2)}
    missed(found, 3)
    found.look()
    found.end(run(1))
    found.look()
    assert {c["type"] for c in found.jobs[first]["status"]["conditions"]} == {"SuccessCriteriaMet", "Complete"}
    assert runs_made(found) == [run(1)], "the next one waits for what was missed before it"


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_is_done_and_pruned_is_not_run_again_while_the_name_of_another_run_is_taken(by_hand: bool) -> None:
    found = world(catchUp={"maxRuns": 3})
    found.taken = {"report" if by_hand else run(1)}
    if by_hand:
        found.by_hand("report")
    for hour in range(1, 13):
        an_hour_of(found, hour)
    assert condition(found, ScheduleConditionType.STALLED)[0] == "True"
    made = map(run, range(1 if by_hand else 2, 13))
    assert Counter(runs_made(found)) == Counter(made), "each once"


def test_it_is_reconciling_until_its_cron_jobs_are_seen() -> None:
    found = ScheduleWorld()
    found.look()
    status, reason, message = condition(found, ScheduleConditionType.RECONCILING)
    assert (status, reason) == ("True", "Scheduled")
    assert found.cron_job() in message
    found.settle()
    assert condition(found, ScheduleConditionType.RECONCILING) == ("False", "Scheduled", "")


@given(crash=st.integers(0, 12), queue=st.booleans(), most=st.integers(1, 8), hours=st.integers(1, 8))
def test_a_crash_at_any_step_changes_nothing_about_the_end(crash: int, queue: bool, most: int, hours: int) -> None:
    ends = []
    for crash_after in (None, crash):
        found = world(catchUp={"maxRuns": most}, concurrencyPolicy="Queue" if queue else "Allow")
        missed(found, hours)
        if crash_after is not None:
            found.look(crash_after=crash_after)
        found.settle()
        for name in sorted(found.runs):
            found.end(name)
        found.settle()
        ends.append((sorted(found.runs), sorted(found.jobs), found.status and found.status.active))
    assert ends[0] == ends[1]


@given(
    st.from_regex(rf"[a-z0-9]([-a-z0-9]{{0,{MAX_SCHEDULE_NAME - 2}}}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", fullmatch=True),
    st.datetimes(datetime(2020, 1, 1), datetime(2159, 1, 1)),  # noqa: DTZ001 - hypothesis' own
)
def test_every_name_fits_and_tells_runs_apart(schedule: str, job: str, at: datetime) -> None:
    cron_job = cron_job_name(schedule, HOURLY, "UTC")
    assert len(cron_job) <= 52, "Kubernetes' limit for a CronJob"
    timed, named = run_name(schedule, job, at.astimezone()), run_name(schedule, job, None)
    for name in (timed, named):
        assert 0 < len(name) <= MAX_NAME
        assert "." not in name
        assert name[0].isalnum()
        assert name[-1].isalnum()
    assert run_name(schedule, job, at.astimezone() + timedelta(minutes=1)) != timed
    assert run_name(schedule, f"{job}x", None) != named


def test_the_manifests_fit_the_schemas_of_kubernetes() -> None:
    found = world(catchUp={"maxRuns": 2}, timeZone="Europe/Berlin", startingDeadlineSeconds=86400)
    [cron_job] = [action.manifest for action in found.writes if isinstance(action, MakeCronJob)]
    kubernetes_validate.validate(cron_job, "1.37", strict=True)
    assert V1CronJob.model_validate(cron_job).model_dump(mode="json", by_alias=True, exclude_none=True) == cron_job
    missed(found, 3)
    jobs = [action.manifest for step in found.look().steps for action in step.actions if isinstance(action, MakeJob)]
    assert len(jobs) == 2
    for job in jobs:
        kubernetes_validate.validate(job, "1.37", strict=True)
        assert V1Job.model_validate(job).model_dump(mode="json", by_alias=True, exclude_none=True) == job
        assert job["metadata"]["annotations"][JOB_TIME].endswith("+01:00"), "as Kubernetes writes it"


def test_a_run_is_told_once_whatever_crashes_and_one_made_by_hand_too() -> None:
    found = world()
    found.fire(found.hour(1))
    for crash_after in range(4):
        found.look(crash_after)
    found.by_hand("try")
    found.settle()
    assert [(note.reason, note.message) for note in found.said] == [
        ("RunCreated", f"Made BatchJob {run(1)} for 2026-01-01T01:00:00Z."),
        ("RunCreated", "Made BatchJob try of a Job made by hand."),
    ]
