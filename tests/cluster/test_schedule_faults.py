"""BatchSchedules while writes fail, watches break and operators are killed: each time runs once all the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import SYSTEM
from tests.support.cluster_jobs import Jobs
from tests.support.cluster_schedules import TIMES, Schedules, batch_schedule
from tests.support.fault_proxy import FaultProxy, status
from tests.support.kubectl import names, wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

PAUSED = {"spec": noop("paused", inline(1), suspend=True)["spec"]}
WRITES = [
    "POST {}/cronjobs$",
    "POST {}/batchjobs$",
    "PATCH {}/jobs/[^/]*/status$",
    "PATCH {}/batchschedules/.*/status$",
]
# Nobody else is looked at, but for queues, and the Lease is taken once and then left alone.
ALONE = {"pod_namespace": SYSTEM, "lease_retry_seconds": 600, "lease_seconds": 3600, "lease_renew_seconds": 3000}


@pytest.fixture
def schedules(jobs: Jobs) -> Schedules:
    """BatchSchedules in the namespace of this test."""
    return Schedules(jobs.kubectl)


@pytest.fixture
def proxy(operator_account: Path) -> Iterator[FaultProxy]:
    with FaultProxy(operator_account) as running:
        yield running


@pytest.fixture
def operator(proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs) -> Iterator[OperatorProcess]:
    """An operator that speaks through the proxy, and serves the namespace of this test alone."""
    told = ALONE | {"watch_namespaces": jobs.kubectl.namespace}
    running = OperatorProcess(proxy.kubeconfig(tmp_path), redis_server.url, tmp_path, **told).start()
    yield running
    running.kill()


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("how", ["lost reply", "500", "killed"])
def test_a_write_that_fails_is_lost_or_is_the_last_is_made_good_and_made_once(
    call: str, how: str, operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, schedules: Schedules
) -> None:
    spoilt = call.format(f".*/namespaces/{jobs.kubectl.namespace}")
    # A killed operator does not hear the answer either, and does nothing else of its plan.
    fault = proxy.inject(spoilt, answer=status(500)) if how == "500" else proxy.inject(spoilt, lose_reply=True)
    jobs.kubectl.apply(batch_schedule("once", template=PAUSED))
    if "cronjobs" not in call and "batchschedules" not in call:
        schedules.wait_seen("once")
        schedules.fire("once", TIMES[0])
    wait_until(lambda: fault.hits, "the fault to strike", every=0.01)
    if how == "killed":
        operator.kill()
        operator.start()
    schedules.wait_seen("once")
    wait_until(lambda: names(jobs.kubectl.items("cronjobs")), "its CronJob", until=[schedules.cron_job("once")].__eq__)
    if not jobs.kubectl.items("jobs"):
        schedules.fire("once", TIMES[0])
    seen = schedules.wait_status("once", "to have a run", lambda found: found.get("activeRuns") == 1)
    assert names(jobs.kubectl.items("batchjobs")) == seen["active"]
    [job] = jobs.kubectl.items("jobs")
    wait_until(lambda: schedules.job(job["metadata"]["name"])["status"], "it to have begun", until=has_begun)


def has_begun(found: dict[str, object]) -> bool:
    return "startTime" in found and found.get("active") == 1


def test_watches_that_break_miss_nothing(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("watched", template=PAUSED))
    refused = proxy.inject(r"WATCH .*\?schedule$", answer=status(503), times=1000)
    proxy.cut_watches(last=b"")  # as a watch should end
    wait_until(lambda: refused.hits >= 3, "the watches to be away")
    run = schedules.fire("watched", TIMES[0])
    refused.times = refused.hits
    wait_until(lambda: names(jobs.kubectl.items("batchjobs")), "its run", until=[run].__eq__)
    assert operator.process is not None


def test_what_happened_while_no_operator_ran_is_caught_up_with_and_then_nothing_is_written(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("alone", template=PAUSED))
    first = schedules.fire("alone", TIMES[0])
    wait_until(lambda: names(jobs.kubectl.items("batchjobs")), "its run", until=[first].__eq__)
    jobs.wait_phase(first, "Suspended")
    operator.kill()
    second = schedules.fire("alone", TIMES[1])
    jobs.kubectl("delete", "batchjob", first)
    operator.start()
    wait_until(lambda: names(jobs.kubectl.items("batchjobs")), "the second run", until=[second].__eq__)
    jobs.wait_phase(second, "Suspended")
    schedules.wait_status("alone", "to have one run", lambda found: found.get("active") == [second])
    operator.kill()
    before = len(proxy.calls)
    operator.start()
    looked = "batchjob_reconcile_seconds_count"
    wait_until(lambda: operator.metric(looked) >= 1, "the BatchJob to be looked at")
    schedules.patch("alone", successfulJobsHistoryLimit=7)
    ours = re.compile(f"/namespaces/{jobs.kubectl.namespace}/|/leases")
    done = [call.path for call in proxy.calls[before:] if call.is_write and 200 <= call.status < 300]
    assert len([*filter(ours.search, done)]) <= 3, "the Lease, and what the edit asks for: the CronJob and the status"


def test_a_run_that_ended_and_was_deleted_before_its_job_was_told_is_not_forgotten(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, schedules: Schedules
) -> None:
    schedules.apply(batch_schedule("brief", template=PAUSED))
    run = schedules.fire("brief", TIMES[0])
    wait_until(lambda: names(jobs.kubectl.items("batchjobs")), "its run", until=[run].__eq__)
    job = schedules.job_of(run)["metadata"]["name"]
    wait_until(lambda: schedules.job(job)["status"], "its Job to have begun", until=has_begun)
    refused = proxy.inject(r"PATCH .*/jobs/[^/]*/status$", answer=status(500), times=1000)
    jobs.kubectl("patch", "batchjob", run, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition(run, "Failed", "Cancelled")
    wait_until(lambda: refused.hits, "the operator to have tried to tell the Job")
    jobs.delete(run)
    refused.times = refused.hits
    ended = schedules.wait_job(job, "Failed")
    assert {c["reason"] for c in ended["conditions"]} == {"Cancelled"}, "and not RunDeleted"
    assert operator.process is not None
