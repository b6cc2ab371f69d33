"""The operator is stopped, killed and started again; so is the store. Nothing is lost, and finished means free."""

import asyncio
from collections.abc import Iterator
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from batchjob.core.ranges import Ranges
from batchjob.kube import BATCH_JOBS, Access, Kube, Throttle
from tests.cluster.conftest import SYSTEM, AskStore
from tests.cluster.test_lifecycle import slow
from tests.localcluster import ControlPlane
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import ai_batch, inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.pods import PodRunner
from tests.support.redis_server import RedisServer

FINISHED = 200
LEASE = ("lease", "batchjob-operator")


@pytest.fixture
def operators(
    operator_account: Path, redis_server: RedisServer, tmp_path: Path, admin: Kubectl
) -> Iterator["Operators"]:
    """Operators to start; all that still run are killed at the end."""
    admin.within(SYSTEM)("delete", *LEASE, "--ignore-not-found")
    started = Operators(operator_account, redis_server, tmp_path)
    yield started
    started.kill_all()


class Operators:
    """Several operators of one installation."""

    def __init__(self, account: Path, redis: RedisServer, folder: Path) -> None:
        self._account = account
        self._redis = redis
        self._folder = folder
        self._made: list[OperatorProcess] = []

    def make(self, name: str = "operator", **settings: Any) -> OperatorProcess:
        told = {"pod_name": name, "pod_namespace": SYSTEM} | settings
        self._made.append(OperatorProcess(self._account, self._redis.url, self._folder, **told))
        return self._made[-1]

    def kill_all(self) -> None:
        for operator in self._made:
            operator.kill()


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
    wait_until(lambda: operator.metric(seen) >= FINISHED, "every BatchJob to be looked at", timeout=30)
    asked = operator.metric(seen)
    swept = "batchjob_api_requests_total"
    wait_until(lambda: operator.metric(swept, verb="list") >= 3, "Jobs and, twice, all names to be listed", timeout=30)
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
    status |= {"jobsCreated": 1, "storeEpoch": "e", "progress": "1/1"}
    await kube.patch(BATCH_JOBS, namespace, name, {"status": status}, subresource="status")


def versions(jobs: Jobs) -> dict[str, str]:
    found = jobs.kubectl.items("batchjobs")
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in found}


def test_an_operator_killed_in_mid_run_is_followed_by_one_that_goes_on(
    operators: Operators, pods: PodRunner, jobs: Jobs
) -> None:
    operators.make().start()
    jobs.apply(slow("survivor", 40))
    jobs.wait_finished("survivor", at_least=3)
    operators.kill_all()
    workers = set(pods.processes)
    operators.make().start()  # the same name: it takes its own Lease back at once
    status = jobs.wait_complete("survivor")
    assert status["counts"]["succeeded"] == 40
    assert status["counts"]["retriedAfterLoss"] == 0
    assert status["jobsCreated"] == 1
    assert workers, "the worker did not notice"


def test_a_leader_that_stops_gives_the_lease_to_the_next(operators: Operators, jobs: Jobs, admin: Kubectl) -> None:
    first = operators.make("first").start()
    wait_for_holder(admin, "first")
    second = operators.make("second").start()
    assert second.metric("batchjob_is_leader") == 0
    assert first.stop() == 0
    wait_for_holder(admin, "second", within=5)
    jobs.apply(noop("led-by-second", inline(1)))
    jobs.wait_phase("led-by-second", "Running")


def test_a_leader_that_dies_is_followed_when_its_lease_is_over(
    operators: Operators, admin: Kubectl, jobs: Jobs
) -> None:
    times = {"lease_seconds": 3, "lease_renew_seconds": 2}
    first = operators.make("first", **times).start()
    wait_for_holder(admin, "first")
    operators.make("second", **times).start()
    first.kill()
    wait_for_holder(admin, "second", within=15)
    jobs.apply(noop("after-death", inline(1)))
    jobs.wait_phase("after-death", "Running")


