"""What the operator makes of pods that do not start or do not work; here their status is written by hand."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batchjob.controller.manifests import child_name
from tests.cluster.conftest import SYSTEM, own_namespace
from tests.support.cluster_jobs import LOOK_SECONDS, Jobs
from tests.support.fault_proxy import FaultProxy
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.pods import pod_status
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("operator")

CANNOT_PULL = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "worker:test"'}
NO_KEY = {"reason": "CreateContainerConfigError", "message": "couldn't find key token in Secret team/keys"}
GREEDY = {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient memory.",
}

SEEN_SECONDS = 2.0
TRIALS = 3
LOOKED_AT_SECONDS = 10.0
CALLS_EACH = 3  # of what stands still, in that time: one try, reads and a create; a hot loop makes 500


@pytest.fixture(scope="module")
def proxy(operator_account: Path) -> Iterator[FaultProxy]:
    """It spoils nothing here: it counts."""
    with FaultProxy(operator_account) as running:
        yield running


@pytest.fixture(scope="module")
def operator(
    proxy: FaultProxy, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("operator")
    with OperatorProcess(proxy.kubeconfig(folder), redis_server.url, folder, pod_namespace=SYSTEM) as running:
        yield running


def a_pod(jobs: Jobs, name: str) -> str:
    """A pod of the BatchJob that nobody has run yet."""

    def fresh() -> list[str]:
        return [pod["metadata"]["name"] for pod in jobs.pods(name) if pod["status"]["phase"] == "Pending"]

    return wait_until(fresh, f"a fresh pod of {name}")[0]


def test_a_spec_is_seen_within_two_seconds(jobs: Jobs) -> None:
    """Of an operator that is at work, unless the machine pauses: one of three is. A slow operator is late each time."""
    jobs.apply(noop("before", inline(1)))
    jobs.wait_phase("before", "Running")
    took = [seen_after(jobs, "prompt-0")]
    while min(took) > SEEN_SECONDS and len(took) < TRIALS:
        took.append(seen_after(jobs, f"prompt-{len(took)}"))
    assert min(took) <= SEEN_SECONDS, took


def seen_after(jobs: Jobs, name: str) -> float:
    """Seconds until a new BatchJob has a status; nothing runs the pods here, so it stays at this."""
    jobs.apply(noop(name, inline(1)))
    applied = time.monotonic()
    seen = wait_until(
        lambda: jobs.status(name), "a status", until=lambda s: s.get("observedGeneration") == 1, every=LOOK_SECONDS
    )
    took = time.monotonic() - applied
    assert (seen["phase"], seen["progress"]) == ("Running", "0/?")
    return took


@dataclass
class Trouble:
    """BatchJobs that are in trouble, and what the tests need to know of them."""

    jobs: Jobs
    pods: dict[str, str]  # by BatchJob
    secret: dict[str, Any]  # the one that was deleted


@pytest.fixture(scope="module")
def trouble(admin: Kubectl, operator: OperatorProcess) -> Iterator[Trouble]:
    """All that the operator learns only when it looks at a Job ten seconds old, brought about at once."""
    assert operator.process is not None
    with own_namespace(admin) as jobs:
        names = ("no-image", "no-node", "no-key", "bereft", "killed")
        jobs.apply(*(noop(name, inline(1)) for name in names))
        pods = {name: a_pod(jobs, name) for name in names}
        say(jobs, pods["no-image"], pod_status("Pending", {"waiting": CANNOT_PULL}, ready=False))
        say(jobs, pods["no-node"], {"conditions": [NO_NODE]})
        say(jobs, pods["no-key"], pod_status("Pending", {"waiting": NO_KEY}, ready=False))
        jobs.wait_phase("bereft", "Running")
        [secret] = secrets_of(jobs, "bereft")
        jobs.kubectl("delete", "secret", secret["metadata"]["name"])
        at = datetime.now(UTC).isoformat(timespec="seconds")
        killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": at, "finishedAt": at}}
        say(jobs, pods["killed"], pod_status("Failed", killed, ready=False))
        jobs.apply(noop("greedy", inline(1), worker=GREEDY), noop("taken", inline(1), suspend=True))
        take_name(jobs, "taken")
        jobs.apply(noop("taken", inline(1)))
        set_quota(jobs, "pods")
        jobs.apply(noop("refused", inline(1)))
        yield Trouble(jobs, pods, secret)


def test_an_image_that_cannot_be_pulled_stalls_and_heals(trouble: Trouble) -> None:
    jobs, pod = trouble.jobs, trouble.pods["no-image"]
    condition = jobs.wait_condition("no-image", "Stalled", "ImagePullFailed")
    assert f"Pod {pod} cannot get its image worker:test" in condition["message"]
    assert jobs.status("no-image")["phase"] == "Running"
    say(jobs, pod, pod_status("Running", {"running": {}}, ready=True))
    wait_until(lambda: jobs.condition("no-image", "Stalled"), "it to heal", until=lambda c: c["status"] == "False")


def test_pods_that_are_killed_for_their_memory_are_said_with_what_to_change(trouble: Trouble) -> None:
    found = trouble.jobs.wait_condition("killed", "Stalled", "OutOfMemory")
    assert f"Pod {trouble.pods['killed']} was killed" in found["message"]
    assert "Raise spec.worker.resources.limits.memory" in found["message"]


def test_what_stands_still_costs_a_call_now_and_then(trouble: Trouble, proxy: FaultProxy) -> None:
    """Never a hot loop: each is tried again after a pause that grows to half a minute."""
    reasons = {"killed": "OutOfMemory", "greedy": "Refused", "taken": "NameTaken", "refused": "PodRefused"}
    for name, reason in reasons.items():
        trouble.jobs.wait_condition(name, "Stalled", reason)
    stuck = [*reasons, "no-image", "no-node", "bereft"]
    ours = f"/namespaces/{trouble.jobs.kubectl.namespace}/"
    began = time.monotonic()

    def lately() -> list[str]:
        """The calls of the last seconds: 42 at first, since the first pauses are short, and fewer then."""
        since = max(began, time.monotonic() - LOOKED_AT_SECONDS)
        return [f"{call.method} {call.path}" for call in proxy.calls if call.at > since and ours in call.path]

    wait_until(lambda: time.monotonic() - began >= LOOKED_AT_SECONDS, "some seconds to count calls in")
    wait_until(lately, "calls to become rare", until=lambda calls: len(calls) <= CALLS_EACH * len(stuck))


def test_a_pod_that_no_node_takes_is_said(trouble: Trouble) -> None:
    found = trouble.jobs.wait_condition("no-node", "Stalled", "PodUnschedulable")
    assert NO_NODE["message"] in found["message"]


def test_a_pod_that_cannot_start_is_named_with_what_kubernetes_says(trouble: Trouble) -> None:
    found = trouble.jobs.wait_condition("no-key", "Stalled", "PodNotStarting")
    assert (
        found["message"]
        == f"Pod {trouble.pods['no-key']} cannot start: CreateContainerConfigError: {NO_KEY['message']}"
    )


def test_pods_that_kubernetes_refuses_are_said_in_its_own_words(trouble: Trouble) -> None:
    found = trouble.jobs.wait_condition("refused", "Stalled", "PodRefused")
    assert "exceeded quota" in found["message"]


def test_a_secret_that_somebody_deletes_comes_back_with_the_same_password(trouble: Trouble) -> None:
    """Pods that run go on with what they have, pods that are to start find it."""
    [again] = wait_until(lambda: secrets_of(trouble.jobs, "bereft"), "the Secret to come back")
    assert again["metadata"]["uid"] != trouble.secret["metadata"]["uid"]
    assert again["data"] == trouble.secret["data"]


def test_a_job_that_kubernetes_refuses_is_said_in_its_own_words(jobs: Jobs) -> None:
    jobs.apply(noop("greedy", inline(1), worker=GREEDY))
    found = jobs.wait_condition("greedy", "Stalled", "Refused")
    assert "must be less than or equal to cpu limit" in found["message"]


def test_a_quota_on_jobs_stalls_and_heals(jobs: Jobs) -> None:
    set_quota(jobs, "count/jobs.batch")
    jobs.apply(noop("forbidden", inline(1)))
    assert "exceeded quota" in jobs.wait_condition("forbidden", "Stalled", "Refused")["message"]
    jobs.kubectl("delete", "quota", "none")
    jobs.wait_phase("forbidden", "Running")


def test_a_worker_that_says_it_is_misconfigured_ends_the_run_with_its_words(jobs: Jobs) -> None:
    jobs.apply(noop("misconfigured", inline(2)))
    said = "there is no processor absent; this image has noop and export"
    ended = pod_status("Failed", {"terminated": {"exitCode": 64, "message": said}}, ready=False)
    say(jobs, a_pod(jobs, "misconfigured"), ended)
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
    first = wait_until(lambda: jobs.status("robbed").get("jobs", []), "its Job")[0]["name"]
    jobs.kubectl("delete", "job", first)
    wait_until(lambda: jobs.status("robbed"), "a second Job", until=lambda s: s["jobsCreated"] == 2)
    assert jobs.status("robbed")["jobs"][0]["name"] != first


def say(jobs: Jobs, pod: str, status: dict[str, Any]) -> None:
    """Write a pod's status, in the place of a kubelet or the scheduler."""
    written = json.dumps({"status": status})
    jobs.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", written)


def take_name(jobs: Jobs, name: str) -> None:
    """Somebody else's Job has the name that the BatchJob's needs."""
    metadata = {"name": child_name(name, jobs.uid(name), 0)}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}
    jobs.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}})


def secrets_of(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    return jobs.kubectl.items("secrets", "-l", f"batchjob.dev/uid={jobs.uid(name)}")


def set_quota(jobs: Jobs, kind: str) -> None:
    """Allow nothing of this kind any more."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    jobs.apply(quota | {"spec": {"hard": {kind: "0"}}})
    wait_until(lambda: jobs.kubectl.get("quota", "none").get("status"), "the quota to be known")


def fail_job(jobs: Jobs, name: str, index: int) -> None:
    """Let the BatchJob's Job of this number fail: its pods never start, and its time is over."""

    def current() -> str:
        status = jobs.status(name)
        return str(status["jobs"][0]["name"]) if status.get("jobsCreated") == index + 1 else ""

    job = wait_until(current, f"Job number {index}")
    jobs.kubectl("patch", "job", job, "--type=merge", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
