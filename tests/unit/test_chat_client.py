"""What is taken of a chat endpoint's answer."""

from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion

from batchjob_processors import chat_client
from batchjob_processors.chat_client import build_client, read_answer

MESSAGE = {"role": "assistant", "content": "{}"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def answered(response: httpx2.Response) -> httpx2.AsyncClient:
    hooks = build_client().event_hooks
    return httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: response), event_hooks=hooks)


def completion(**fields: Any) -> Any:
    """The answer as the library makes it of a body, which it does not check."""
    body = {"model": "m", "choices": [{"message": MESSAGE, "finish_reason": "stop"}], "usage": USAGE} | fields
    return openai._models.construct_type(value=body, type_=ChatCompletion)


async def test_an_answer_without_end_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_client, "ANSWER_BYTES", 10)
    async with answered(httpx2.Response(200, stream=httpx2.ByteStream(b"x" * 10))) as client:
        assert (await client.get("http://model/")).content == b"x" * 10
    async with answered(httpx2.Response(200, stream=httpx2.ByteStream(b"x" * 11))) as client:
        with pytest.raises(httpx2.ReadError, match="its answer is longer than 10 bytes"):
            await client.get("http://model/")


async def test_an_answer_that_would_have_to_be_unpacked_is_not_taken() -> None:
    headers = {"Content-Encoding": "gzip"}
    async with answered(httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(b"x"))) as client:
        with pytest.raises(httpx2.DecodingError, match=r"compressed \(gzip\), though that was not asked for"):
            await client.get("http://model/")
    assert build_client().headers["Accept-Encoding"] == "identity"


def test_a_redirect_is_not_followed() -> None:
    assert not build_client().follow_redirects


@pytest.mark.parametrize(
    "choices",
    [
        *([], "abc", {"a": 1}, [None], [{}], [{"message": None}]),
        [{"message": {"content": [{"type": "text", "text": "{}"}]}}],
        [{"message": {"content": 5}}],
        [{"message": {"refusal": {"a": 1}}}],
    ],
)
def test_what_is_no_completion_is_none(choices: Any) -> None:
    assert read_answer(completion()) is not None
    assert read_answer(completion(choices=choices)) is None


@pytest.mark.parametrize("answer", [None, [], "text", 5])
def test_other_json_is_no_completion(answer: Any) -> None:
    assert read_answer(answer) is None


@pytest.mark.parametrize(
    "usage",
    [
        *({"prompt_tokens": wrong, "completion_tokens": 1} for wrong in (None, 1.5, -1, "1", True, 10**30)),
        *({}, "none", {"total_tokens": 5}),
    ],
)
def test_tokens_that_are_no_counts_do_not_cost_the_answer(usage: Any) -> None:
    answer = read_answer(completion(usage=usage))
    assert answer is not None
    assert answer.usage is None


def test_what_no_document_can_hold_is_replaced() -> None:
    message = MESSAGE | {"content": "a\ud83d"}
    answer = read_answer(completion(choices=[{"message": message}], model=None))
    assert answer is not None
    assert (answer.choices[0].message.content, answer.model) == ("a?", "")
