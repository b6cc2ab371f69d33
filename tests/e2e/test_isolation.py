"""A run's pods hold the credentials of that run alone."""

import base64
import json
from typing import Any

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.installation import Installation
from tests.support.kubectl import wait_until
from tests.support.manifests import ai_batch, inline
from tests.support.neighbours.client import Neighbours

SLOW = [{"match": "", "action": "delay", "delay_seconds": 1.0, "times": None}]


def credentials(jobs: Jobs, name: str) -> dict[str, Any]:
    """What the pods of a run are told about the store."""
    selector = f"batchjob.dev/uid={jobs.uid(name)}"
    (secret,) = wait_until(lambda: jobs.kubectl.items("secrets", "-l", selector), f"the Secret of {name}", timeout=60)
    found: dict[str, Any] = json.loads(base64.b64decode(secret["data"]["store.json"]))
    return found


def as_run(installation: Installation, access: dict[str, Any], *command: str) -> str:
    """Run redis-cli with a run's own credentials."""
    pod = installation.cluster.items("pods", "-l", "app.kubernetes.io/component=redis")[0]["metadata"]["name"]
    login = ("--no-auth-warning", "--user", access["username"], "--pass", access["password"])
    return installation.cluster("exec", pod, "--", "redis-cli", *login, *command)


@pytest.fixture
def two_runs(jobs: Jobs, neighbours: Neighbours) -> tuple[str, str]:
    """Two slow runs side by side."""
    neighbours.set_faults("chat", SLOW)
    jobs.apply(ai_batch("tenant-a", inline(300)), ai_batch("tenant-b", inline(300)))
    for name in ("tenant-a", "tenant-b"):
        jobs.wait_running_pod(name)
    return "tenant-a", "tenant-b"


def test_one_runs_credentials_do_not_open_anothers_keys(
    two_runs: tuple[str, str], jobs: Jobs, installation: Installation
) -> None:
    a, b = two_runs
    access = credentials(jobs, a)
    own = as_run(installation, access, "HGETALL", f"{{bj:{jobs.uid(a)}}}:meta")
    assert "epoch" in own
    for command in (("HGETALL",), ("HSET", "forged", "1")):
        verb, *rest = command
        assert "NOPERM" in as_run(installation, access, verb, f"{{bj:{jobs.uid(b)}}}:meta", *rest)
    assert "NOPERM" in as_run(installation, access, "EVAL", "return 1", "0")
    assert "NOPERM" in as_run(installation, access, "ACL", "LIST")


def test_a_run_may_read_but_not_write_the_run_whose_results_it_takes(
    jobs: Jobs, neighbours: Neighbours, installation: Installation
) -> None:
    jobs.apply(ai_batch("parent-run", inline(5)))
    jobs.wait_complete("parent-run")
    neighbours.set_faults("chat", SLOW)
    jobs.apply(ai_batch("child-run", {"resultsOf": {"batchJobName": "parent-run"}}, concurrency=1))
    access = credentials(jobs, "child-run")
    results = f"{{bj:{jobs.uid('parent-run')}}}:results"
    assert "NOPERM" not in as_run(installation, access, "HLEN", results)
    assert "NOPERM" in as_run(installation, access, "HSET", results, "0", "forged")
