"""Suspend, resume, cancel and delete, on real pods."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.test_three_types import chat_answers
from tests.support.cluster_jobs import Jobs
from tests.support.installation import Installation
from tests.support.kubectl import wait_until
from tests.support.manifests import ai_batch, inline
from tests.support.neighbours.client import Neighbours

ITEMS = 120
SLOW = [{"match": "", "action": "delay", "delay_seconds": 0.4, "times": None}]
GRACE_SECONDS = 30


@pytest.fixture
def running(jobs: Jobs, neighbours: Neighbours, request: pytest.FixtureRequest) -> str:
    """A slow BatchJob in mid-run."""
    return begin_slowly(jobs, neighbours, request.node.name, ITEMS)


def test_suspend_stops_and_resume_goes_on_without_a_spent_attempt(
    running: str, jobs: Jobs, neighbours: Neighbours
) -> None:
    uid = jobs.uid(running)
    jobs.kubectl("patch", "batchjob", running, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    jobs.wait_condition(running, "Suspended", "SuspendedByUser")
    said = time.time()  # the store was told before the status was: from here on the workers' own pace counts
    wait_until(lambda: not jobs.pods(running), "the pods to go", timeout=GRACE_SECONDS + 5)
    late = [row for row in chat_rows(neighbours, uid) if row["time"] > said + 2]
    assert not late, "an item started more than 2 s after the suspend"

    jobs.kubectl("patch", "batchjob", running, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    status = jobs.wait_complete(running)
    assert status["counts"]["succeeded"] == ITEMS
    assert status["counts"].get("retriedAfterLoss", 0) == 0
    assert set(chat_answers(neighbours, uid).values()) == {1}


def test_cancel_ends_in_phase_cancelled_with_condition_failed(running: str, jobs: Jobs) -> None:
    jobs.kubectl("patch", "batchjob", running, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition(running, "Failed", "Cancelled")
    status = jobs.status(running)
    counts = status["counts"]
    assert status["phase"] == "Cancelled"
    assert counts["succeeded"] + counts["failed"] + counts["cancelled"] == ITEMS
    wait_until(lambda: not jobs.pods(running), "the pods to go", timeout=GRACE_SECONDS + 5)


def test_delete_leaves_nothing_behind(running: str, jobs: Jobs, installation: Installation) -> None:
    uid = jobs.uid(running)
    assert redis(installation, "ACL", "USERS").count(uid) == 1
    jobs.delete(running)

    def left() -> list[str]:
        selector = f"batchjob.dev/uid={uid}"
        children = jobs.kubectl("get", "jobs,pods,secrets", "-l", selector, "-o", "name").split()
        users = [line for line in redis(installation, "ACL", "USERS").splitlines() if uid in line]
        keys = redis(installation, "--scan", "--pattern", f"*{uid}*").split()
        told = [key for key in keys if key.startswith("bj:live:")]  # goes by itself: who watches may come back for it
        assert all(int(redis(installation, "PTTL", key)) > 0 for key in told)
        return children + users + [key for key in keys if key not in told]

    wait_until(left, "Job, pods, Secret, ACL user and keys to go", until=lambda found: not found)


def test_logs_are_followed_until_the_end(running: str, jobs: Jobs, neighbours: Neighbours) -> None:
    command = [
        str(Path(sys.executable).with_name("batchjob")),
        "logs",
        running,
        "-n",
        jobs.kubectl.namespace,
        "--prefix",
    ]
    of_the_cluster = ["--kubeconfig", str(jobs.kubectl.kubeconfig)]
    with subprocess.Popen([*command, *of_the_cluster, "--follow"], stdout=subprocess.PIPE, text=True) as follower:
        neighbours.clear_faults()
        jobs.wait_complete(running)
        followed, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    shown = subprocess.run([*command, *of_the_cluster], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown
    assert sorted(followed.splitlines()) == sorted(shown.splitlines())


def begin_slowly(jobs: Jobs, neighbours: Neighbours, test: str, items: int) -> str:
    """A BatchJob named after a test, ten items a second, once it has begun."""
    name = test.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    neighbours.set_faults("chat", SLOW)
    jobs.apply(ai_batch(name, inline(items), concurrency=4))
    wait_answered(jobs, neighbours, name, at_least=8)
    return name


def wait_answered(jobs: Jobs, neighbours: Neighbours, name: str, at_least: int) -> None:
    """Wait until the chat server has answered so many times: the status says it seconds later, when less is left."""
    uid = jobs.uid(name)
    what = f"{at_least} answers about {name}"
    wait_until(lambda: len(chat_rows(neighbours, uid)), what, until=lambda count: count >= at_least)


def chat_rows(neighbours: Neighbours, uid: str) -> list[dict[str, float]]:
    """The chat server's ledger of one run."""
    return [row for row in neighbours.ledger("chat") if row["item"].startswith(f"{uid}:")]


def redis(installation: Installation, *arguments: str) -> str:
    """redis-cli in the Redis pod, as the operator."""
    pod = installation.cluster.items("pods", "-l", "app.kubernetes.io/component=redis")[0]["metadata"]["name"]
    script = 'REDISCLI_AUTH="$REDIS_PASSWORD" exec redis-cli --no-auth-warning "$@"'
    return installation.cluster("exec", pod, "--", "sh", "-c", script, "redis-cli", *arguments)
