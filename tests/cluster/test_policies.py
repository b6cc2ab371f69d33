"""The policies on a real API server: held by too many failures, ended by the deadline, and removed when it is time."""

import json
from datetime import datetime
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import AskStore
from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import batch_job, inline, noop
from tests.support.pods import PodRunner

pytestmark = pytest.mark.usefixtures("operator", "pods")

BREAKER = {"maxFailedPercent": 50, "windowItems": 10, "minItems": 4}


def chaos(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return batch_job(name, "custom", source, {"processor": "chaos"}, **spec)


def half_bad(hurry: Path) -> dict[str, Any]:
    """Forty items: the first twenty fail, the others take a minute each until the file is there."""
    source = inline(40)
    for number, item in enumerate(source["items"]):
        item["data"] |= {"do": "fail"} if number < 20 else {"do": "sleep", "seconds": "60", "unless": str(hurry)}
    return source


def edit(jobs: Jobs, name: str, **spec: Any) -> None:
    jobs.kubectl("patch", "batchjob", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def active_seconds(jobs: Jobs, name: str) -> int:
    return int(jobs.status(name).get("activeSeconds", 0))


def test_a_run_with_too_many_failures_is_held_without_pods_until_a_new_token(
    pods: PodRunner, jobs: Jobs, hurry: Path
) -> None:
    jobs.apply(chaos("sick", half_bad(hurry), failurePolicy=BREAKER, concurrency=1))
    condition = jobs.wait_condition("sick", "Suspended", "FailureThreshold")
    assert "items failed, which is 100%" in condition["message"]
    assert "Most often: " in condition["message"]
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)
    assert jobs.status("sick")["counts"]["failed"] >= 4
    assert "resumeToken" not in jobs.get("sick")["spec"], "the operator writes no spec"

    hurry.touch()
    edit(jobs, "sick", failurePolicy=BREAKER | {"maxFailedPercent": 100}, resumeToken="mended")
    jobs.wait_condition("sick", "Failed", "ItemsFailed")
    status = jobs.status("sick")
    assert (status["counts"]["succeeded"], status["counts"]["failed"]) == (20, 20)
    assert status["resumeToken"] == "mended"


def test_a_run_whose_policy_says_fail_ends_and_its_pods_go(pods: PodRunner, jobs: Jobs, hurry: Path) -> None:
    policy = BREAKER | {"action": "Fail"}
    jobs.apply(chaos("hopeless", half_bad(hurry), failurePolicy=policy, concurrency=1))
    jobs.wait_condition("hopeless", "Failed", "FailureThreshold")
    counts = jobs.status("hopeless")["counts"]
    assert counts["failed"] >= 4
    assert counts["failed"] + counts["cancelled"] == 40
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)


def test_enough_successes_make_a_run_complete_though_some_items_failed(jobs: Jobs) -> None:
    source = inline(10)
    source["items"][3]["data"]["do"] = "fail"
    jobs.apply(chaos("good-enough", source, successPolicy={"minSucceededPercent": 90}, retry={"maxAttempts": 1}))
    status = jobs.wait_complete("good-enough")
    assert status["counts"]["failed"] == 1
    message = jobs.condition("good-enough", "Complete")["message"]
    assert message.startswith(
        "9 items succeeded, which is enough: spec.successPolicy asks for 90%. 1 of 10 items failed"
    )


def test_a_pause_stops_the_clock_of_the_deadline_and_its_end_starts_it_again(
    pods: PodRunner, jobs: Jobs, hurry: Path
) -> None:
    source = inline(50, do="sleep", seconds="60", unless=str(hurry))
    jobs.apply(chaos("late", source, activeDeadlineSeconds=10, concurrency=1))
    jobs.wait_phase("late", "Running")
    wait_until(lambda: pods.processes, "a worker")
    edit(jobs, "late", suspend=True)
    jobs.wait_condition("late", "Suspended", "SuspendedByUser")
    used = active_seconds(jobs, "late")
    assert used < 10
    # Longer than all that is left: were the clock of the pause counted, the run would end with the resume at once.
    paused = jobs.condition("late", "Suspended")["lastTransitionTime"]
    jobs.apply(noop("timer", inline(1), startAfter=later(paused, 12)))
    jobs.wait_complete("timer")
    assert jobs.status("late")["phase"] == "Suspended"
    edit(jobs, "late", suspend=False)
    condition = jobs.wait_condition("late", "Failed", "DeadlineExceeded")
    assert "spec.activeDeadlineSeconds is 10" in condition["message"]
    status = jobs.status("late")
    assert status["activeSeconds"] >= 10
    whole = datetime.fromisoformat(status["completionTime"]) - datetime.fromisoformat(status["startTime"])
    assert whole.total_seconds() >= status["activeSeconds"] + 11, "the pause was left out"
    assert status["counts"]["cancelled"] == 50
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)


def later(moment: str, seconds: int) -> str:
    ends = datetime.fromisoformat(moment).timestamp() + seconds
    return datetime.fromtimestamp(ends, datetime.fromisoformat(moment).tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_a_run_left_goes_when_its_time_is_over_and_who_reads_it_is_told(jobs: Jobs, ask_store: AskStore) -> None:
    short = {"completedSeconds": 0}
    jobs.apply(chaos("brief", inline(3), retention=short), chaos("kept", inline(3)))
    jobs.wait_complete("brief")
    jobs.wait_complete("kept")
    uid = jobs.uid("brief")

    def left() -> list[str]:
        objects = jobs.kubectl("get", "jobs,pods,secrets", "-l", f"batchjob.dev/uid={uid}", "-o", "name").split()
        return [*objects, *(["keys"] if uid in ask_store(methodcaller("runs")) else [])]

    wait_until(left, "all that it left to go", until=lambda found: not found)
    status = jobs.status("brief")
    assert (status["phase"], status["counts"]["succeeded"]) == ("Succeeded", 3), "the object stays and says what was"
    assert status["results"]["expiresAt"] == status["completionTime"]
    assert jobs.uid("kept") in ask_store(methodcaller("runs"))

    jobs.apply(noop("reader", {"resultsOf": {"batchJobName": "brief"}}))
    condition = jobs.wait_condition("reader", "Stalled", "ResultsExpired")
    assert "BatchJob brief ended too long ago" in condition["message"]
    jobs.delete("brief")
    jobs.apply(chaos("brief", inline(3)))
    assert jobs.wait_complete("reader")["progress"] == "3/3"


def test_a_run_may_delete_itself_when_it_has_ended_long_enough(jobs: Jobs, ask_store: AskStore) -> None:
    jobs.apply(noop("gone", inline(2), ttlSecondsAfterFinished=0, suspend=True), noop("stays", inline(2)))
    uids = {jobs.uid("gone"), jobs.uid("stays")}
    edit(jobs, "gone", suspend=False)
    jobs.wait_complete("stays")
    wait_until(lambda: jobs.kubectl.exists("batchjob", "gone"), "it to delete itself", until=lambda there: not there)
    left = {jobs.uid("stays")}
    wait_until(lambda: uids & ask_store(methodcaller("runs")).keys(), "its keys to go", until=left.__eq__)
    edit(jobs, "stays", ttlSecondsAfterFinished=0)
    wait_until(lambda: jobs.kubectl.exists("batchjob", "stays"), "the other one too", until=lambda there: not there)
