"""What an ai-batch run may use, and what it need not use again: its budget, its cache, its tokens and their price."""

import asyncio
from pathlib import Path

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.breaker import Spent
from batchjob.worker.processor import make_processor
from tests.support.ai_runs import ai_spec, asked
from tests.support.local_runs import Place
from tests.support.manifests import API_VERSION
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers

# ---- the budget


async def test_a_run_stops_once_its_budget_is_used_and_goes_on_where_it_was_with_a_larger_one(
    workers: Workers, neighbours: Neighbours
) -> None:
    run = await workers.open(ai_spec(neighbours, 40, concurrency=2, retry={"maxAttempts": 1}))
    await workers.store.set_breaker(run.uid, "100/100/20/1000")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(workers.work(run, make_processor("ai-batch")))
        held = await workers.wait(run, lambda found: bool(found.tripped) and not found.counts.active, "the budget")
        assert isinstance(held.tripped, Spent)
        each = (held.usage["promptTokens"] + held.usage["completionTokens"]) / held.counts.succeeded
        assert held.tripped.tokens >= 1000
        assert held.usage["requests"] == held.counts.succeeded < 40
        # What began before the pod heard of it: a few times `concurrency`.
        assert held.usage["promptTokens"] + held.usage["completionTokens"] < 1000 + 10 * each
        await workers.store.set_breaker(run.uid, "100/100/20/1000000")
        await workers.store.resume(run.uid, "more")
    found = await workers.snapshot(run)
    assert (work.result(), found.counts.succeeded, found.counts.failed) == (EXIT_CLOSED, 40, 0)
    assert len({row["item"] for row in asked(neighbours, run)}) == len(asked(neighbours, run)) == 40


def test_without_a_cluster_the_run_ends_there_and_its_rest_is_for_a_redrive(
    tmp_path: Path, neighbours: Neighbours
) -> None:
    place = Place(tmp_path / "place")
    spec = ai_spec(neighbours, 30, concurrency=2, block={"budget": {"tokens": 500}})
    job = {"apiVersion": API_VERSION, "kind": "BatchJob", "metadata": {"name": "dear"}, "spec": spec}
    place.write(job)
    done = place.run()
    assert done.returncode == 1
    assert "BudgetExceeded: The run has used " in done.stdout
    assert "and spec.aiBatch.budget.tokens is 500." in done.stdout
    spec["aiBatch"]["budget"]["tokens"] = 100_000
    place.write(job)
    done = place.run("--redrive")
    assert done.returncode == 0, done.stdout
    assert len(place.lines("results.jsonl", "dear-results")) == 30
