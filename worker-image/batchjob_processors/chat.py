"""A chat endpoint that speaks as OpenAI's does: what it is asked, and what its answers and errors mean for an item.

One client with a connection pool serves all items of a pod; its own retries are off, because waiting and trying again
is the engine's business, where it is counted and shown. How an answer's form is asked for is learned from the endpoint:
a pod begins with structured output and steps down for good where it is told that there is no such thing.
"""

import string
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx2
import openai

from batchjob import log
from batchjob.api.blocks.ai_batch import ModelEndpoint
from batchjob.worker import Context, ErrorClass, Fail, Retry, check_host, explain_unreached, mask
from batchjob_processors.chat_client import build_client, read_answer
from batchjob_processors.chat_headers import hold_seconds, retry_after, secret_headers
from batchjob_processors.prompt import Message

SERVER_ERROR: Final = 500
LATER: Final = frozenset({429, 503})  # with Retry-After: a matter of when, whoever asks (RFC 9110 §10.2.3)
FIELD: Final = "spec.aiBatch.model"
BASE_URL: Final = f"{FIELD}.baseUrl"
ITEM_HEADER: Final = "X-BatchJob-Item"  # the idempotency key, percent-encoded: a header takes visible ASCII only
_PLAIN: Final = string.punctuation.replace("%", "")

# An endpoint that answered before and cannot be reached now is most likely being restarted: that costs no attempt, for
# so long, and everybody waits between two looks. One that never answered may be a typing error, and costs attempts.
OUTAGE_SECONDS: Final = 600.0
OUTAGE_LOOK_SECONDS: Final = 5.0

# How a form is asked for, from the best down: with the guarantee that the answer fits (whose conditions not every
# schema meets), without it, any JSON, and by the words of the prompt alone.
FORMATS: Final = ("strict", "json_schema", "json_object", "text")
_ABOUT_FORMAT: Final = ("response_format", "response format", "json_schema", "json_object", "guided")
# Servers from before 2024 know the limit of an answer by its old name alone.
LIMIT: Final = "max_completion_tokens"
OLD_LIMIT: Final = "max_tokens"
_UNKNOWN: Final = ("unknown", "unrecognized", "unsupported", "unexpected", "not supported", "not permitted", "extra")
_FILTERED: Final = frozenset({"content_filter", "content_policy_violation"})

logger = log.get(__name__)


