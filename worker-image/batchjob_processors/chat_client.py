"""The HTTP client of a chat endpoint, and the look at what it answers before anything relies on it.

An answer is bounded and never unpacked, since a few bytes could become any number; redirects are not followed, since
nobody has checked where they lead, and headers of a Secret would go along.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice

ANSWER_BYTES: Final = 16 * 1024 * 1024  # the longest answers of today have half of one
_MOST_TOKENS: Final = 10**9  # of one request: more is no count


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes. ReadError once there are too many."""
        size = 0
        async for block in self._stream:
            size += len(block)
            if size > ANSWER_BYTES:
                raise httpx2.ReadError(f"its answer is longer than {ANSWER_BYTES:,} bytes")
            yield block

    async def aclose(self) -> None:
        """End it."""
        await self._stream.aclose()


async def _bind(response: httpx2.Response) -> None:
    if (packed := response.headers.get("content-encoding", "identity")) != "identity":
        raise httpx2.DecodingError(f"its answer is compressed ({packed}), though that was not asked for")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def build_client() -> httpx2.AsyncClient:
    """The client for `openai`."""
    return openai.DefaultAsyncHttpxClient(
        follow_redirects=False, headers={"Accept-Encoding": "identity"}, event_hooks={"response": [_bind]}
    )


def read_answer(answer: Any) -> ChatCompletion | None:
    """The answer with what is relied on in it; None where it is something else.

    The library takes any JSON for what was asked for. Tokens that are no counts are left out, and half a surrogate
    pair, which no document can hold, is a question mark.
    """
    match answer:
        case ChatCompletion(
            choices=[Choice(message=ChatCompletionMessage(content=str() | None, refusal=str() | None) as message), *_]
        ):
            message.content = message.content and message.content.encode("utf-8", "replace").decode()
            model: Any = answer.model
            answer.model = model.encode("utf-8", "replace").decode() if isinstance(model, str) else ""
            answer.usage = answer.usage if _is_usage(answer.usage) else None
            return answer
    return None


def _is_usage(usage: Any) -> bool:
    return isinstance(usage, CompletionUsage) and all(
        type(tokens) is int and 0 <= tokens <= _MOST_TOKENS for tokens in (usage.prompt_tokens, usage.completion_tokens)
    )
