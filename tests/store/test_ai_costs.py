"""What an ai-batch run may use, and what it need not use again: its budget, its cache, its tokens and their price."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from batchjob.api.run import EXIT_CLOSED
from batchjob.core.breaker import Spent
from batchjob.metrics import REGISTRIES, Process
from batchjob.worker.cache import Cache
from batchjob.worker.processor import make_processor
from tests.support.ai_runs import ai_spec, asked, results, work
from tests.support.local_runs import Place
from tests.support.manifests import API_VERSION
from tests.support.neighbours.client import Neighbours
from tests.support.workers import PATIENCE_SECONDS, Workers

# ---- the budget


async def test_a_run_stops_once_its_budget_is_used_and_goes_on_where_it_was_with_a_larger_one(
    workers: Workers, neighbours: Neighbours
) -> None:
    # As slow as models are: what begins while the pod has not heard of it is a matter of time.
    neighbours.set_faults("chat", [{"match": "", "action": "delay", "delay_seconds": 0.2, "times": None}])
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


# ---- the cache

CACHED = {"cache": {"ttlSeconds": 60}}
TOLD = "batchjob/answer"


async def test_an_answer_is_known_to_the_next_run_of_its_owner_and_costs_nothing(
    workers: Workers, neighbours: Neighbours
) -> None:
    first, second = [await workers.open(ai_spec(neighbours, 3, owner="alice", block=CACHED)) for _ in range(2)]
    assert (await work(workers, first)).usage["requests"] == 3
    found = await work(workers, second)
    assert asked(neighbours, second) == []
    assert (found.counts.succeeded, found.usage) == (3, {"requests": 0, "cachedAnswers": 3})
    one, two = await results(workers, first), await results(workers, second)
    nothing = {"promptTokens": 0, "completionTokens": 0, "seconds": 0.0, "requests": 0, "items": 1, "attempt": 1}
    for name, result in two.items():
        assert result[TOLD] == {"model": "stand-in", "cached": True} | nothing
        assert {**result, TOLD: None} == {**one[name], TOLD: None}
    assert "cached" not in one["i0"][TOLD]


async def test_no_answer_is_known_to_another_owner(workers: Workers, neighbours: Neighbours) -> None:
    for owner in ({"owner": "alice"}, {"owner": "bob"}, {}):
        run = await workers.open(ai_spec(neighbours, 2, block=CACHED, **owner))
        assert (await work(workers, run)).usage["requests"] == 2


DIFFERENT: dict[str, dict[str, Any]] = {
    "the instructions": {"block": {"instructions": "Say otherwise how the writer feels."}},
    "the prompt": {"block": {"prompt": "{{ text }}"}},
    "the form": {"block": {"formSchema": {"fields": [{"name": "sentiment", "type": "string"}]}}},
    "an example": {"block": {"examples": [{"data": {"text": "a"}, "answer": '{"sentiment": "neutral", "score": 0}'}]}},
    "how many go into a request": {"block": {"itemsPerRequest": 2}},
    "the model": {"model": {"name": "another"}},
    "the temperature": {"model": {"temperature": 0.5}},
    "the limit": {"model": {"maxOutputTokens": 100}},
    "a header": {"model": {"headers": [{"name": "X-Version", "value": "2"}]}},
    "the endpoint": {"model": {"baseUrl": "http://localhost:{chat}/v1"}},
}


@pytest.mark.parametrize("what", DIFFERENT)
async def test_whatever_may_change_an_answer_asks_anew(workers: Workers, neighbours: Neighbours, what: str) -> None:
    await work(workers, await workers.open(ai_spec(neighbours, 1, block=CACHED)))
    model, block = DIFFERENT[what].get("model", {}), DIFFERENT[what].get("block", {})
    if "baseUrl" in model:
        model = {"baseUrl": model["baseUrl"].format(chat=neighbours.ports["chat"])}
    run = await workers.open(ai_spec(neighbours, 1, model=model, block=CACHED | block))
    found = await work(workers, run)
    assert (found.counts.succeeded, "cachedAnswers" in found.usage) == (1, False)


async def test_another_key_for_the_same_model_asks_for_nothing_that_is_known(
    workers: Workers, neighbours: Neighbours
) -> None:
    for number, key in enumerate(("one", "two")):
        model = {"apiKeySecretRef": {"name": key, "key": "OPENAI_API_KEY"}}
        run = await workers.open(ai_spec(neighbours, 1, model=model, block=CACHED))
        workers.reference(run, "model", OPENAI_API_KEY=key)
        assert (await work(workers, run)).usage.get("cachedAnswers", 0) == number


async def test_a_run_without_a_cache_neither_reads_nor_writes_one(workers: Workers, neighbours: Neighbours) -> None:
    for block in ({}, CACHED, {}):
        run = await workers.open(ai_spec(neighbours, 1, block=block))
        assert "cachedAnswers" not in (await work(workers, run)).usage


async def test_of_several_items_in_a_request_those_that_are_known_are_left_out(
    workers: Workers, neighbours: Neighbours
) -> None:
    block = CACHED | {"itemsPerRequest": 5}
    await work(workers, await workers.open(ai_spec(neighbours, 2, concurrency=5, block=block)))
    run = await workers.open(ai_spec(neighbours, 5, concurrency=5, block=block))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["cachedAnswers"]) == (5, 2)
    assert [row["items"] for row in asked(neighbours, run)] == [["i2", "i3", "i4"]]


async def test_a_wrong_answer_is_not_remembered_and_a_mended_one_is(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"action": "wrong_answer"}])
    run = await workers.open(ai_spec(neighbours, 1, block=CACHED))
    assert (await work(workers, run)).counts.failed == 1
    neighbours.set_faults("chat", [{"action": "wrong_answer", "times": 1}])
    run = await workers.open(ai_spec(neighbours, 1, block=CACHED))
    assert (await work(workers, run)).usage["requests"] == 2
    run = await workers.open(ai_spec(neighbours, 1, block=CACHED))
    assert (await work(workers, run)).usage["cachedAnswers"] == 1


@pytest.mark.parametrize("kept", [b"none of ours", b"[]", b'{"answer": {"sentiment": "fine"}, "model": "m"}'])
async def test_what_else_wrote_into_the_cache_is_no_answer(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, kept: bytes
) -> None:
    async def get(_cache: Cache, _key: str) -> bytes:
        return kept

    monkeypatch.setattr(Cache, "get", get)
    run = await workers.open(ai_spec(neighbours, 1, block=CACHED))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (1, 1)


async def test_a_known_answer_takes_no_share_of_a_rate(workers: Workers, neighbours: Neighbours) -> None:
    await work(workers, await workers.open(ai_spec(neighbours, 30, block=CACHED)))
    run = await workers.open(ai_spec(neighbours, 30, concurrency=1, block=CACHED, model={"requestsPerMinute": 1}))
    async with asyncio.timeout(PATIENCE_SECONDS):  # one a minute would take half an hour
        assert (await work(workers, run)).usage["cachedAnswers"] == 30


# ---- tokens and their price


async def test_tokens_and_their_price_are_counted_in_the_metrics(workers: Workers, neighbours: Neighbours) -> None:
    def told() -> list[float]:
        tokens, cost = "batchjob_llm_tokens_total", "batchjob_llm_cost_total"
        labels = [(tokens, {"kind": "prompt"}), (tokens, {"kind": "completion"}), (cost, {"currency": "EUR"})]
        value = REGISTRIES[Process.WORKER].get_sample_value
        return [value(name, {"queue": "ai-batch", **label}) or 0.0 for name, label in labels]

    before = told()
    prices = {"inputPerMillion": 0.15, "outputPerMillion": 600, "currency": "EUR"}
    run = await workers.open(ai_spec(neighbours, 3, model={"prices": prices}))
    used = (await work(workers, run)).usage
    asked_for, answered, cost = (now - then for now, then in zip(told(), before, strict=True))
    assert (asked_for, answered) == (used["promptTokens"], used["completionTokens"])
    assert cost == pytest.approx((0.15 * asked_for + 600 * answered) / 1e6)
