"""Whatever is killed in mid-run, the job completes, nothing is missing, and repeats are bounded and counted."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.test_control import wait_answered
from tests.e2e.test_three_types import chat_answers
from tests.support.cluster_jobs import Jobs, kill_worker
from tests.support.installation import Installation
from tests.support.manifests import ai_batch, inline
from tests.support.neighbours.client import Neighbours

ITEMS = 200
CONCURRENCY = 4
PARALLELISM = 2
SLOW = [{"match": "", "action": "delay", "delay_seconds": 0.4, "times": None}]


Blow = Callable[[Jobs, Installation, str], None]


def kill_a_worker_process(jobs: Jobs, _: Installation, name: str) -> None:
    kill_worker(jobs.wait_running_pod(name))


def delete_a_worker_pod(jobs: Jobs, _: Installation, name: str) -> None:
    pod = jobs.wait_running_pod(name)["metadata"]["name"]
    jobs.kubectl("delete", "pod", pod, "--wait=false")


def delete_the_leading_operator(_: Jobs, installation: Installation, __: str) -> None:
    lease = installation.cluster.get("lease", "batchjob-operator")
    installation.cluster("delete", "pod", lease["spec"]["holderIdentity"], "--wait=false")


def delete_every_operator(_: Jobs, installation: Installation, __: str) -> None:
    installation.cluster("delete", "pod", "-l", "app.kubernetes.io/component=operator", "--wait=false")


def delete_the_redis_pod(_: Jobs, installation: Installation, __: str) -> None:
    installation.cluster("delete", "pod", "-l", "app.kubernetes.io/component=redis", "--wait=false")


@pytest.mark.parametrize(
    "blow",
    [
        kill_a_worker_process,
        delete_a_worker_pod,
        delete_the_leading_operator,
        delete_every_operator,
        delete_the_redis_pod,
    ],
)
def test_a_blow_in_mid_run_loses_nothing_and_repeats_are_bounded(
    blow: Blow, jobs: Jobs, installation: Installation, neighbours: Neighbours
) -> None:
    name = f"blow-{blow.__name__.split('_', 1)[1].replace('_', '-')}"
    neighbours.set_faults("chat", SLOW)
    jobs.apply(ai_batch(name, inline(ITEMS), parallelism=PARALLELISM, concurrency=CONCURRENCY))
    wait_answered(jobs, neighbours, name, at_least=ITEMS // 5)
    blow(jobs, installation, name)
    status = jobs.wait_complete(name)

    answered = chat_answers(neighbours, jobs.uid(name))
    assert set(answered) == {f"i{n}" for n in range(ITEMS)}
    assert status["counts"]["succeeded"] == ITEMS
    repeats = answered.total() - ITEMS
    assert repeats <= repeats_allowed(blow)
    assert_counted(blow, repeats, status)


def repeats_allowed(blow: Blow) -> int:
    """What the promise allows: in flight are `concurrency` items a worker.

    A process that is killed has besides not committed the last 100 ms, in which each slot may have finished one item;
    and a Redis that is lost forgets the last second of both workers (AOF everysec).
    """
    if blow is delete_the_redis_pod:
        per_second = CONCURRENCY / SLOW[0]["delay_seconds"]  # type: ignore[operator] # a float in a mixed dict
        return PARALLELISM * (CONCURRENCY + int(per_second))
    if blow is kill_a_worker_process:
        return 2 * CONCURRENCY
    return CONCURRENCY if blow is delete_a_worker_pod else 0


def assert_counted(blow: Blow, repeats: int, status: dict[str, Any]) -> None:
    if blow is not delete_the_redis_pod:  # what the store forgot in its last second it cannot count
        assert repeats <= status["counts"].get("retriedAfterLoss", 0)
