"""BatchSchedules: Kubernetes' CronJobs keep the time and make Jobs without pods, and each Job gets its BatchJob."""

import json
import time
from functools import partial
from typing import Any

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.cluster_schedules import SELDOM, TIMES, Schedules, batch_schedule, last_hours
from tests.support.kubectl import names, wait_until
from tests.support.manifests import inline, noop

pytestmark = pytest.mark.usefixtures("operator")

HOURLY, EACH_MINUTE = "0 * * * *", "* * * * *"
PAUSED = {"spec": noop("paused", inline(1), suspend=True)["spec"]}  # runs that stay until somebody ends them


@pytest.fixture
def schedules(jobs: Jobs) -> Schedules:
    """BatchSchedules in the namespace of this test."""
    return Schedules(jobs.kubectl)


@pytest.mark.usefixtures("pods")
def test_a_run_is_named_after_its_time_and_its_job_tells_the_cron_job_how_it_ended(
    jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("weekly"))
    run = schedules.fire("weekly", TIMES[0])
    assert run == "weekly-202603010900"
    wait_run(jobs, run)
    jobs.wait_complete(run)
    job = schedules.job_of(run)["metadata"]["name"]
    status = schedules.wait_job(job, "Complete")
    assert status["succeeded"] == 1
    assert [c["type"] for c in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert not jobs.kubectl.items("pods", "-l", f"batch.kubernetes.io/job-name={job}"), "it is a placeholder"
    seen = schedules.wait_status("weekly", "to be idle", lambda status: bool(status.get("lastSuccessfulTime")))
    assert (seen["activeRuns"], seen["active"]) == (0, [])
    assert seen["lastScheduleTime"] == "2026-03-01T09:00:00Z"
    assert seen["nextScheduleTime"] == "2028-02-29T00:00:00Z"
    cron_job = jobs.kubectl.get("cronjob", schedules.cron_job("weekly"))
    assert cron_job["status"]["lastSuccessfulTime"] == seen["lastSuccessfulTime"], "Kubernetes saw it"


def test_a_failed_run_fails_its_job_with_the_reason(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("failing", template=PAUSED))
    run = schedules.fire("failing", TIMES[0])
    wait_run(jobs, run)
    active = schedules.wait_status("failing", "to have a run", lambda status: status["activeRuns"] == 1)
    assert active["active"] == [run]
    job = schedules.job_of(run)["metadata"]["name"]
    cancel(jobs, run)
    status = schedules.wait_job(job, "Failed")
    said = [(c["type"], c["reason"]) for c in status["conditions"]]
    assert said == [("FailureTarget", "Cancelled"), ("Failed", "Cancelled")]


def test_each_minute_kubernetes_replaces_a_run_or_leaves_one_out_as_the_policy_says(
    jobs: Jobs, schedules: Schedules
) -> None:
    for policy in ("Replace", "Forbid"):
        name = policy.lower()
        schedules.apply(batch_schedule(name, EACH_MINUTE, template=PAUSED, concurrencyPolicy=policy))
        schedules.forget(name, last_hours(1)[0], EACH_MINUTE)  # Kubernetes makes the run of this minute at once
    first = {name: wait_active(schedules, name) for name in ("replace", "forbid")}
    jobs.wait_phase(first["forbid"], "Suspended")  # the other may be replaced while one looks at it
    replaced = wait_until(
        lambda: schedules.status("replace").get("active", []),
        "the next minute's run in its place",
        until=lambda active: bool(active) and first["replace"] not in active,
    )
    assert len(replaced) == 1
    wait_until(lambda: first["replace"] not in run_names(jobs), "the replaced BatchJob to be gone")
    wait_until(lambda: "JobAlreadyActive" in event_reasons(jobs), "Kubernetes to say that it left a run out")
    assert [run for run in run_names(jobs) if run.startswith("forbid")] == [first["forbid"]]


def test_in_a_queue_the_oldest_run_goes_first_and_the_others_say_what_they_wait_for(
    jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("queue", template=PAUSED, concurrencyPolicy="Queue"))
    first, second, third = (schedules.fire("queue", at) for at in TIMES[:3])
    for run in (first, second, third):
        wait_run(jobs, run)
    for run, before in ((second, first), (third, second)):  # its turn comes before the pause, as people see it
        resume(jobs, run)
        condition = jobs.wait_condition(run, "Queued", "PreviousRunActive")
        assert f"BatchJob {before}" in condition["message"]
    jobs.wait_phase(first, "Suspended")
    cancel(jobs, first)
    jobs.wait_phase(second, "Running")
    assert f"BatchJob {second}" in jobs.wait_condition(third, "Queued", "PreviousRunActive")["message"]
    jobs.delete(second)
    jobs.wait_phase(third, "Running")


def test_what_was_missed_while_kubernetes_was_away_is_made_up_for(jobs: Jobs, schedules: Schedules) -> None:
    wait_until(lambda: 3600 - time.time() % 3600, "an hour that does not end meanwhile", until=lambda left: left > 60)
    policy = {"catchUp": {"maxRuns": 2}, "concurrencyPolicy": "Queue"}
    schedules.apply(batch_schedule("away", HOURLY, template=PAUSED, **policy))
    hours = last_hours(6)
    schedules.forget("away", hours[0], HOURLY)
    wanted = [f"away-{hour:%Y%m%d%H%M}" for hour in (hours[1], hours[2], hours[5])]
    seen = schedules.wait_status("away", "to have three runs", lambda status: status.get("activeRuns") == 3)
    assert seen["active"] == wanted, "the last one is Kubernetes' own"
    assert run_names(jobs) == wanted
    told = {("Normal", "RunCreated"), ("Normal", "RunCaughtUp"), ("Warning", "RunsMissed")}
    assert events(jobs, "away") == told
    assert seen["cronJobs"][0]["settledUntil"] == f"{hours[5]:%Y-%m-%dT%H:%M:%SZ}"


def test_history_limits_remove_old_batch_jobs(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("history", template=PAUSED, failedJobsHistoryLimit=1))
    runs = [schedules.fire("history", at) for at in TIMES[:3]]
    for run in runs:
        wait_run(jobs, run)
        cancel(jobs, run)
    wait_until(lambda: run_names(jobs), "all but the newest to be gone", until=lambda found: len(found) == 1)
    wait_until(lambda: len(jobs.kubectl.items("jobs")), "their Jobs too", until=lambda count: count == 1)


def test_a_schedule_that_is_deleted_takes_everything_along(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("gone"))
    run = schedules.fire("gone", TIMES[0])
    wait_run(jobs, run)
    jobs.wait_phase(run, "Running")
    jobs.kubectl("delete", "batchschedule", "gone", "--timeout=60s")
    for kind in ("cronjobs", "jobs", "batchjobs"):
        wait_until(partial(jobs.kubectl.items, kind), f"its {kind} to be gone", until=[].__eq__)


def test_a_run_that_somebody_deleted_is_not_made_again(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("off", template=PAUSED))
    run = schedules.fire("off", TIMES[0])
    wait_run(jobs, run)
    job = schedules.job_of(run)["metadata"]["name"]
    wait_until(lambda: "startTime" in schedules.job(job)["status"], "the Job to have begun")
    jobs.delete(run)
    status = schedules.wait_job(job, "Failed")
    assert status["conditions"][0]["reason"] == "RunDeleted"
    assert run_names(jobs) == []


def test_a_run_can_be_made_by_hand(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("manual", template=PAUSED))
    [cron_job] = schedules.status("manual")["cronJobs"]
    jobs.kubectl("create", "job", "try-it", f"--from=cronjob/{cron_job['name']}")
    wait_run(jobs, "try-it")
    assert schedules.job_of("try-it")["metadata"]["name"] == "try-it"
    cancel(jobs, "try-it")
    schedules.wait_job("try-it", "Failed")


def test_a_cron_job_that_somebody_changed_or_deleted_is_as_it_was(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("healed", startingDeadlineSeconds=600))
    name = schedules.cron_job("healed")
    wanted = jobs.kubectl.get("cronjob", name)
    changed = {"suspend": True, "schedule": "1 1 1 1 *", "startingDeadlineSeconds": None}
    jobs.kubectl("patch", "cronjob", name, "--type=merge", "-p", json.dumps({"spec": changed}))
    wait_until(lambda: jobs.kubectl.get("cronjob", name)["spec"], "it to be mended", until=wanted["spec"].__eq__)
    jobs.kubectl("label", "cronjob", name, "batchjob.dev/schedule-", "app.kubernetes.io/managed-by-")
    labels = wanted["metadata"]["labels"]
    wait_until(
        lambda: jobs.kubectl.get("cronjob", name)["metadata"].get("labels"),
        "its labels to be back",
        until=lambda found: found == labels,
    )
    jobs.kubectl("delete", "cronjob", name)
    wait_until(lambda: names(jobs.kubectl.items("cronjobs")), "it to be made again")
    assert jobs.kubectl.get("cronjob", name)["metadata"]["uid"] != wanted["metadata"]["uid"]


def test_edits_reach_the_cron_jobs_and_one_that_is_not_wanted_goes(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("edited", SELDOM, HOURLY))
    schedules.patch("edited", suspend=True, concurrencyPolicy="Forbid", startingDeadlineSeconds=60)
    for cron_job in jobs.kubectl.items("cronjobs"):
        spec = cron_job["spec"]
        assert (spec["suspend"], spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == (True, "Forbid", 60)
    schedules.patch("edited", schedules=[HOURLY], timeZone="Europe/Berlin", suspend=False, startingDeadlineSeconds=None)
    wanted = [schedules.cron_job("edited", HOURLY, "Europe/Berlin")]
    wait_until(lambda: names(jobs.kubectl.items("cronjobs")), "the others to be gone", until=wanted.__eq__)
    [one] = jobs.kubectl.items("cronjobs")
    assert one["spec"]["timeZone"] == "Europe/Berlin"
    assert "startingDeadlineSeconds" not in one["spec"]


def test_a_cron_jobs_name_that_somebody_else_has_is_said_and_taken_once_it_is_free(
    jobs: Jobs, schedules: Schedules
) -> None:
    name = schedules.cron_job("taken")
    container = {"name": "c", "image": "none"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"schedule": SELDOM, "jobTemplate": {"spec": {"template": pod}}},
    }
    jobs.kubectl.apply(foreign)
    schedules.apply(batch_schedule("taken"))
    assert f"CronJob {name} exists" in schedules.wait_stalled("taken", "NameTaken")
    jobs.kubectl("delete", "cronjob", name)
    schedules.wait_status("taken", "to go on", is_well)
    assert jobs.kubectl.get("cronjob", name)["spec"]["jobTemplate"]["spec"]["managedBy"] == "batchjob.dev/schedule"


def test_who_takes_the_name_of_a_run_to_come_with_a_job_of_the_schedule_is_not_taken_for_the_run(
    jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("bobs", template=PAUSED, owner="bob"))
    first = schedules.fire("bobs", TIMES[0])
    wait_run(jobs, first)
    taken = f"bobs-{TIMES[1]:%Y%m%d%H%M}"
    fake = noop(taken, inline(1), owner="alice", suspend=True)
    metadata = jobs.kubectl.get("batchjob", first)["metadata"]
    fake["metadata"] |= {"labels": metadata["labels"], "ownerReferences": metadata["ownerReferences"]}
    jobs.kubectl.apply(fake)
    assert schedules.fire("bobs", TIMES[1]) == taken
    assert f"BatchJob {taken} exists" in schedules.wait_stalled("bobs", "NameTaken")
    third = schedules.fire("bobs", TIMES[2])
    wait_run(jobs, third)
    jobs.delete(taken)
    wait_run(jobs, taken)
    schedules.wait_status("bobs", "to go on", is_well)
    assert [jobs.kubectl.get("batchjob", run)["spec"]["owner"] for run in (first, taken, third)] == ["bob"] * 3


def test_what_only_the_operator_can_see_is_said_and_heals(schedules: Schedules) -> None:
    schedules.apply(batch_schedule("wrong", "0 9 30 2 *", timeZone="Europe/Berln"))
    assert "there is no time zone Europe/Berln" in schedules.wait_stalled("wrong", "InvalidSpec")
    schedules.patch("wrong", timeZone="Europe/Berlin")
    assert schedules.wait_stalled("wrong", "InvalidSpec").startswith("spec.schedules[0]: '0 9 30 2 *'")
    schedules.patch("wrong", schedules=["0 9 * * 1"])
    schedules.wait_status("wrong", "to go on", is_well)


def test_a_run_that_a_quota_forbids_is_said_and_made_once_it_may_be(jobs: Jobs, schedules: Schedules) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/batchjobs.batchjob.dev": "0"}},
    }
    jobs.kubectl.apply(quota)
    used = "count/batchjobs.batchjob.dev"
    wait_until(
        lambda: jobs.kubectl.get("resourcequota", "none").get("status", {}).get("used", {}),
        "the quota to be in force",
        until=lambda found: used in found,
    )
    schedules.apply(batch_schedule("poor", template=PAUSED))
    run = schedules.fire("poor", TIMES[0])
    assert "exceeded quota" in schedules.wait_stalled("poor", "Refused")
    assert events(jobs, "poor") == {("Warning", "Refused")}
    jobs.kubectl("delete", "resourcequota", "none")
    wait_run(jobs, run)
    schedules.wait_status("poor", "to go on", is_well)
    assert events(jobs, "poor") == {("Warning", "Refused"), ("Normal", "RunCreated")}


