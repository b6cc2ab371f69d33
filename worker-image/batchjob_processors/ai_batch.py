"""Type ai-batch: a model behind any OpenAI-compatible endpoint fills a form about each item.

The result of an item is its own data with the filled form on top, so that an export of the results shows both. One
client with a connection pool serves all items of a pod; its own retries are off, because waiting and trying again is
the engine's business, where it is counted and shown.
"""

import json
import string
from typing import Any, Final, NoReturn
from urllib.parse import quote

import openai

from batchjob.api.blocks.ai_batch import AiBatch as Block
from batchjob.api.run import Purpose
from batchjob.worker import (
    ConfigurationError,
    Context,
    ErrorClass,
    Fail,
    Item,
    Processor,
    Retry,
    check_host,
    explain_unreached,
)
from batchjob_processors.form import InvalidAnswerError, json_schema, parse_answer
from batchjob_processors.templates import Templates

SERVER_ERROR: Final = 500
BASE_URL: Final = "spec.aiBatch.model.baseUrl"
ITEM_HEADER: Final = "X-BatchJob-Item"  # the idempotency key, percent-encoded: a header takes visible ASCII only
_PLAIN: Final = string.punctuation.replace("%", "")
FORM_HINT: Final = "Answer with one JSON object that fits this JSON Schema and with nothing else:\n"


class AiBatch(Processor):
    """Annotates items; the block is `spec.aiBatch`."""

    async def open(self, context: Context) -> None:
        """Make the client; ConfigurationError where the run has no aiBatch block, or one whose host is refused."""
        block = context.run.spec.ai_batch
        if block is None:
            raise ConfigurationError("spec.aiBatch is missing")
        self._block = block
        seconds = context.run.effective.item_timeout_seconds
        self._schema = json_schema(block.form_schema)
        self._templates = Templates("spec.aiBatch", instructions=block.instructions)
        self._client = openai.AsyncOpenAI(
            base_url=block.model.base_url,
            api_key=_api_key(block, context),
            max_retries=0,
            # Before the engine's own limit, which cannot name the endpoint.
            timeout=max(seconds - 1, seconds / 2),
        )
        await check_host(self._client.base_url.host, BASE_URL)

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Ask the model about one item; returns the item's data and the filled form."""
        try:
            answer = await self._client.chat.completions.create(
                **self._request(item), extra_headers={ITEM_HEADER: quote(context.idempotency_key, safe=_PLAIN)}
            )
        except openai.APIError as error:
            _translate(error, self._block.model.base_url)
        if answer.usage:
            context.usage("promptTokens", answer.usage.prompt_tokens)
            context.usage("completionTokens", answer.usage.completion_tokens)
        choice = answer.choices[0] if answer.choices else None
        if choice is None or choice.message.content is None:
            refusal = choice.message.refusal if choice else None
            raise Fail(f"the model gave no answer: {refusal or 'no reason given'}", error_class=ErrorClass.REFUSED)
        try:
            return item.data | parse_answer(self._block.form_schema, choice.message.content)
        except InvalidAnswerError as error:
            raise Retry(f"the model's answer does not fill the form: {error}") from None

    def _request(self, item: Item) -> dict[str, Any]:
        model = self._block.model
        instructions = self._templates.render("instructions", item.data)
        request: dict[str, Any] = {
            "model": model.name,
            "messages": [
                {"role": "system", "content": f"{instructions}\n\n{FORM_HINT}{json.dumps(self._schema)}"},
                {"role": "user", "content": json.dumps(item.data, ensure_ascii=False)},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "form", "schema": self._schema, "strict": True},
            },
        }
        if model.temperature is not None:
            request["temperature"] = model.temperature
        if model.max_output_tokens is not None:
            request["max_completion_tokens"] = model.max_output_tokens
        return request

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _api_key(block: Block, context: Context) -> str:
    reference = block.model.api_key_secret_ref
    if reference is None:
        return "none"  # the client insists on one; an endpoint that needs a key answers 401, which names the field
    return (context.reference(Purpose.MODEL) / reference.key).read_text().strip()


def _translate(error: openai.APIError, base_url: str) -> NoReturn:
    """Raise what the endpoint's error means for the item."""
    if isinstance(error, openai.APITimeoutError):
        raise Retry(f"{base_url} did not answer in time", error_class=ErrorClass.TIMEOUT) from None
    if not isinstance(error, openai.APIStatusError):
        why = explain_unreached(str(error.__cause__ or error)).why
        raise Retry(f"{BASE_URL}: {base_url} cannot be reached: {why}") from None
    said = f"{base_url} answered {error.status_code}: {error.message}"
    match error:
        case openai.RateLimitError():
            after = _retry_after(error)
            raise Retry(said, after=after, error_class=ErrorClass.RATE_LIMITED, counts=after is None) from None
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            hint = "check spec.aiBatch.model.apiKeySecretRef"
            raise Fail(f"{said} ({hint})", error_class=ErrorClass.PERMISSION) from None
        case openai.NotFoundError():
            hint = f"check {BASE_URL} and spec.aiBatch.model.name"
            raise Fail(f"{said} ({hint})", error_class=ErrorClass.INVALID_INPUT) from None
        case openai.APIStatusError(status_code=status) if status >= SERVER_ERROR:
            raise Retry(said, after=_retry_after(error)) from None
        case _:
            raise Fail(said, error_class=ErrorClass.INVALID_INPUT) from None


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait, where it says so as a number (RFC 9110 §10.2.3)."""
    try:
        return float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
