"""What the operator decides about a BatchSchedule, in a world of plain values."""

import copy
from dataclasses import replace
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
from batchjob.controller.schedules.actions import MakeCronJob, MakeJob, MakeRun
from batchjob.controller.schedules.manifests import (
    JOB_MANAGER,
    JOB_TIME,
    cron_job_name,
    fits,
    run_name,
)
from batchjob.controller.schedules.plan import plan_schedule
from batchjob.controller.schedules.status import build_schedule_status
from batchjob.core.reasons import Reason
from batchjob.core.schedule_runs import IN_TURN, SCHEDULE_LABEL
from tests.support.schedule_world import (
    HOURLY,
    NAME,
    ScheduleWorld,
    condition,
    missed,
    run,
    world,
)

DAILY = "0 0 * * *"


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


def test_a_time_is_due_until_its_job_is_there_however_late_that_is() -> None:
    found = world()
    due = found.hour(1)
    for hour in (1, 2, 25):
        found.now = found.hour(hour) + timedelta(minutes=10)
        assert found.look().due_time == due, "Kubernetes makes none"
    found.fire(found.hour(25))
    assert found.look().due_time == found.hour(26)
    found.edit(suspend=True)
    assert found.look().due_time is None


def test_what_forbid_leaves_out_while_a_run_goes_on_is_not_due_and_after_it_a_time_is() -> None:
    found = world(concurrencyPolicy="Forbid")
    found.fire(found.hour(1))
    found.settle()
    found.now = found.hour(3) + timedelta(minutes=10)
    assert found.look().due_time == found.hour(4)
    [name] = found.runs
    found.end(name)
    found.settle()
    assert found.look().due_time == found.hour(4)
    found.now = found.hour(5)
    assert found.look().due_time == found.hour(4), "late"


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


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_a_batch_job_with_the_name_and_a_job_of_ours_is_no_run_unless_owner_and_time_are_ours(owner: str) -> None:
    found = world(owner="bob")
    job = found.fire(found.hour(1))
    found.settle()
    controller = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "controller": True}
    uid = found.jobs[job]["metadata"]["uid"]
    metadata = {"name": run(2), "labels": {SCHEDULE_LABEL: NAME}, "ownerReferences": [{**controller, "uid": uid}]}
    found.create_run({"metadata": metadata, "spec": {"owner": owner}})
    found.end(run(2))
    found.taken = {run(2)}
    second = found.fire(found.hour(2))
    for _ in range(3):
        found.look()
    assert condition(found, ScheduleConditionType.STALLED)[:2] == ("True", "NameTaken")
    assert "conditions" not in found.jobs[second].get("status", {})
    seen = found.observe()
    assert [seen.is_ours(one) for one in seen.runs.values()] == [True, False]
    alices = replace(seen.runs[run(1)], owner="alice")
    assert not seen.is_ours(alices)


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


def test_suspend_is_kubernetes_own_and_says_so() -> None:
    found = world(suspend=True)
    [cron_job] = found.cron_jobs.values()
    assert cron_job["spec"]["suspend"] is True
    assert condition(found, ScheduleConditionType.SUSPENDED)[:2] == ("True", "SuspendedByUser")
    assert found.status is not None
    assert found.status.next_schedule_time is None


def test_it_is_reconciling_until_its_cron_jobs_are_seen() -> None:
    found = ScheduleWorld()
    found.look()
    status, reason, message = condition(found, ScheduleConditionType.RECONCILING)
    assert (status, reason) == ("True", "Scheduled")
    assert found.cron_job() in message
    found.settle()
    assert condition(found, ScheduleConditionType.RECONCILING) == ("False", "Scheduled", "")


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
