"""Queues on a real API server: what waits, what starts next, and that a limit holds at every moment."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchjob.metrics import Process
from tests.support.cluster_jobs import Jobs
from tests.support.exposition import declared, shown
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import batch_job, config_map, inline, noop
from tests.support.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("operator", "pods")


def slow(name: str, hurry: Path, **spec: Any) -> dict[str, Any]:
    """Items that take a while, until they are told to hurry."""
    items = inline(40, do="sleep", seconds="2", unless=str(hurry))
    return batch_job(name, "custom", items, {"processor": "chaos"}, concurrency=1, **spec)


@contextmanager
def a_queue(admin: Kubectl, name: str, **spec: Any) -> Iterator[str]:
    """A BatchQueue for the time of a test."""
    admin.apply({"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchQueue", "metadata": {"name": name}, "spec": spec})
    try:
        yield name
    finally:
        admin("delete", "batchqueue", name, "--ignore-not-found")


def change(admin: Kubectl, name: str, **spec: Any) -> None:
    admin("patch", "batchqueue", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def test_a_paused_queue_starts_nothing_until_it_goes_on(admin: Kubectl, jobs: Jobs) -> None:
    with a_queue(admin, "paused", paused=True) as queue:
        jobs.apply(noop("held", inline(2), queueName=queue))
        jobs.wait_condition("held", "Queued", "QueuePaused")
        assert jobs.status("held")["queuePosition"] == 1
        change(admin, queue, paused=False)
        assert jobs.wait_complete("held")["progress"] == "2/2"


def test_a_queue_that_is_missing_is_named_and_the_run_starts_when_it_is_there(admin: Kubectl, jobs: Jobs) -> None:
    jobs.apply(noop("early", inline(1), queueName="still-to-come"))
    message = jobs.wait_condition("early", "Stalled", "QueueNotFound")["message"]
    assert message.startswith("spec.queueName: there is no BatchQueue still-to-come.")
    with a_queue(admin, "still-to-come"):
        jobs.wait_complete("early")


def test_the_urgent_go_first_and_a_priority_may_change_while_it_waits(admin: Kubectl, jobs: Jobs) -> None:
    with a_queue(admin, "one-at-a-time", paused=True, maxActiveJobs=1) as queue:
        for name, priority in (("third", 9), ("second", 5), ("first", 8)):
            jobs.apply(noop(name, inline(1), queueName=queue, priority=priority))
            jobs.wait_condition(name, "Queued", "QueuePaused")
        jobs.kubectl("patch", "batchjob", "first", "--type=merge", "-p", '{"spec":{"priority":1}}')
        wait_until(lambda: jobs.status("first").get("queuePosition"), "it to be first", until=lambda n: n == 1)
        change(admin, queue, paused=False)
        names = ("first", "second", "third")
        ended = {name: jobs.wait_complete(name)["conditions"] for name in names}
        moments = [
            next(c["lastTransitionTime"] for c in ended[name] if c["type"] == "Queued" and c["status"] == "False")
            for name in names
        ]
        assert moments == sorted(moments)


def test_a_limit_holds_at_every_moment_of_the_watch(admin: Kubectl, jobs: Jobs, tmp_path: Path) -> None:
    with a_queue(admin, "two-at-once", maxActiveJobs=2, maxWorkers=3) as queue, watched(jobs, tmp_path) as log:
        names = [f"crowd-{n:02}" for n in range(10)]
        jobs.apply(*(noop(name, inline(4), queueName=queue, parallelism=2) for name in names))
        for name in names:
            assert jobs.wait_complete(name)["progress"] == "4/4"
        wait_until(
            lambda: {seen["metadata"]["name"] for seen in versions(log) if seen["status"].get("phase") == "Succeeded"},
            "the watch to have seen the end of each",
            until=set(names).__eq__,
        )
    most_jobs, most_pods = highest(log)
    assert most_jobs == 2, "the queue was never full, or fuller than it may be"
    assert most_pods <= 3


@contextmanager
def watched(jobs: Jobs, folder: Path) -> Iterator[Path]:
    """Every version of every BatchJob of the namespace, one a line."""
    log = folder / "watch.json"
    with jobs.kubectl.running("get", "batchjobs", "--watch", "-o", "json", output=log):
        yield log


def versions(log: Path) -> Iterator[dict[str, Any]]:
    """What a watch has seen until now."""
    decoder, text, at = json.JSONDecoder(), log.read_text(), 0
    while at < len(text.rstrip()):
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            return  # it is still being written
        at = end + 1
        yield found


def highest(log: Path) -> tuple[int, int]:
    """The most BatchJobs that were Running at once, and the most pods that ran."""
    running: dict[str, int] = {}
    most_jobs = most_pods = 0
    for found in versions(log):
        status = found.get("status", {})
        name = found["metadata"]["name"]
        if status.get("phase") in {"Running", "Finalizing"}:
            running[name] = status.get("activeWorkers", 0)
        else:
            running.pop(name, None)
        most_jobs = max(most_jobs, len(running))
        most_pods = max(most_pods, sum(running.values()))
    return most_jobs, most_pods


def test_what_the_source_has_beyond_the_queues_limit_ends_the_run_before_anything_starts(
    admin: Kubectl, jobs: Jobs
) -> None:
    with a_queue(admin, "small", limits={"maxItems": 3}) as queue:
        jobs.apply(config_map("four", items_jsonl="".join(f'{{"id": "{n}"}}\n' for n in range(4))))
        jobs.apply(noop("large", {"configMapRef": {"name": "four", "key": "items.jsonl"}}, queueName=queue))
        message = jobs.wait_condition("large", "Failed", "LimitExceeded")["message"]
        assert "more than 3 items, which is what BatchQueue small allows" in message
        jobs.apply(noop("larger", inline(4), queueName=queue))
        assert "spec.source.items is 4" in jobs.wait_condition("larger", "Stalled", "LimitExceeded")["message"]
        change(admin, queue, limits={"maxItems": 4})
        jobs.wait_complete("larger")


def test_a_new_leader_counts_what_runs_before_it_lets_anything_start(
    admin: Kubectl, jobs: Jobs, operator: OperatorProcess, hurry: Path
) -> None:
    with a_queue(admin, "one", maxActiveJobs=1) as queue:
        jobs.apply(slow("runs", hurry, queueName=queue))
        jobs.wait_phase("runs", "Running")
        jobs.apply(noop("waits", inline(1), queueName=queue))
        jobs.wait_condition("waits", "Queued", "ConcurrencyLimit")
        operator.kill()
        operator.start()
        jobs.kubectl("annotate", "batchjob", "waits", "looked=at")
        jobs.apply(noop("comes", inline(1), queueName=queue))
        jobs.wait_condition("comes", "Queued", "ConcurrencyLimit")
        assert jobs.status("waits")["phase"] == "Queued"
        hurry.touch()
        for name in ("runs", "waits", "comes"):
            jobs.wait_complete(name)


def test_the_status_of_a_queue_and_the_metrics_say_what_is_in_it(
    admin: Kubectl, jobs: Jobs, operator: OperatorProcess, hurry: Path
) -> None:
    with a_queue(admin, "told", maxActiveJobs=1) as queue:
        jobs.apply(slow("at-work", hurry, queueName=queue))
        jobs.wait_phase("at-work", "Running")
        jobs.apply(
            noop("in-line", inline(1), queueName=queue),
            noop("much-later", inline(1), queueName=queue, startAfter="2099-01-01T00:00:00Z"),
        )

        def numbers() -> tuple[int, ...]:
            status = admin.get("batchqueue", queue).get("status", {})
            return tuple(status.get(name, 0) for name in ("waiting", "active", "delayed", "failed", "workers"))

        wait_until(numbers, "the queue to say what is in it", until=lambda seen: seen == (1, 1, 1, 0, 1))
        states = ("waiting", "active", "delayed", "completed_total")
        assert [operator.metric(f"queue_jobs_{state}", queue=queue) for state in states] == [1, 1, 1, 0]
        assert shown(operator._get("/metrics").decode()) == declared(Process.OPERATOR, Process.LEADER)
        hurry.touch()
        jobs.wait_complete("in-line")
        wait_until(
            lambda: operator.metric("queue_jobs_completed_total", queue=queue),
            "both to be counted",
            until=lambda seen: seen == 2,
        )
        assert operator.metric("batchjob_job_duration_seconds_count", queue=queue) == 2
        wait_until(lambda: operator.metric("batchjob_store_memory_bytes"), "the store's memory to be known")
        assert operator.metric("batchjob_store_up") == 1
        wait_until(numbers, "the queue to be empty", until=lambda seen: seen == (0, 0, 1, 0, 0))


def test_kubectl_scale_changes_the_workers_of_a_run(jobs: Jobs, hurry: Path) -> None:
    jobs.apply(slow("wide", hurry))
    jobs.wait_phase("wide", "Running")
    jobs.kubectl("scale", "batchjob", "wide", "--replicas=3")
    [job] = wait_until(
        lambda: [j for j in jobs.kubectl.items("jobs") if j["spec"]["parallelism"] == 3],
        "the Job to have three slots",
    )
    assert job["metadata"]["labels"]["batchjob.dev/name"] == "wide"
    hurry.touch()
    jobs.wait_complete("wide")


def test_runs_are_told_of_their_queues_rates_when_they_change_also_while_nobody_led(
    admin: Kubectl, jobs: Jobs, operator: OperatorProcess, hurry: Path
) -> None:
    def told() -> list[int]:
        [secret] = [one for one in jobs.kubectl.items("secrets") if "run.json" in one["data"]]
        return [limit["requests"] for limit in json.loads(base64.b64decode(secret["data"]["run.json"]))["rateLimits"]]

    with a_queue(admin, "rated", rateLimits=[{"key": "a-minute", "requests": 6000}]) as queue:
        jobs.apply(slow("rated", hurry, queueName=queue))
        jobs.wait_phase("rated", "Running")
        assert told() == [6000]
        change(admin, queue, rateLimits=[{"key": "a-minute", "requests": 60}])
        wait_until(told, "the run to hear of the change", until=lambda seen: seen == [60])
        operator.kill()
        change(admin, queue, rateLimits=[{"key": "a-minute", "requests": 600}, {"key": "an-hour", "requests": 9000}])
        operator.start()
        wait_until(told, "the run to hear what changed meanwhile", until=lambda seen: seen == [600, 9000])
        hurry.touch()
        jobs.wait_complete("rated")


def test_who_finds_all_of_the_queues_rate_in_use_waits(admin: Kubectl, jobs: Jobs, hurry: Path) -> None:
    with a_queue(admin, "slow", rateLimits=[{"key": "a-minute", "requests": 6}]) as queue:
        jobs.apply(slow("uses-it", hurry, queueName=queue))
        jobs.wait_phase("uses-it", "Running")
        jobs.apply(noop("waits", inline(1), queueName=queue))
        assert (
            "More than 1 worker pods would only wait"
            in jobs.wait_condition("waits", "Queued", "RateLimited")["message"]
        )
