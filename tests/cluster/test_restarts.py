"""The operator is stopped, killed and started again. Nothing is lost, and finished means free."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchjob.kube import BATCH_JOBS, Access, Kube, Throttle
from tests.cluster.conftest import AskStore, Operators, runs_and_users
from tests.cluster.test_lifecycle import slow
from tests.localcluster import ControlPlane
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.pods import PodRunner

pytestmark = pytest.mark.usefixtures("free_lease")

FINISHED = 200


def test_a_restart_over_200_finished_batch_jobs_writes_nothing(
    operators: Operators, control_plane: ControlPlane, jobs: Jobs
) -> None:
    asyncio.run(create_finished(control_plane.kubeconfig, jobs.kubectl.namespace))
    before = versions(jobs)
    assert len(before) == FINISHED
    # The Lease is taken once and then left alone, and nobody else's namespace is looked at: every write would show.
    once: dict[str, Any] = {"lease_retry_seconds": 600, "lease_seconds": 3600, "lease_renew_seconds": 3000}
    operator = operators.make(watch_namespaces=jobs.kubectl.namespace, relist_seconds=3, **once).start()
    seen = "batchjob_reconcile_seconds_count"
    wait_until(lambda: operator.metric(seen) >= FINISHED, "every BatchJob to be looked at")
    asked = operator.metric(seen)
    swept = "batchjob_api_requests_total"
    wait_until(lambda: operator.metric(swept, verb="list") >= 8, "six copies and, twice, all names to be listed")
    assert operator.writes() <= 1, "the Lease's own"
    assert versions(jobs) == before
    assert operator.metric(seen) <= asked + FINISHED, "nobody is looked at again and again"
    assert operator.metric("batchjob_reconcile_errors_total") == 0


async def create_finished(kubeconfig: Path, namespace: str) -> None:
    """BatchJobs that ended long ago, as an operator leaves them."""
    async with Kube(Access.from_kubeconfig(kubeconfig), Throttle(200, 50)) as kube:
        await asyncio.gather(*(finished(kube, namespace, f"done-{number}") for number in range(FINISHED)))


async def finished(kube: Kube, namespace: str, name: str) -> None:
    await kube.create(BATCH_JOBS, namespace, noop(name, inline(1)))
    time = "2026-01-01T00:00:00Z"
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": time,
        "observedGeneration": 1,
    }
    status = {"phase": "Succeeded", "observedGeneration": 1, "completionTime": time, "conditions": [condition]}
    status |= {"jobsCreated": 1, "storeEpoch": "e", "progress": "1/1", "results": {"expiresAt": time}}
    await kube.patch(BATCH_JOBS, namespace, name, {"status": status}, subresource="status")


def versions(jobs: Jobs) -> dict[str, str]:
    found = jobs.kubectl.items("batchjobs")
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in found}


def test_an_operator_killed_in_mid_run_is_followed_by_one_that_goes_on(
    operators: Operators, pods: PodRunner, jobs: Jobs, hurry: Path
) -> None:
    operators.make().start()
    jobs.apply(slow("survivor", hurry))
    jobs.wait_finished("survivor", at_least=3)
    operators.kill_all()
    workers = set(pods.processes)
    operators.make().start()  # the same name: it takes its own Lease back at once
    hurry.touch()
    status = jobs.wait_complete("survivor")
    assert status["counts"]["succeeded"] == 200
    assert status["counts"]["retriedAfterLoss"] == 0
    assert status["jobsCreated"] == 1
    assert workers, "the worker did not notice"


@pytest.mark.usefixtures("pods")
def test_what_was_counted_before_a_restart_is_counted_after_it(
    operators: Operators, jobs: Jobs, ask_store: AskStore
) -> None:
    first = operators.make().start()
    jobs.apply(noop("one", inline(1)))
    jobs.wait_complete("one")
    wanted = ask_store(lambda store: store.history.totals())["custom", "Succeeded"]
    assert wanted >= 1

    def counted(operator: OperatorProcess) -> float:
        return operator.metric("queue_jobs_completed_total", queue="custom")

    wait_until(lambda: counted(first), "it to be counted", until=lambda seen: seen == wanted)
    operators.kill_all()
    second = operators.make().start()
    wait_until(lambda: counted(second), "the store to be asked", until=lambda seen: seen == wanted)


def test_the_last_orphan_is_swept_where_no_batch_job_is_left(
    operators: Operators, jobs: Jobs, ask_store: AskStore
) -> None:
    """The API server lists no names as null, not as an empty list."""
    operators.make().start()
    jobs.apply(noop("last", inline(1)))
    jobs.wait_phase("last", "Running")
    uid = jobs.uid("last")
    operators.kill_all()
    jobs.delete("last")
    operators.make(watch_namespaces=jobs.kubectl.namespace).start()
    wait_until(lambda: uid in ask_store(runs_and_users), "the orphan to be swept", until=lambda left: not left)
