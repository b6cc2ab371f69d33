"""BatchSchedules: Kubernetes' CronJobs keep the time and make Jobs without pods, and each Job gets its BatchJob."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.cluster_schedules import TIMES, Schedules, batch_schedule
from tests.support.kubectl import names, wait_until

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def schedules(jobs: Jobs) -> Iterator[Schedules]:
    """BatchSchedules in the namespace of this test."""
    found = Schedules(jobs.kubectl)
    yield found
    found.kubectl("delete", "batchschedules", "--all", "--timeout=60s")


@pytest.mark.usefixtures("pods")
def test_a_run_is_named_after_its_time_and_its_job_tells_the_cron_job_how_it_ended(
    jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("weekly"))
    run = schedules.fire("weekly", TIMES[0])
    assert run == "weekly-202603010900"
    wait_until(lambda: jobs.kubectl.exists("batchjob", run), f"{run} to be made")
    jobs.wait_complete(run)
    job = schedules.job_of(run)
    status = schedules.wait_job(job["metadata"]["name"], "Complete")
    assert status["succeeded"] == 1
    assert [c["type"] for c in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert not schedules.kubectl.items("pods", "-l", f"batch.kubernetes.io/job-name={job['metadata']['name']}")
    seen = schedules.wait_status("weekly", "to be idle", lambda status: bool(status.get("lastSuccessfulTime")))
    assert (seen["activeRuns"], seen["active"]) == (0, [])
    assert seen["lastScheduleTime"] == "2026-03-01T09:00:00Z"
    assert seen["nextScheduleTime"] == "2028-02-29T00:00:00Z"
    cron_job = schedules.kubectl.get("cronjob", schedules.cron_job("weekly"))
    assert cron_job["status"]["lastSuccessfulTime"] == seen["lastSuccessfulTime"]


def test_a_failed_run_fails_its_job_with_the_reason(jobs: Jobs, schedules: Schedules) -> None:
    schedules.apply(batch_schedule("failing"))
    run = schedules.fire("failing", TIMES[0])
    wait_run(jobs, run)
    active = schedules.wait_status("failing", "to have a run", lambda status: status["activeRuns"] == 1)
    assert active["active"] == [run]
    jobs.kubectl("patch", "batchjob", run, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition(run, "Failed", "Cancelled")
    status = schedules.wait_job(schedules.job_of(run)["metadata"]["name"], "Failed")
    assert [(c["type"], c["reason"]) for c in status["conditions"]] == [
        ("FailureTarget", "Cancelled"),
        ("Failed", "Cancelled"),
    ]
    assert "startTime" in status


def wait_run(jobs: Jobs, name: str) -> dict[str, Any]:
    """Wait until a BatchJob was made; returns it."""
    wait_until(lambda: name in names(jobs.kubectl.items("batchjobs")), f"{name} to be made")
    return jobs.get(name)