class Reply(NamedTuple):
    """What the model answered."""

    text: str  # empty where it said nothing
    is_cut: bool  # by the limit of tokens
    model: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Endpoint:
    """The endpoint of one run."""

    def __init__(self, model: ModelEndpoint, api_key: str | None, context: Context) -> None:
        """Make the client; ConfigurationError where a header cannot be one. `api_key`: None where there is none."""
        self._model = model
        headers = {header.name: header.value for header in model.headers or ()}
        secret = secret_headers(model, context)
        options = {"temperature": model.temperature, LIMIT: model.max_output_tokens}
        self._options = {name: value for name, value in options.items() if value is not None}
        self._client = openai.AsyncOpenAI(
            base_url=model.base_url,
            api_key=api_key or "none",  # it insists on one; an endpoint that needs a key answers 401
            max_retries=0,
            default_headers=headers | secret,
            http_client=build_client(),
        )
        # Any: its overloads want types of their own for plain dicts.
        self._create: Any = self._client.chat.completions.with_raw_response.create
        self._secrets = [value for value in (api_key, *secret.values()) if value]
        self._format = 0  # of FORMATS
        self._has_answered = False
        self._away_since: float | None = None

    async def check(self) -> None:
        """ConfigurationError where the host is refused."""
        await check_host(self._client.base_url.host, BASE_URL)

    async def ask(self, messages: Sequence[Message], schema: dict[str, Any], context: Context) -> Reply:
        """The model's answer, which should fit the schema; raises Retry or Fail. Tokens are counted."""
        begun = time.monotonic()
        try:
            raw = await self._answer(messages, schema, context)
            answer = read_answer(raw.parse())
        except openai.APIError as error:
            raise self._meaning(error, context) from None
        except (ValueError, RecursionError):  # of the JSON decoder
            answer = None
        self._has_answered, self._away_since = True, None
        if answer is None:
            raise Retry(f"{self._model.base_url} answered with something else than a chat completion: check {BASE_URL}")
        context.hold(hold_seconds(raw.headers))
        used = (answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer.usage else (0, 0)
        context.usage("promptTokens", used[0])
        context.usage("completionTokens", used[1])
        choice = answer.choices[0]
        if choice.message.refusal or choice.finish_reason == "content_filter":
            why = mask(choice.message.refusal or "the content filter stopped it", self._secrets)
            hint = "reword the item, or spec.aiBatch.instructions"
            raise Fail(f"the model refused to answer: {why} ({hint})", error_class=ErrorClass.CONTENT_FILTER)
        text, is_cut = choice.message.content or "", choice.finish_reason == "length"
        return Reply(text, is_cut, answer.model, *used, time.monotonic() - begun)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _answer(self, messages: Sequence[Message], schema: dict[str, Any], context: Context) -> Any:
        while True:
            known = self._format
            options = self._options
            left = context.seconds_left
            context.usage("requests", 1)
            try:
                return await self._create(
                    model=self._model.name,
                    messages=messages,
                    extra_headers={ITEM_HEADER: quote(context.idempotency_key, safe=_PLAIN)},
                    timeout=max(left - 1, left / 2),  # before the engine's own limit, which cannot name the endpoint
                    **response_format(FORMATS[known], schema),
                    **options,
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                said = str(error).lower()
                if LIMIT in options and LIMIT in said and any(words in said for words in _UNKNOWN):
                    self._options = {OLD_LIMIT if name == LIMIT else name: value for name, value in options.items()}
                    continue
                if known == len(FORMATS) - 1 or not any(words in said for words in _ABOUT_FORMAT):
                    raise
                # Others that asked at the same time were told the same.
                self._format = max(self._format, known + 1)
                logger.info(
                    "the endpoint refuses this way to ask for a form; the next one from now on",
                    refused=FORMATS[known],
                    next=FORMATS[known + 1],
                    said=self._words(error),
                )

    def _meaning(self, error: openai.APIError, context: Context) -> Retry | Fail:
        """What the endpoint's error means for the item."""
        if isinstance(error, openai.APITimeoutError):
            said = f"{self._model.base_url} did not answer in time (spec.itemTimeoutSeconds)"
            return Retry(said, error_class=ErrorClass.TIMEOUT)
        if not isinstance(error, openai.APIStatusError):
            return self._unreached(error, context)
        self._has_answered, self._away_since = True, None
        said = f"{self._model.base_url} answered {error.status_code}: {self._words(error)}"
        if error.status_code in LATER and (after := retry_after(error.response.headers)) is not None:
            return Retry(said, after=after, error_class=ErrorClass.RATE_LIMITED, counts=False)
        if isinstance(error, openai.RateLimitError):
            return Retry(said, error_class=ErrorClass.RATE_LIMITED)
        if error.status_code >= SERVER_ERROR:
            return Retry(f"{said} (its own failure, if {BASE_URL} is right)")
        return _refused(error, said)

    def _unreached(self, error: openai.APIError, context: Context) -> Retry:
        why = explain_unreached(error.__cause__ or error)
        said = f"{BASE_URL}: {self._model.base_url} cannot be reached: {why.why}"
        # A connection that breaks off may be the item's doing, one that does not come about is not.
        if why.lasts or not self._has_answered or not isinstance(error.__cause__, httpx2.ConnectError):
            return Retry(said)
        now = time.monotonic()
        self._away_since = self._away_since or now
        context.hold(OUTAGE_LOOK_SECONDS)
        return Retry(said, after=OUTAGE_LOOK_SECONDS, counts=now - self._away_since > OUTAGE_SECONDS)

    def _words(self, error: openai.APIError) -> str:
        """What the endpoint says; a key that it quotes is left out."""
        body: Any = error.body
        words = body.get("message") if isinstance(body, dict) else None
        return mask(str(words or error.message), self._secrets)


def _refused(error: openai.APIStatusError, said: str) -> Fail:
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return Fail(f"{said} (check {FIELD}.apiKeySecretRef)", error_class=ErrorClass.PERMISSION)
        case openai.APIStatusError(status_code=301 | 302 | 303 | 307 | 308 | 404):
            return Fail(f"{said} (check {BASE_URL} and {FIELD}.name)", error_class=ErrorClass.INVALID_INPUT)
        case openai.APIStatusError(code=code) if code in _FILTERED:
            return Fail(said, error_class=ErrorClass.CONTENT_FILTER)
        case _:
            return Fail(f"{said} (check the item and {FIELD})", error_class=ErrorClass.INVALID_INPUT)


def response_format(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The argument that asks for an answer of this kind, one of FORMATS; none for plain text."""
    match kind:
        case "text":
            return {}
        case "json_object":
            return {"response_format": {"type": kind}}
        case _:
            form = {"name": "form", "schema": schema, "strict": kind == "strict"}
            return {"response_format": {"type": "json_schema", "json_schema": form}}
