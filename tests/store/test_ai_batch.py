"""Type ai-batch against a chat server: what is asked, and what becomes of each answer."""

import json
import time
from email.utils import formatdate
from typing import Any

import httpx2
import openai
import pytest

from batchjob.errors import ConfigurationError
from batchjob.worker.processor import make_processor
from batchjob_processors import chat
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
            r"examples\[0\]: spec.aiBatch.prompt, line 1, column 4: undefined value: .* undefined; the item has: text",
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


# ---- answers


@pytest.mark.parametrize(
    ("refused", "kinds"),
    [
        ("^strict$", ["strict", "json_schema", "json_schema"]),
        ("strict|json_schema", ["strict", "json_schema", "json_object", "json_object"]),
        ("strict|json_", ["strict", "json_schema", "json_object", "text", "text"]),
    ],
)
async def test_a_pod_learns_how_the_endpoint_takes_a_form_and_asks_that_way_from_then_on(
    workers: Workers, neighbours: Neighbours, refused: str, kinds: list[str]
) -> None:
    neighbours.set_faults("chat", [{"action": "refuse_format", "kind": refused}, {"action": "chatter"}])
    run = await workers.open(ai_spec(neighbours, 2, concurrency=1, retry={"maxAttempts": 1}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (2, 0)
    assert [row["kind"] for row in asked(neighbours, run)] == kinds
    assert found.usage["requests"] == len(kinds)


async def test_a_pod_learns_the_old_name_of_the_limit_where_the_endpoint_knows_no_other(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("chat", [{"action": "refuse_limit"}])
    model = {"maxOutputTokens": 50}
    run = await workers.open(ai_spec(neighbours, 3, model=model, concurrency=1, retry={"maxAttempts": 1}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (3, 0)
    assert [row["limit"] for row in asked(neighbours, run)] == ["max_completion_tokens", *["max_tokens"] * 3]


async def test_a_limit_that_an_endpoint_finds_too_large_is_not_said_again_by_another_name(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours.set_faults("chat", [{"action": "refuse_limit"}])
    monkeypatch.setattr(chat, "_UNKNOWN", ("nothing that it says",))
    run = await workers.open(ai_spec(neighbours, 1, model={"maxOutputTokens": 50}))
    assert (await work(workers, run)).last_errors[0].error_class == "invalid-input"
    assert len(asked(neighbours, run)) == 1


async def test_an_answer_that_is_wrong_is_sent_back_with_its_error_and_its_tokens_count(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("chat", [{"match": "sentence 1$", "action": "wrong_answer", "times": 2}])
    run = await workers.open(ai_spec(neighbours, 2, concurrency=1, retry={"maxAttempts": 1}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (2, 0)
    assert [row["messages"] for row in asked(neighbours, run)] == [2, 2, 4, 6]
    assert found.usage["requests"] == 4


async def test_an_answer_that_stays_wrong_is_a_dead_letter_with_both_texts(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("chat", [{"action": "wrong_answer"}])
    run = await workers.open(ai_spec(neighbours, 1))
    found = await work(workers, run)
    assert found.usage["requests"] == 3
    [letter] = await workers.store.dead_letters(run.uid, 10)
    assert (letter.error_class, letter.attempts) == ("invalid-answer", 1)
    assert "sentiment: {'wrong': True} is not one of ['positive', 'neutral', 'negative']" in letter.message
    assert """it answered: '{"sentiment": {"wrong": true}, "score": {"wrong": true}}'""" in letter.message


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"action": "content_filter"}, "the content filter stopped it"),
        ({"action": "content_filter", "status": 400}, "answered 400: the prompt was filtered"),
        ({"action": "refusal"}, "I cannot help with that."),
    ],
)
async def test_a_model_that_will_not_speak_of_an_item_is_asked_once(
    workers: Workers, neighbours: Neighbours, rule: dict[str, Any], said: str
) -> None:
    neighbours.set_faults("chat", [rule])
    run = await workers.open(ai_spec(neighbours, 1))
    found = await work(workers, run)
    assert found.last_errors[0].error_class == "content-filter"
    assert said in found.last_errors[0].message
    assert len(asked(neighbours, run)) == 1


async def test_an_answer_that_was_cut_off_names_the_field_to_raise(workers: Workers, neighbours: Neighbours) -> None:
    run = await workers.open(ai_spec(neighbours, 1, model={"maxOutputTokens": 2}))
    found = await work(workers, run)
    [error] = found.last_errors
    assert error.error_class == "invalid-answer"
    assert error.message.startswith(
        "the model's answer was cut off after 2 tokens: raise spec.aiBatch.model.maxOutputTokens (2)"
    )
    assert len(asked(neighbours, run)) == 1


# ---- limits


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("said", ["1", "a date"])
async def test_a_server_that_says_when_holds_everybody_and_costs_no_attempt(
    workers: Workers, neighbours: Neighbours, status: int, said: str
) -> None:
    due = int(time.time()) + 4  # HTTP's dates have whole seconds
    headers = {"Retry-After": formatdate(due, usegmt=True) if said == "a date" else said}
    neighbours.set_faults(
        "chat", [{"match": "^sentence 0$", "action": "status", "status": status, "times": 1, "headers": headers}]
    )
    run = await workers.open(ai_spec(neighbours, 4, concurrency=1, retry={"maxAttempts": 1}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (4, 0)
    refused, *others = [row["time"] for row in asked(neighbours, run)]
    assert min(others) >= (due if said == "a date" else refused + 1) - 0.1


async def test_nobody_asks_before_a_limit_that_is_used_up_begins_anew(workers: Workers, neighbours: Neighbours) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}
    neighbours.set_faults("chat", [{"match": "^sentence 0$", "action": "headers", "headers": headers}])
    run = await workers.open(ai_spec(neighbours, 2, concurrency=1))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (2, 2)
    [one, two] = [row["time"] for row in asked(neighbours, run)]
    assert two - one >= 1


async def test_a_503_that_says_nothing_costs_an_attempt(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"action": "status", "status": 503}])
    run = await workers.open(ai_spec(neighbours, 1, retry={"maxAttempts": 1}))
    assert (await work(workers, run)).last_errors[0].error_class == "upstream"


async def test_what_an_endpoint_says_of_a_key_is_not_repeated(workers: Workers, neighbours: Neighbours) -> None:
    model = {"apiKeySecretRef": {"name": "openai", "key": "OPENAI_API_KEY"}}
    neighbours.set_faults("chat", [{"action": "status", "status": 401}])
    run = await workers.open(ai_spec(neighbours, 1, model=model))
    workers.reference(run, "model", OPENAI_API_KEY="fault")  # which the server's words contain
    [error] = (await work(workers, run)).last_errors
    assert (error.error_class, "fault" in error.message) == ("permission", False)
    assert "a *** that a test asked for" in error.message


async def test_an_endpoint_that_is_away_for_a_while_costs_no_attempt_and_one_that_was_never_there_does(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "OUTAGE_LOOK_SECONDS", 0.1)
    run = await workers.open(ai_spec(neighbours, 3, concurrency=1, retry={"maxAttempts": 1}))
    asked_for = 0
    real = chat.Endpoint._answer

    async def breaking(endpoint: chat.Endpoint, *arguments: Any) -> Any:
        """The second request and the third meet nobody."""
        nonlocal asked_for
        asked_for += 1
        if asked_for in {2, 3}:
            away = httpx2.ConnectError("All connection attempts failed")
            raise openai.APIConnectionError(request=httpx2.Request("POST", "http://model")) from away
        return await real(endpoint, *arguments)

    monkeypatch.setattr(chat.Endpoint, "_answer", breaking)
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed, asked_for) == (3, 0, 5)
    asked_for = 1
    never = await workers.open(ai_spec(neighbours, 1, retry={"maxAttempts": 1}))
    assert (await work(workers, never)).counts.failed == 1


# ---- results, and several items in one request

TOLD = "batchjob/answer"


async def test_a_result_says_how_its_answer_came_about(workers: Workers, neighbours: Neighbours) -> None:
    rules = [
        {"match": "sentence 1$", "action": "status", "status": 500, "times": 1},
        {"match": "sentence 2$", "action": "wrong_answer", "times": 1},
    ]
    neighbours.set_faults("chat", rules)
    run = await workers.open(ai_spec(neighbours, 3, retry={"backoff": {"initialDelaySeconds": 0}}))
    found = await work(workers, run)
    told = {name: result[TOLD] for name, result in (await results(workers, run)).items()}
    assert {name: (one["attempt"], one["requests"]) for name, one in told.items()} == {
        "i0": (1, 1), "i1": (2, 1), "i2": (1, 2),
    }  # fmt: skip
    assert {one["model"] for one in told.values()} == {"stand-in"}
    assert sum(one["promptTokens"] for one in told.values()) == found.usage["promptTokens"]
    assert sum(one["completionTokens"] for one in told.values()) == found.usage["completionTokens"]
    assert all(one["seconds"] > 0 for one in told.values())


async def test_several_items_go_into_one_request_and_each_gets_its_own_answer(
    workers: Workers, neighbours: Neighbours
) -> None:
    texts = ["A wonderful pot.", "A horrible, broken pot.", "A pot."] * 4
    source = {"items": [{"id": f"p{n}", "data": {"text": text}} for n, text in enumerate(texts)]}
    examples = [{"data": {"text": "Fine."}, "answer": '{"sentiment": "positive", "score": 0.5}'}]
    block = {"itemsPerRequest": 5, "examples": examples}
    run = await workers.open(ai_spec(neighbours, source, concurrency=5, block=block))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (12, 3)
    assert [row["items"] for row in asked(neighbours, run)] == [
        [f"p{n}" for n in group] for group in (range(5), range(5, 10), range(10, 12))
    ]
    answers = await results(workers, run)
    moods = [answers[f"p{n}"]["sentiment"] for n in range(12)]
    assert moods == ["positive", "negative", "neutral"] * 4
    assert (answers["p11"]["text"], answers["p11"][TOLD]["items"]) == ("A pot.", 2)


async def test_an_item_that_goes_wrong_among_others_is_asked_about_alone_and_fails_alone(
    workers: Workers, neighbours: Neighbours
) -> None:
    rules: list[dict[str, Any]] = [
        {"match": "sentence 1\\b", "action": "wrong_answer"},
        {"match": "sentence 2\\b", "action": "omit", "times": 1},
    ]
    neighbours.set_faults("chat", rules)
    run = await workers.open(ai_spec(neighbours, 3, concurrency=3, block={"itemsPerRequest": 3}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed, found.usage["requests"]) == (2, 1, 3)
    [error] = found.last_errors
    assert (error.item_id, error.error_class) == ("i1", "invalid-answer")
    neighbours.set_faults("chat", [rules[1]])
    run = await workers.open(ai_spec(neighbours, 3, concurrency=3, block={"itemsPerRequest": 3}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (3, 3)
    assert [len(row["items"]) for row in asked(neighbours, run)] == [3, 0, 0]


async def test_a_request_that_is_filtered_for_one_of_its_items_costs_that_one_alone(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.set_faults("chat", [{"match": "sentence 1\\b", "action": "content_filter"}])
    run = await workers.open(ai_spec(neighbours, 3, concurrency=3, block={"itemsPerRequest": 3}))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.last_errors[0].item_id) == (2, "i1")


async def test_items_of_different_instructions_go_into_requests_of_their_own(
    workers: Workers, neighbours: Neighbours
) -> None:
    items = [{"id": f"i{n}", "data": {"text": f"t{n}", "language": "fr" if n % 2 else "en"}} for n in range(4)]
    source = {"items": [*items, {"id": "lacks", "data": {"text": "no language"}}]}
    block = {"itemsPerRequest": 5, "instructions": "Answer in {{ language }}."}
    run = await workers.open(ai_spec(neighbours, source, concurrency=5, block=block))
    found = await work(workers, run)
    assert (found.counts.succeeded, found.counts.failed, found.last_errors[0].item_id) == (4, 1, "lacks")
    assert sorted(row["items"] for row in asked(neighbours, run)) == [["i0", "i2"], ["i1", "i3"]]


# ---- limits of one's own


async def test_requests_a_minute_hold_for_second_questions_too(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("chat", [{"action": "wrong_answer", "times": 1}])
    run = await workers.open(ai_spec(neighbours, 20, concurrency=1, model={"requestsPerMinute": 600}))
    began = time.time()  # and not the first row's time, which may be late by itself
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (20, 40)
    times = [row["time"] for row in asked(neighbours, run)]
    assert times[-1] - began >= 0.1 * (38 - 10), "ten at once, then one each tenth of a second"


async def test_a_request_about_several_items_is_one_of_the_requests_a_minute(
    workers: Workers, neighbours: Neighbours
) -> None:
    block = {"itemsPerRequest": 10}
    run = await workers.open(ai_spec(neighbours, 30, concurrency=10, model={"requestsPerMinute": 60}, block=block))
    began = time.time()
    found = await work(workers, run)
    assert (found.counts.succeeded, found.usage["requests"]) == (30, 3)
    times = [row["time"] for row in asked(neighbours, run)]
    assert times[-1] - began >= 2, "one each second"
    assert times[-1] - times[0] < 20, "and not one each ten"


async def test_tokens_a_minute_are_shared_by_all_who_ask_with_the_same_key(
    workers: Workers, neighbours: Neighbours
) -> None:
    model = {"tokensPerMinute": 60_000}  # a thousand at once, then one a millisecond
    runs = [await workers.open(ai_spec(neighbours, 10, concurrency=1, model=model)) for _ in range(2)]
    used, began = 0, time.time()
    for run in runs:
        found = await work(workers, run)
        assert found.counts.succeeded == 10
        used += found.usage["promptTokens"] + found.usage["completionTokens"]
    times = [row["time"] for run in runs for row in asked(neighbours, run)]
    assert times[-1] - began >= 0.001 * (0.9 * used - 1000)
