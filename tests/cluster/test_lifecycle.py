"""The life of a BatchJob: real operator, real API server and Job controller, real workers as local processes."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.cluster.conftest import AskStore
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import batch_job, inline, noop
from tests.support.pods import PodRunner
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("operator", "pods")


def chaos(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A BatchJob whose items say what happens to them."""
    return batch_job(name, "custom", source, {"processor": "chaos"}, **spec)


def slow(name: str, hurry: Path, **spec: Any) -> dict[str, Any]:
    """A BatchJob of 200 items, one after the other in each pod: two minutes for one, or until the file is there."""
    return chaos(name, inline(200, do="sleep", seconds="0.6", unless=str(hurry)), concurrency=1, **spec)


def child_jobs(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    return jobs.kubectl.items("jobs", "-l", f"batchjob.dev/name={name}")


def events(jobs: Jobs, name: str) -> list[tuple[str, str]]:
    found = jobs.kubectl.items("events", "--field-selector", f"involvedObject.kind=BatchJob,involvedObject.name={name}")
    return [(event["type"], event["reason"]) for event in found]


def test_items_are_worked_off_and_the_status_tells_it(jobs: Jobs) -> None:
    jobs.apply(noop("plain", inline(12), parallelism=2))
    status = jobs.wait_complete("plain")
    assert status["phase"] == "Succeeded"
    assert (status["progress"], status["percent"]) == ("12/12", "100%")
    assert status["counts"]["succeeded"] == 12
    assert status["jobsCreated"] == 1
    true = [c["type"] for c in status["conditions"] if c["status"] == "True"]
    assert true == ["Complete"]
    wait_until(lambda: events(jobs, "plain"), "the Event of its end")
    assert events(jobs, "plain") == [("Normal", "Succeeded")]


def test_children_belong_to_the_batch_job_and_its_secret_goes_when_the_workers_have_gone(
    jobs: Jobs, ask_store: AskStore, hurry: Path
) -> None:
    jobs.apply(slow("owned", hurry))
    uid = jobs.uid("owned")
    (secret,) = wait_until(lambda: jobs.kubectl.items("secrets", "-l", f"batchjob.dev/uid={uid}"), "the run's Secret")
    (job,) = wait_until(lambda: child_jobs(jobs, "owned"), "its Job")
    for child in (secret, job):
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (uid, True)
    told = json.loads(base64.b64decode(secret["data"]["run.json"]))
    assert (told["uid"], told["name"]) == (uid, "owned")

    hurry.touch()
    jobs.wait_complete("owned")
    wait_until(
        lambda: jobs.kubectl.items("secrets", "-l", f"batchjob.dev/uid={uid}"),
        "the Secret to go",
        until=lambda found: not found,
    )
    wait_until(lambda: uid not in ask_store(lambda s: s.user_names()), "its user to go, which is the last of it")
    assert ask_store(lambda s: s.snapshot(uid)) is not None, "the results stay"


def test_items_that_fail_are_counted_named_and_explained(jobs: Jobs) -> None:
    source = inline(8)
    for number in (2, 5, 6):
        source["items"][number]["data"]["do"] = "fail"
    jobs.apply(chaos("failing", source))
    condition = jobs.wait_condition("failing", "Failed", "ItemsFailed")
    status = jobs.status("failing")
    assert "3 of 8 items failed" in condition["message"]
    assert "told to fail" in condition["message"]
    assert status["phase"] == "Failed"
    assert status["failedItems"] == "2,5-6"
    assert {error["itemId"] for error in status["lastErrors"]} == {"i2", "i5", "i6"}
    assert jobs.condition("failing", "Stalled")["status"] == "True"


def test_suspend_stops_the_workers_and_resume_goes_on_where_it_was(pods: PodRunner, jobs: Jobs, hurry: Path) -> None:
    jobs.apply(slow("paused", hurry))
    jobs.wait_finished("paused", at_least=3)
    jobs.kubectl("patch", "batchjob", "paused", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    jobs.wait_condition("paused", "Suspended", "SuspendedByUser")
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)
    (job,) = child_jobs(jobs, "paused")
    assert job["spec"]["suspend"] is True

    hurry.touch()
    jobs.kubectl("patch", "batchjob", "paused", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    status = jobs.wait_complete("paused")
    assert status["counts"]["succeeded"] == 200
    assert status["counts"]["retriedAfterLoss"] == 0
    assert status["jobsCreated"] == 1
    assert ("Normal", "SuspendedByUser") in events(jobs, "paused")


def test_a_batch_job_created_suspended_makes_nothing_until_it_is_resumed(jobs: Jobs) -> None:
    jobs.apply(noop("asleep", inline(2), suspend=True))
    jobs.wait_condition("asleep", "Suspended", "SuspendedByUser")
    assert child_jobs(jobs, "asleep") == []
    assert "startTime" not in jobs.status("asleep")
    jobs.kubectl("patch", "batchjob", "asleep", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert jobs.wait_complete("asleep")["progress"] == "2/2"


def test_cancel_ends_the_run_and_its_pods_and_counts_what_was_left(pods: PodRunner, jobs: Jobs, hurry: Path) -> None:
    jobs.apply(slow("dropped", hurry))
    jobs.wait_finished("dropped", at_least=2)
    jobs.kubectl("patch", "batchjob", "dropped", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition("dropped", "Failed", "Cancelled")
    status = jobs.status("dropped")
    assert status["phase"] == "Cancelled"
    assert status["counts"]["succeeded"] + status["counts"]["cancelled"] == 200
    assert jobs.condition("dropped", "Stalled")["status"] == "False"
    wait_until(lambda: child_jobs(jobs, "dropped"), "the Job to go", until=lambda left: not left)
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)


def test_delete_leaves_neither_objects_nor_keys_nor_a_user(jobs: Jobs, redis_server: RedisServer, hurry: Path) -> None:
    jobs.apply(slow("deleted", hurry))
    jobs.wait_finished("deleted", at_least=2)
    uid = jobs.uid("deleted")
    jobs.delete("deleted")

    def left() -> list[str]:
        children = jobs.kubectl("get", "jobs,pods,secrets", "-l", f"batchjob.dev/uid={uid}", "-o", "name").split()
        with Redis.from_url(redis_server.url, decode_responses=True) as redis:
            users = [line for line in redis.acl_users() if uid in line]
            # What was told of it goes by itself: who watches may come back for it.
            keys = [key for key in redis.keys(f"*{uid}*") if not (key.startswith("bj:live:") and redis.pttl(key) > 0)]
            return children + users + keys

    wait_until(left, "everything of it to go", until=lambda found: not found)


def test_more_and_fewer_workers_while_it_runs(pods: PodRunner, jobs: Jobs, hurry: Path) -> None:
    jobs.apply(slow("elastic", hurry, parallelism=1))
    jobs.wait_finished("elastic", at_least=1)
    for slots in (3, 2):
        jobs.kubectl("patch", "batchjob", "elastic", "--type=merge", "-p", json.dumps({"spec": {"parallelism": slots}}))
        wait_until(lambda: len(pods.processes), f"{slots} workers", until=slots.__eq__)
    hurry.touch()
    status = jobs.wait_complete("elastic")
    assert status["counts"]["succeeded"] == 200
    assert status["jobsCreated"] == 1


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_missing(pods: PodRunner, jobs: Jobs, hurry: Path) -> None:
    jobs.apply(slow("killed", hurry, parallelism=2))
    jobs.wait_finished("killed", at_least=4)
    wait_until(lambda: len(pods.processes), "two workers", until=(2).__eq__)
    first = set(pods.processes)
    pods.kill(next(iter(first)))
    wait_until(lambda: set(pods.processes) - first, "another worker")
    hurry.touch()
    status = jobs.wait_complete("killed")
    assert status["counts"]["succeeded"] == 200
