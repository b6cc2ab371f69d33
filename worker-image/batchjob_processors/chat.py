"""A chat endpoint that speaks as OpenAI's does, and what its errors mean for an item.

One client with a connection pool serves all items of a pod; its own retries are off, because waiting and trying again
is the engine's business, where it is counted and shown.
"""

import re
import string
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import quote

import openai

from batchjob.api.blocks.ai_batch import ModelEndpoint
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, ErrorClass, Fail, Retry, check_host, explain_unreached
from batchjob_processors.prompt import Message

SERVER_ERROR: Final = 500
FIELD: Final = "spec.aiBatch.model"
BASE_URL: Final = f"{FIELD}.baseUrl"
ITEM_HEADER: Final = "X-BatchJob-Item"  # the idempotency key, percent-encoded: a header takes visible ASCII only
_PLAIN: Final = string.punctuation.replace("%", "")
_HEADER_NAME: Final = re.compile(r"[-A-Za-z0-9!#$%&'*+.^_`|~]+")  # RFC 9110 §5.6.2
_HEADER_VALUE: Final = re.compile(r"[ -~]+")


class Reply(NamedTuple):
    """What the model answered."""

    text: str


class Endpoint:
    """The endpoint of one run."""

    def __init__(self, model: ModelEndpoint, context: Context) -> None:
        """Make the client; ConfigurationError where a header cannot be one."""
        self._model = model
        headers = {header.name: header.value for header in model.headers or ()}
        headers |= _secret_headers(model, context)
        options = {"temperature": model.temperature, "max_completion_tokens": model.max_output_tokens}
        self._options = {name: value for name, value in options.items() if value is not None}
        self._client = openai.AsyncOpenAI(
            base_url=model.base_url, api_key=_api_key(model, context), max_retries=0, default_headers=headers
        )
        self._create: Any = self._client.chat.completions.create  # Any: its overloads want types for plain dicts

    async def check(self) -> None:
        """ConfigurationError where the host is refused."""
        await check_host(self._client.base_url.host, BASE_URL)

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any], context: Context) -> Reply:
        """The model's answer, which should fit the schema; raises Retry or Fail. Tokens are counted."""
        left = context.seconds_left
        try:
            answer = await self._create(
                model=self._model.name,
                messages=messages,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "form", "schema": schema, "strict": True},
                },
                extra_headers={ITEM_HEADER: quote(context.idempotency_key, safe=_PLAIN)},
                timeout=max(left - 1, left / 2),  # before the engine's own limit, which cannot name the endpoint
                **self._options,
            )
        except openai.APIError as error:
            _translate(error, self._model.base_url)
        if answer.usage:
            context.usage("promptTokens", answer.usage.prompt_tokens)
            context.usage("completionTokens", answer.usage.completion_tokens)
        choice = answer.choices[0] if answer.choices else None
        if choice is None or choice.message.content is None:
            refusal = choice.message.refusal if choice else None
            raise Fail(f"the model gave no answer: {refusal or 'no reason given'}", error_class=ErrorClass.REFUSED)
        return Reply(choice.message.content)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _api_key(model: ModelEndpoint, context: Context) -> str:
    reference = model.api_key_secret_ref
    if reference is None:
        return "none"  # the client insists on one; an endpoint that needs a key answers 401, which names the field
    return (context.reference(Purpose.MODEL) / reference.key).read_text().strip()


def _secret_headers(model: ModelEndpoint, context: Context) -> dict[str, str]:
    """The headers of `headersSecretRef`: each key of the Secret is one."""
    if model.headers_secret_ref is None:
        return {}
    headers = {}
    for path in sorted(context.reference(Purpose.MODEL_HEADERS).iterdir()):
        if path.name.startswith(".."):  # Kubernetes' own, of a mounted Secret
            continue
        value = path.read_bytes().decode("latin-1").strip()
        if not (_HEADER_NAME.fullmatch(path.name) and _HEADER_VALUE.fullmatch(value)):
            said = f"{FIELD}.headersSecretRef: key {path.name} cannot be a header"
            raise ConfigurationError(f"{said}: its name is that of a header, its value one line of visible ASCII")
        headers[path.name] = value
    return headers


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
            hint = f"check {FIELD}.apiKeySecretRef"
            raise Fail(f"{said} ({hint})", error_class=ErrorClass.PERMISSION) from None
        case openai.NotFoundError():
            hint = f"check {BASE_URL} and {FIELD}.name"
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
