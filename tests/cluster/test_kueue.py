"""A queue whose pods Kueue admits. The test plays Kueue: it lets a Job's pods start, fewer of them, and stops them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import SYSTEM
from tests.cluster.test_lifecycle import child_jobs
from tests.cluster.test_queues import a_queue
from tests.support.cluster_jobs import Jobs
from tests.support.fault_proxy import FaultProxy
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer


@pytest.fixture
def proxy(operator_account: Path, redis_server: RedisServer, tmp_path: Path) -> Iterator[FaultProxy]:
    """It spoils nothing: it tells what the operator wrote."""
    with (
        FaultProxy(operator_account) as running,
        OperatorProcess(running.kubeconfig(tmp_path), redis_server.url, tmp_path, pod_namespace=SYSTEM),
    ):
        yield running


def test_suspend_and_parallelism_of_the_job_are_kueues_and_a_pause_takes_it_away(
    admin: Kubectl, jobs: Jobs, proxy: FaultProxy
) -> None:
    with a_queue(admin, "kueued", kueue={"queueName": "gpus"}) as queue:
        jobs.apply(noop("run", inline(8), queueName=queue, parallelism=3))
        jobs.wait_condition("run", "Queued", "WaitingForQuota")
        first = the_job(jobs)
        assert (first["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], slots(first)) == ("gpus", (True, 3, 3))

        say(jobs, first, parallelism=2)  # partial admission: fewer pods, as many indexes
        say(jobs, first, suspend=False)
        jobs.wait_phase("run", "Running")
        edit(jobs, parallelism=5)
        wait_until(lambda: jobs.status("run")["observedGeneration"], "the edit to be seen", until=(2).__eq__)
        assert slots(the_job(jobs)) == (False, 2, 3)

        say(jobs, first, suspend=True)  # preempted
        jobs.wait_condition("run", "Queued", "WaitingForQuota")
        say(jobs, first, suspend=False)
        jobs.wait_phase("run", "Running")

        edit(jobs, suspend=True)
        jobs.wait_condition("run", "Suspended", "SuspendedByUser")
        wait_until(lambda: child_jobs(jobs, "run"), "the Job to go", until=lambda left: not left)
        edit(jobs, suspend=False)
        jobs.wait_condition("run", "Queued", "WaitingForQuota")
        second = the_job(jobs)
        assert second["metadata"]["name"] != first["metadata"]["name"]
        assert (second["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], slots(second)) == ("gpus", (True, 5, 5))
        say(jobs, second, suspend=False)
        jobs.wait_phase("run", "Running")
    written = f"(PATCH|PUT) .*/namespaces/{jobs.kubectl.namespace}/jobs/"
    assert proxy.count(written) == 0, "nothing of a Job was written after it was made"


def the_job(jobs: Jobs) -> dict[str, Any]:
    """The only one."""
    [found] = wait_until(lambda: child_jobs(jobs, "run"), "one Job", until=lambda found: len(found) == 1)
    return found


def slots(job: dict[str, Any]) -> tuple[bool, int, int]:
    spec = job["spec"]
    return spec["suspend"], spec["parallelism"], spec["completions"]


def say(jobs: Jobs, job: dict[str, Any], **spec: Any) -> None:
    jobs.kubectl("patch", "job", job["metadata"]["name"], "--type=merge", "-p", json.dumps({"spec": spec}))


def edit(jobs: Jobs, **spec: Any) -> None:
    jobs.kubectl("patch", "batchjob", "run", "--type=merge", "-p", json.dumps({"spec": spec}))
