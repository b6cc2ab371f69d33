"""The chat server: OpenAI's `POST /v1/chat/completions` over the lexicon model of `form`.

It checks a request's shape as strictly as the real one, since a client that gets away with a malformed request here
would fail in production. A row goes to the ledger before the answer leaves; rows of failed answers carry their status.
"""

import asyncio
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web

from .faults import Faults, Rule
from .form import SENTIMENT_FORM, UnsupportedSchemaError, embedded_schema, fill, read, spoil
from .ledger import Ledger

ITEM_HEADER: Final = "X-BatchJob-Item"
NOTED_HEADERS: Final = "x-noted-"  # headers of such names go to the ledger
MODELS: Final = ("vader",)
ROLES: Final = ("developer", "system", "user", "assistant", "tool")
MAX_REQUEST_BYTES: Final = 16 * 2**20
LIMIT: Final = "max_completion_tokens"  # and max_tokens, its old name
DISCONNECTED: Final = 0  # the status of a row whose answer never left


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that has the right shape. `schema` is None where plain text is wanted.

    `kind`: what answer is asked for (strict, json_schema, json_object, text). `items`: text by id, where one request
    is about several. `limit`: the name by which the limit of the answer was given; empty: there is none.
    """

    model: str
    text: str
    kind: str
    items: dict[str, str]
    schema: dict[str, Any] | None
    max_tokens: int | None
    limit: str
    prompt_tokens: int
    messages: int


class ChatServer:
    """Handlers of the chat server's routes."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self._ledger = ledger
        self._faults = faults

    def build_app(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/v1/models", self.models)
        return app

    async def models(self, request: web.Request) -> web.Response:
        """List the models; a request may name any other as well."""
        if not _has_token(request):
            return _error(401, "no API key")
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def complete(self, request: web.Request) -> web.Response:
        """Answer one chat request, or fail the way a rule says."""
        arrived, item = time.time(), unquote(request.headers.get(ITEM_HEADER, ""))
        try:
            ask = parse_ask(await request.read())
        except ValueError as error:
            self._ledger.append(time=arrived, item=item, status=400)
            return _error(400, str(error))
        text_sha256 = hashlib.sha256(ask.text.encode()).hexdigest()
        row: dict[str, Any] = {"time": arrived, "item": item or text_sha256, "text_sha256": text_sha256}
        if not _has_token(request):
            self._ledger.append(status=401, **row)
            return _error(401, "no API key")
        row |= {"kind": ask.kind, "limit": ask.limit, "messages": ask.messages, "items": list(ask.items)}
        row["headers"] = {n.lower(): v for n, v in request.headers.items() if n.lower().startswith(NOTED_HEADERS)}
        verdict = self._faults.decide(row["item"], ask.text, kind=ask.kind)
        if verdict.delay_seconds:
            await asyncio.sleep(verdict.delay_seconds)
        if verdict.rule is not None:
            row["fault"] = verdict.rule.action
        return self._answer(request, ask, verdict.rule, row)

    def _answer(self, request: web.Request, ask: Ask, rule: Rule | None, row: dict[str, Any]) -> web.Response:
        action = rule.action if rule else ""
        if rule and action == "status":
            self._ledger.append(status=rule.status, **row)
            after = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
            return _error(rule.status, "a fault that a test asked for", headers=after | (rule.headers or {}))
        if rule and (error := _refusal(rule, ask)):
            self._ledger.append(status=error.status, **row)
            return error
        if action == "disconnect":
            self._ledger.append(status=DISCONNECTED, **row)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        try:
            content = _content(ask, rule)
        except UnsupportedSchemaError as error:
            self._ledger.append(status=400, **row)
            return _error(400, str(error))
        completion = _completion(ask, content, action)
        self._ledger.append(status=200, tokens=completion["usage"]["total_tokens"], **row)
        return web.json_response(completion, headers=rule.headers if rule else None)


def parse_ask(body: bytes) -> Ask:
    """Check a request's shape; ValueError names the field that is wrong."""
    raw = json.loads(body)
    if not isinstance(raw, dict) or not isinstance(raw.get("model"), str) or not raw["model"]:
        raise ValueError("model: a name is required")
    if raw.get("stream") or raw.get("n", 1) != 1:
        raise ValueError("stream, n: this server gives one whole answer")
    temperature = raw.get("temperature")
    if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature <= 2):
        raise ValueError("temperature: from 0 to 2")
    limit = raw.get(LIMIT) or raw.get("max_tokens")
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        raise ValueError("max_completion_tokens: a whole number from 1 up")
    messages = _messages(raw.get("messages"))
    wanted = raw.get("response_format")
    schema = _schema(wanted, [content for _, content in messages])
    match wanted:
        case {"json_schema": {"strict": True}}:
            kind = "strict"
        case {"type": kind}:
            pass
        case _:
            kind = "text"
    prompt_tokens = sum(_tokens(content) for _, content in messages)
    items = _items(messages)
    text = "\n".join(items.values()) or _item_text(messages)
    named = LIMIT if LIMIT in raw else "max_tokens" if "max_tokens" in raw else ""
    return Ask(raw["model"], text, kind, items, schema, limit, named, prompt_tokens, len(messages))


