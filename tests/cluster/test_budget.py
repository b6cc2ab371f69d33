"""A budget on a real API server: pods stop by themselves, and a larger budget with a new token lets them go on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster_jobs import Jobs
from tests.support.kubectl import wait_until
from tests.support.manifests import ai_batch, inline
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.pods import PodRunner

pytestmark = pytest.mark.usefixtures("operator")

ITEMS = 200
BUDGET = 2000
PRICES = {"inputPerMillion": 2, "outputPerMillion": 8, "currency": "EUR"}


@pytest.fixture
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


def used(status: dict[str, Any]) -> int:
    return int(status["usage"]["promptTokens"] + status["usage"]["completionTokens"])


def test_a_run_is_held_by_its_budget_without_pods_and_loses_nothing(
    pods: PodRunner, jobs: Jobs, neighbours: Neighbours
) -> None:
    job = ai_batch("dear", inline(ITEMS), concurrency=2, parallelism=2, retry={"maxAttempts": 1})
    endpoint = {"baseUrl": f"http://127.0.0.1:{neighbours.ports['chat']}/v1", "prices": PRICES}
    job["spec"]["aiBatch"]["model"] |= endpoint
    job["spec"]["aiBatch"]["budget"] = {"tokens": BUDGET}
    neighbours.set_faults("chat", [{"action": "delay", "delay_seconds": 0.1}])
    jobs.apply(job)
    condition = jobs.wait_condition("dear", "Suspended", "BudgetExceeded")
    assert f"and spec.aiBatch.budget.tokens is {BUDGET}. Raise spec.aiBatch.budget.tokens, then" in condition["message"]
    wait_until(lambda: pods.processes, "the workers to leave", until=lambda left: not left)
    status = jobs.status("dear")
    assert used(status) >= BUDGET
    assert 0 < status["counts"]["succeeded"] < ITEMS

    more: dict[str, Any] = {"aiBatch": {"budget": {"tokens": 100 * BUDGET}}, "resumeToken": "more"}
    jobs.kubectl("patch", "batchjob", "dear", "--type=merge", "-p", json.dumps({"spec": more}))
    status = jobs.wait_complete("dear")
    assert (status["counts"]["succeeded"], status["usage"]["requests"]) == (ITEMS, ITEMS)
    asked, answered = status["usage"]["promptTokens"], status["usage"]["completionTokens"]
    assert status["usage"]["costMicroEUR"] == 2 * asked + 8 * answered