def wait_for_holder(admin: Kubectl, name: str, within: float = 30) -> None:
    def holder() -> str:
        found = admin.within(SYSTEM)("get", *LEASE, "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
        return found.strip()

    wait_until(holder, f"{name} to hold the Lease", timeout=within, until=name.__eq__)


def test_a_store_that_was_restarted_gets_its_users_back_and_the_run_goes_on(
    operators: Operators, pods: PodRunner, jobs: Jobs, redis_server: RedisServer
) -> None:
    operators.make().start()
    jobs.apply(slow("outage", 40))
    jobs.wait_finished("outage", at_least=3)
    phases = [jobs.status("outage")["phase"]]
    redis_server.kill()
    redis_server.start()
    status = jobs.wait_complete("outage")
    assert status["counts"]["succeeded"] == 40
    assert phases == ["Running"]
    assert pods.processes is not None


def test_a_batch_job_created_while_the_store_is_away_says_so_and_starts_when_it_is_back(
    operators: Operators, jobs: Jobs, redis_server: RedisServer
) -> None:
    operators.make().start()
    redis_server.kill()
    try:
        jobs.apply(noop("early", inline(1)))
        condition = jobs.wait_condition("early", "Reconciling", "StoreUnavailable")
        assert "does not answer" in condition["message"]
    finally:
        redis_server.start()
    jobs.wait_phase("early", "Running")


def test_a_running_batch_job_says_that_the_store_stays_away(
    operators: Operators, jobs: Jobs, redis_server: RedisServer
) -> None:
    operators.make().start()
    jobs.apply(noop("stranded", inline(1)))
    jobs.wait_phase("stranded", "Running")
    redis_server.kill()
    try:
        wait_until(
            lambda: jobs.condition("stranded", "Reconciling"),
            "the store's silence to be said",
            timeout=90,
            until=lambda condition: condition["reason"] == "StoreUnavailable",
        )
        assert jobs.status("stranded")["phase"] == "Running"
    finally:
        redis_server.start()


def test_a_lost_store_holds_what_has_effects_and_annotates_again_what_has_none(
    operators: Operators, jobs: Jobs, ask_store: AskStore
) -> None:
    operators.make().start()
    jobs.apply(noop("effects", inline(2)), ai_batch("annotate", inline(2)))
    first = {name: jobs.wait_phase(name, "Running")["storeEpoch"] for name in ("effects", "annotate")}
    for name in first:
        ask_store(methodcaller("delete_run", jobs.uid(name)))
        jobs.kubectl("annotate", "batchjob", name, "look=again")
    condition = jobs.wait_condition("effects", "Suspended", "StoreLost")
    assert "Set spec.resumeToken to any new text" in condition["message"]

    def rebuilt(status: dict[str, Any]) -> bool:
        return bool(status["storeEpoch"] != first["annotate"] and status["jobsCreated"] == 2)

    wait_until(lambda: jobs.status("annotate"), "the run to begin again", timeout=20, until=rebuilt)
    snapshot = ask_store(methodcaller("snapshot", jobs.uid("annotate")))
    assert snapshot.epoch == jobs.status("annotate")["storeEpoch"]


def test_a_held_run_goes_on_with_what_is_not_certain_once_somebody_says_so(
    operators: Operators, pods: PodRunner, jobs: Jobs, ask_store: AskStore
) -> None:
    operators.make().start()
    jobs.apply(slow("mailing", 60))
    wait_until(lambda: jobs.status("mailing"), "a checkpoint", timeout=60, until=lambda s: bool(s.get("checkpoint")))
    ask_store(methodcaller("delete_run", jobs.uid("mailing")))
    jobs.kubectl("annotate", "batchjob", "mailing", "look=again")
    jobs.wait_condition("mailing", "Suspended", "StoreLost")
    certain = len(Ranges(jobs.status("mailing")["checkpoint"]))
    assert certain
    jobs.kubectl("patch", "batchjob", "mailing", "--type=merge", '--patch={"spec": {"resumeToken": "go on"}}')
    status = jobs.wait_complete("mailing")
    assert (status["counts"]["succeeded"], status["progress"], status["jobsCreated"]) == (60, "60/60", 2)
    results = ask_store(partial(count_results, uid=jobs.uid("mailing")))
    assert results == 60 - certain, "what was certain did not run again"
    assert pods.processes is not None


async def count_results(store: Any, uid: str) -> int:
    return len([result async for result in store.results(uid)])


def test_what_was_left_while_no_operator_ran_is_swept(operators: Operators, jobs: Jobs, ask_store: AskStore) -> None:
    operators.make().start()
    jobs.apply(noop("left-behind", inline(1)), noop("alive", inline(1)))
    uids = {name: jobs.uid(name) for name in ("left-behind", "alive")}
    for name in uids:
        jobs.wait_phase(name, "Running")
    operators.kill_all()
    jobs.delete("left-behind")
    operators.make().start()

    def left() -> set[str]:
        found: set[str] = ask_store(runs_and_users)
        return found & set(uids.values())

    wait_until(left, "the orphan to be swept", timeout=30, until={uids["alive"]}.__eq__)


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
    wait_until(
        lambda: uid in ask_store(runs_and_users), "the orphan to be swept", timeout=30, until=lambda left: not left
    )


async def runs_and_users(store: Any) -> set[str]:
    found: set[str] = (await store.runs()).keys() | await store.user_names()
    return found