def _messages(raw: Any) -> list[tuple[str, str]]:
    if not isinstance(raw, list) or not raw:
        raise ValueError("messages: a list with at least one message is required")
    messages = []
    for message in raw:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f"messages: each has a role of {ROLES}")
        content = message.get("content")
        if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            content = "".join(str(part.get("text", "")) for part in content)
        if not isinstance(content, str):
            raise ValueError("messages: content is a string or a list of text parts")  # noqa: TRY004  # as every refusal
        messages.append((message["role"], content))
    if not any(role == "user" for role, _ in messages):
        raise ValueError("messages: a message of the user is required")
    return messages


def _schema(response_format: Any, contents: list[str]) -> dict[str, Any] | None:
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict() as schema}}:
            return schema
        case {"type": "json_object"}:
            if not any("json" in content.lower() for content in contents):
                raise ValueError("messages: with response_format json_object the word JSON must appear in them")
            return next((found for found in map(embedded_schema, contents) if found), SENTIMENT_FORM)
    raise ValueError("response_format: text, json_object, or json_schema with a name and a schema")


def _item_text(messages: list[tuple[str, str]]) -> str:
    """The text of the item: `text` of the last user message that is JSON, else the last user message as it stands.

    A client that shows the model its invalid answer adds a message of plain words; the item is still the one in JSON.
    """
    said = [content for role, content in messages if role == "user"]
    for content in reversed(said):
        try:
            item = json.loads(content) if content.lstrip().startswith("{") else None
        except json.JSONDecodeError:
            continue
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            return str(item["text"])
    return said[-1]


def _items(messages: list[tuple[str, str]]) -> dict[str, str]:
    """Text by id where the last user message is about several items: {"items": [{"id": …, "item": …}]}."""
    try:
        asked = json.loads([content for role, content in messages if role == "user"][-1])
        items = {entry["id"]: entry["item"] for entry in asked["items"]}
    except (ValueError, TypeError, KeyError):
        return {}
    return {name: item if isinstance(item, str) else str(item.get("text", item)) for name, item in items.items()}


def _refusal(rule: Rule, ask: Ask) -> web.Response | None:
    """The error that some rules are about."""
    if rule.action == "refuse_format":
        message = f"'response_format' of type {ask.kind} is not supported with this model"
        return _error(400, f"Invalid parameter: {message}", param="response_format")
    if rule.action == "refuse_limit" and ask.limit == LIMIT:
        return _error(400, f"Unrecognized request argument supplied: {LIMIT}")
    if rule.action == "content_filter" and rule.status >= 400:
        return _error(rule.status, "the prompt was filtered", code="content_filter")
    return None


def _content(ask: Ask, rule: Rule | None) -> str:
    action = rule.action if rule else ""
    if action == "invalid_json":
        return '{"sentiment": "posi'
    schema = ask.schema
    if schema is None:
        if action != "chatter":
            return f"The text reads {read(ask.text).label}."
        schema = SENTIMENT_FORM
    if rule and ask.items:
        answer = _answers(ask.items, schema, rule)
    else:
        answer = _answers(ask.items, schema) if ask.items else _answer_one(schema, ask.text, action)
    said = json.dumps(answer)
    return f"Sure! Here it is:\n```json\n{said}\n```\nAnything else?" if action == "chatter" else said


def _answers(items: dict[str, str], schema: dict[str, Any], rule: Rule | None = None) -> dict[str, Any]:
    """What is answered about several items; a rule is about those whose text it matches."""
    of_one = schema["properties"]["answers"]["items"]["properties"]["answer"]
    answers = []
    for name, text in items.items():
        action = rule.action if rule and re.search(rule.match, text) else ""
        if action != "omit":
            answers.append({"id": name, "answer": _answer_one(of_one, text, action)})
    return {"answers": answers}


def _answer_one(schema: dict[str, Any], text: str, action: str) -> Any:
    return spoil(schema) if action in {"wrong_answer", "omit"} else fill(schema, read(text))


def _completion(ask: Ask, content: str | None, action: str) -> dict[str, Any]:
    finish_reason, refusal = "stop", None
    if action in {"content_filter", "refusal"}:
        finish_reason = action if action == "content_filter" else "stop"
        content, refusal = None, "I cannot help with that." if action == "refusal" else None
    if content and ask.max_tokens is not None and _tokens(content) > ask.max_tokens:
        content, finish_reason = " ".join(content.split(" ")[: ask.max_tokens * 3 // 4]), "length"
    completion_tokens = _tokens(content or refusal or "")
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": ask.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": ask.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": ask.prompt_tokens + completion_tokens,
        },
    }


def _tokens(text: str) -> int:
    """About four tokens to three words, the rule of thumb for English."""
    return -(-len(text.split()) * 4 // 3)


def _has_token(request: web.Request) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def _error(
    status: int, message: str, *, param: str | None = None, code: str | None = None, headers: Any = None
) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return web.json_response(body, status=status, headers=headers)
