"""What the operator makes of pods that do not start or do not work; here their status is written by hand."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchjob.kube import PODS, Access, Kube
from tests.localcluster import ControlPlane
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.pods import say_pod_status

pytestmark = pytest.mark.usefixtures("operator")

Say = Callable[[str, str, dict[str, Any]], None]


@pytest.fixture
def say(control_plane: ControlPlane, jobs: Jobs) -> Say:
    """Write a pod's phase and container state as a kubelet would."""

    async def written(pod: str, phase: str, state: dict[str, Any]) -> None:
        async with Kube(Access.from_kubeconfig(control_plane.kubeconfig)) as kube:
            ready = "running" in state
            await say_pod_status(kube, jobs.kubectl.namespace, pod, phase, state, ready=ready)

    return lambda pod, phase, state: asyncio.run(written(pod, phase, state))


def a_pod(jobs: Jobs, name: str) -> str:
    """A pod of the BatchJob that nobody has run yet."""

    def fresh() -> list[str]:
        return [pod["metadata"]["name"] for pod in jobs.pods(name) if pod["status"]["phase"] == "Pending"]

    return wait_until(fresh, f"a fresh pod of {name}", timeout=60)[0]


def test_an_image_that_cannot_be_pulled_stalls_and_heals(jobs: Jobs, say: Say) -> None:
    jobs.apply(noop("no-image", inline(1)))
    pod = a_pod(jobs, "no-image")
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "worker:test"'}
    say(pod, "Pending", {"waiting": waiting})
    condition = jobs.wait_condition("no-image", "Stalled", "ImagePullFailed")
    assert f"Pod {pod} cannot get its image worker:test" in condition["message"]
    assert jobs.status("no-image")["phase"] == "Running"
    say(pod, "Running", {"running": {}})
    wait_until(
        lambda: jobs.condition("no-image", "Stalled"), "it to heal", timeout=40, until=lambda c: c["status"] == "False"
    )


def test_a_pod_that_no_node_takes_is_said(jobs: Jobs, control_plane: ControlPlane) -> None:
    jobs.apply(noop("no-node", inline(1)))
    pod = a_pod(jobs, "no-node")
    message = "0/3 nodes are available: 3 Insufficient memory."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    write_conditions(control_plane.kubeconfig, jobs.kubectl.namespace, pod, [condition])
    found = jobs.wait_condition("no-node", "Stalled", "PodUnschedulable")
    assert message in found["message"]


def test_pods_that_kubernetes_refuses_are_said_in_its_own_words(jobs: Jobs) -> None:
    hard = {"hard": {"pods": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": hard}
    jobs.apply(quota)
    wait_until(lambda: jobs.kubectl.get("quota", "none").get("status"), "the quota to be known", timeout=30)
    jobs.apply(noop("refused", inline(1)))
    found = jobs.wait_condition("refused", "Stalled", "PodRefused")
    assert "exceeded quota" in found["message"]


def test_a_job_that_kubernetes_refuses_is_said_in_its_own_words(jobs: Jobs) -> None:
    jobs.apply(noop("greedy", inline(1), worker={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}))
    found = jobs.wait_condition("greedy", "Stalled", "Refused")
    assert "must be less than or equal to cpu limit" in found["message"]


def test_a_quota_on_jobs_stalls_and_heals(jobs: Jobs) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-jobs"}}
    jobs.apply(quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    wait_until(lambda: jobs.kubectl.get("quota", "no-jobs").get("status"), "the quota to be known", timeout=30)
    jobs.apply(noop("forbidden", inline(1)))
    assert "exceeded quota" in jobs.wait_condition("forbidden", "Stalled", "Refused")["message"]
    jobs.kubectl("delete", "quota", "no-jobs")
    jobs.wait_phase("forbidden", "Running")


def test_a_worker_that_says_it_is_misconfigured_ends_the_run_with_its_words(jobs: Jobs, say: Say) -> None:
    jobs.apply(noop("misconfigured", inline(2)))
    said = "there is no processor absent; this image has noop and export"
    say(a_pod(jobs, "misconfigured"), "Failed", {"terminated": {"exitCode": 64, "message": said}})
    condition = jobs.wait_condition("misconfigured", "Failed", "WorkerMisconfigured")
    assert condition["message"] == said
    assert jobs.status("misconfigured")["jobsCreated"] == 1


def test_three_jobs_without_an_item_done_end_the_run(jobs: Jobs) -> None:
    jobs.apply(noop("hopeless", inline(2)))
    for index in range(3):
        fail_job(jobs, "hopeless", index)
    condition = jobs.wait_condition("hopeless", "Failed", "WorkersFailed")
    assert "3 Jobs in a row ended without finishing an item" in condition["message"]
    assert jobs.status("hopeless")["jobsCreated"] == 3


def test_a_job_that_somebody_deletes_is_followed_by_another(jobs: Jobs) -> None:
    jobs.apply(noop("robbed", inline(2)))
    first = wait_until(lambda: jobs.status("robbed").get("jobs", []), "its Job", timeout=10)[0]["name"]
    jobs.kubectl("delete", "job", first)
    wait_until(lambda: jobs.status("robbed"), "a second Job", timeout=20, until=lambda s: s["jobsCreated"] == 2)
    assert jobs.status("robbed")["jobs"][0]["name"] != first


def test_a_secret_that_somebody_deletes_comes_back_with_the_same_password(jobs: Jobs) -> None:
    """Pods that run go on with what they have, pods that are to start find it."""
    jobs.apply(noop("bereft", inline(1)))
    jobs.wait_phase("bereft", "Running")
    labels = ("-l", f"batchjob.dev/uid={jobs.uid('bereft')}")
    [secret] = jobs.kubectl.items("secrets", *labels)
    jobs.kubectl("delete", "secret", secret["metadata"]["name"])
    [again] = wait_until(lambda: jobs.kubectl.items("secrets", *labels), "the Secret to come back", timeout=60)
    assert again["metadata"]["uid"] != secret["metadata"]["uid"]
    assert again["data"] == secret["data"]


def fail_job(jobs: Jobs, name: str, index: int) -> None:
    """Let the BatchJob's Job of this number fail: its pods never start, and its time is over."""

    def current() -> str:
        status = jobs.status(name)
        return str(status["jobs"][0]["name"]) if status.get("jobsCreated") == index + 1 else ""

    job = wait_until(current, f"Job number {index}", timeout=40)
    jobs.kubectl("patch", "job", job, "--type=merge", "-p", '{"spec":{"activeDeadlineSeconds":1}}')


def write_conditions(kubeconfig: Path, namespace: str, pod: str, conditions: list[dict[str, Any]]) -> None:
    async def written() -> None:
        async with Kube(Access.from_kubeconfig(kubeconfig)) as kube:
            await kube.patch(PODS, namespace, pod, {"status": {"conditions": conditions}}, subresource="status")

    asyncio.run(written())