def test_the_columns_say_when_it_runs_and_ran(schedules: Schedules) -> None:
    schedules.apply(batch_schedule("printed", "0 9 * * 1", SELDOM, timeZone="Europe/Berlin", suspend=True))
    schedules.apply(batch_schedule("next", SELDOM))
    header, row = schedules.kubectl("get", "bsched", "printed", "-o", "wide").splitlines()
    assert " ".join(header.split()) == "NAME SCHEDULE SUSPEND ACTIVE LAST NEXT AGE ZONE POLICY REASON"
    for words in (f'["0 9 * * 1","{SELDOM}"]', "true", "Europe/Berlin", "Allow", "SuspendedByUser"):
        assert words in row
    assert "2028-02-29T00:00:00Z" in schedules.kubectl("get", "batchschedule", "next")


def is_well(status: dict[str, Any]) -> bool:
    """Whether nobody has to do anything."""
    found = {c["type"]: c["status"] for c in status.get("conditions", ())}
    return (found.get("Stalled"), found.get("Reconciling")) == ("False", "False")


def run_names(jobs: Jobs) -> list[str]:
    return sorted(names(jobs.kubectl.items("batchjobs")))


def event_reasons(jobs: Jobs) -> set[str]:
    return {event["reason"] for event in jobs.kubectl.items("events")}


def events(jobs: Jobs, name: str) -> set[tuple[str, str]]:
    """What was posted about a BatchSchedule."""
    about = f"involvedObject.kind=BatchSchedule,involvedObject.name={name}"
    found = jobs.kubectl.items("events", "--field-selector", about)
    assert len({event["message"] for event in found}) == len(found), "each once"
    return {(event["type"], event["reason"]) for event in found}


def wait_run(jobs: Jobs, name: str) -> None:
    """Wait until a BatchJob was made."""
    wait_until(lambda: name in run_names(jobs), f"{name} to be made")


def wait_active(schedules: Schedules, name: str) -> str:
    """Wait until a BatchSchedule has one run; returns its name."""
    status = schedules.wait_status(name, "to have a run", lambda status: status.get("activeRuns") == 1)
    return str(status["active"][0])


def cancel(jobs: Jobs, name: str) -> None:
    jobs.kubectl("patch", "batchjob", name, "--type=merge", "-p", '{"spec":{"cancel":true}}')


def resume(jobs: Jobs, name: str) -> None:
    jobs.kubectl("patch", "batchjob", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
