"""Type ai-batch against a chat server: what is asked, and what becomes of each answer."""

import json
from typing import Any

import pytest

from batchjob.errors import ConfigurationError
from batchjob.worker.processor import make_processor
from tests.support.ai_runs import ai_spec, asked, results, work
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers

ORDER = {
    "type": "object",
    "properties": {"verdict": {"type": "object", "properties": {"sentiment": {"enum": ["positive", "negative"]}}}},
    "required": ["verdict"],
}


async def test_headers_go_with_each_request_and_those_of_a_secret_win(workers: Workers, neighbours: Neighbours) -> None:
    headers = [{"name": "X-Noted-Team", "value": "red"}, {"name": "X-Noted-Key", "value": "from the spec"}]
    model = {"headers": headers, "headersSecretRef": {"name": "headers"}}
    run = await workers.open(ai_spec(neighbours, 2, model=model))
    workers.reference(run, "model-headers", **{"X-Noted-Key": "from the Secret\n"})
    assert (await work(workers, run)).counts.succeeded == 2
    noted = [row["headers"] for row in asked(neighbours, run)]
    assert noted == [{"x-noted-team": "red", "x-noted-key": "from the Secret"}] * 2


async def test_a_secret_that_holds_no_header_ends_the_run_and_its_value_stays_secret(
    workers: Workers, neighbours: Neighbours
) -> None:
    run = await workers.open(ai_spec(neighbours, 1, model={"headersSecretRef": {"name": "headers"}}))
    workers.reference(run, "model-headers", **{"X-Key": "two\nlines"})
    with pytest.raises(ConfigurationError, match=r"headersSecretRef: key X-Key cannot be a header") as error:
        await workers.work(run, make_processor("ai-batch"))
    assert "lines" not in str(error.value)


async def test_a_json_schema_of_a_configmap_is_the_form(workers: Workers, neighbours: Neighbours) -> None:
    block = {"formSchemaRef": {"name": "forms", "key": "order.json"}}
    run = await workers.open(ai_spec(neighbours, 2, block=block))
    workers.reference(run, "form", order__json=json.dumps(ORDER))
    assert (await work(workers, run)).counts.succeeded == 2
    assert (await results(workers, run))["i1"]["verdict"]["sentiment"] in {"positive", "negative"}


async def test_examples_and_a_prompt_are_said_before_and_of_each_item(workers: Workers, neighbours: Neighbours) -> None:
    examples = [{"data": {"text": "Fine."}, "answer": '{"sentiment": "positive", "score": 0.5}'}]
    rule = {"action": "status", "status": 400, "match": "^A review: sentence 1$"}
    neighbours.set_faults("chat", [rule])
    run = await workers.open(ai_spec(neighbours, 2, block={"examples": examples, "prompt": "A review: {{ text }}"}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (1, 1)
    assert [row["messages"] for row in asked(neighbours, run)] == [4, 4]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"prompt": "{{ text"}, "spec.aiBatch.prompt is not a template"),
        (
            {"examples": [{"data": {"text": "a"}, "answer": '{"sentiment": "fine", "score": 0}'}]},
            r"spec.aiBatch.examples\[0\].answer does not fill the form: sentiment: 'fine' is not one of",
        ),
        ({"examples": [{"data": {"text": "a"}, "answer": "fine"}]}, r"examples\[0\] is not JSON"),
        ({"examples": [{"json": "[]", "answer": "{}"}]}, r"examples\[0\].json must be the text of a JSON object"),
        (
            {
                "prompt": "{{ title }}",
                "examples": [{"data": {"text": "a"}, "answer": '{"sentiment": "neutral", "score": 0}'}],
            },
            r"examples\[0\]: spec.aiBatch.prompt: undefined value: `title` is undefined .*; the item has: text",
        ),
    ],
)
async def test_a_block_that_cannot_work_ends_the_run_and_is_named(
    workers: Workers, neighbours: Neighbours, block: dict[str, Any], words: str
) -> None:
    run = await workers.open(ai_spec(neighbours, 1, block=block))
    with pytest.raises(ConfigurationError, match=words):
        await workers.work(run, make_processor("ai-batch"))


async def test_a_form_that_is_no_json_schema_ends_the_run_and_names_its_configmap(
    workers: Workers, neighbours: Neighbours
) -> None:
    run = await workers.open(ai_spec(neighbours, 1, block={"formSchemaRef": {"name": "forms", "key": "order.json"}}))
    workers.reference(run, "form", order__json='{"type": "object", "properties": []}')
    with pytest.raises(ConfigurationError, match=r"formSchemaRef: key order.json of ConfigMap forms is no JSON Schema"):
        await workers.work(run, make_processor("ai-batch"))
