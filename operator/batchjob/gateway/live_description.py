"""The live events in AsyncAPI 3.0, at /asyncapi.json: from the models that they are made of (`core.event_data`)."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from batchjob.core.event_data import (
    Broken,
    Completed,
    EventData,
    Gap,
    Gone,
    ItemGivenUp,
    Nothing,
    Outcome,
    Position,
    ProgressTold,
    Ready,
    Why,
)
from batchjob.core.events import ENDS, LiveType
from batchjob.core.reasons import Reason
from batchjob.gateway.live_frames import GAP, GONE, Envelope, Frame, build_frame, build_notice
from batchjob.gateway.live_socket import CLOSES, Token
from batchjob.gateway.live_stream import HEARTBEAT_SECONDS
from batchjob.gateway.views import JOBS
from batchjob.store import LiveEntry

Json = dict[str, Any]

PATH: Final = "/asyncapi.json"
router = APIRouter(include_in_schema=False)
_SCHEMAS: Final = "#/components/schemas/"
_SECURITY: Final = "#/components/securitySchemes/bearer"
_JOB: Final = "team-a.job-0a1b2c3d4e5f60718293a4b5"
_MOMENT_MS: Final = 1_767_225_600_123
_DONE: Final = Outcome(120, 120, 118, 2, 0, {"promptTokens": 8120})
# Each type, and an example of what it says.
NOTICES: Final[dict[str, EventData]] = {
    "ready": Ready("alice", "team-a"),
    "gap": Gap("1767139200000-0", GAP),
    "gone": Gone(GONE),
    "heartbeat": Nothing(),
}
EVENTS: Final[dict[str, EventData]] = {
    LiveType.QUEUED: Position(3),
    LiveType.STARTED: Nothing(),
    LiveType.PROGRESS: ProgressTold(41.6, 50, 120),
    LiveType.ITEM_FAILED: ItemGivenUp(17, "r17", "timeout", "it took longer than 60 s"),
    LiveType.SUSPENDED: Why(Reason.SUSPENDED_BY_USER, "spec.suspend is true"),
    LiveType.RESUMED: Nothing(),
    LiveType.COMPLETE: Completed(_DONE),
    LiveType.ERROR: Broken("2 of 120 items failed", Reason.ITEMS_FAILED, _DONE),
    LiveType.CANCELLED: Why(Reason.CANCELLED, "spec.cancel is true"),
}
SUMMARIES: Final = {
    "batch:queued": "It waits for its turn in its queue.",
    "batch:started": "Its workers may begin.",
    "batch:progress": "Items have ended, or a processor told how far it is; four times a second at most.",
    "batch:item_failed": "An item was given up. Of many at once ten are told.",
    "batch:suspended": "It is held: by somebody, by a circuit breaker, or since the store was lost.",
    "batch:resumed": "It goes on.",
    "batch:complete": "It has succeeded. Nothing is told of it after this.",
    "batch:error": "It has failed. Nothing is told of it after this.",
    "batch:cancelled": "It was cancelled. Nothing is told of it after this.",
    "ready": "What comes first over a WebSocket: whose events they are.",
    "gap": "Events after the one that was named are not kept any more: read the BatchJobs again.",
    "gone": "The BatchJob was deleted, or is not yours any more: the stream ends with it.",
    "heartbeat": f"Nothing happened for {HEARTBEAT_SECONDS:.0f} s.",
}
_QUERY: Final = {
    "after": "The id of an event: go on after it; 0: all that is kept. Without: what happens from now on.",
    "jobId": "One BatchJob.",
    "owner": "Whose, for admins; else your own.",
    "namespace": "Where, for admins; else where yours go.",
}


def build() -> Json:
    """The whole document."""
    kinds = {**{str(kind): example for kind, example in EVENTS.items()}, **NOTICES}
    models = {*map(type, kinds.values()), Token}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_SCHEMAS + "{name}")
    socket = [kind for kind in kinds if kind != "gone"]  # a WebSocket is closed with a code
    stream = [kind for kind in kinds if kind not in {"ready", "heartbeat"}]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "BatchJob: live events",
            "version": "v1",
            "description": "What becomes of BatchJobs while it happens, as the gateway tells it: of one BatchJob as "
            "Server-Sent Events, of all that are yours over a WebSocket. Requests are described at /openapi.json.",
        },
        "defaultContentType": "application/json",
        "channels": _channels(stream, socket),
        "operations": {
            "tellByEvents": _operation("send", "events", stream),
            "tellByWebSocket": _operation("send", "ws", socket),
            "signIn": _operation("receive", "ws", ["token"]),
        },
        "components": {
            "messages": {
                **{_name(kind): _message(kind, example) for kind, example in kinds.items()},
                "token": {
                    "title": "token",
                    "summary": "The first message of who could not send a header.",
                    "payload": {"$ref": f"{_SCHEMAS}{Token.__name__}"},
                    "examples": [{"payload": {"token": "bj_ci_…"}}],
                },
            },
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _channels(stream: list[str], socket: list[str]) -> Json:
    """The ways on which they are told."""
    return {
        "events": {
            "address": f"{JOBS}/{{job}}/events",
            "title": "Server-Sent Events of one BatchJob",
            "description": "From the first event that is kept, or after the one that the header Last-Event-ID "
            "names, to the last. Each has `id`, `event` (its type) and `data` (this message, in one line). "
            "Heartbeats are comments.",
            "parameters": {"job": {"description": "The BatchJob: <namespace>.<name>."}},
            "messages": _references(stream),
        },
        "ws": {
            "address": "/ws",
            "title": "WebSocket of all that is yours",
            "description": "The token comes in the Authorization header, or in the first message. It is closed "
            "with: " + "; ".join(f"{close.code}: {close.reason}" for close in CLOSES) + ".",
            "messages": _references([*socket, "token"]),
            "bindings": {
                "ws": {
                    "query": {
                        "type": "object",
                        "properties": {name: {"type": "string", "description": said} for name, said in _QUERY.items()},
                    }
                }
            },
        },
    }


@cache
def document() -> Json:
    """The document; it is always the same."""
    return build()


@router.get(PATH)
async def asyncapi() -> JSONResponse:
    """Serve it; nothing of it is secret."""
    return JSONResponse(document())


def _message(kind: str, example: EventData) -> Json:
    """The message of a type: its envelope, around its data."""
    told = kind not in NOTICES
    _, found = msgspec.json.schema_components([Envelope])
    body: Json = {"$ref": _SCHEMAS + type(example).__name__}
    if told:
        job = {"type": "object", "required": ["jobId"], "properties": {"jobId": {"type": "string"}}}
        body = {"allOf": [body, job]}
    fields = found["Envelope"]["properties"] | {"type": {"const": kind}, "data": body}
    # An end that is told to who comes long after it is made of the BatchJob: it has no place among events.
    needed = ["type", "time", "data"] + (["id", "jobId", "seq"] if told and kind not in ENDS else [])
    return {
        "name": kind,
        "title": kind,
        "summary": SUMMARIES[kind],
        "payload": {"type": "object", "required": needed, "properties": fields},
        "examples": [{"payload": json.loads(example_frame(kind).text)}],
    }


def example_frame(kind: str) -> Frame:
    """A message of a type, as it is sent."""
    if kind in NOTICES:
        return build_notice(kind, _MOMENT_MS, NOTICES[kind].to_json())
    told = msgspec.json.encode({"jobId": _JOB} | EVENTS[kind].to_json())
    return build_frame(LiveEntry(f"{_MOMENT_MS}-0", _JOB, kind, _MOMENT_MS, 7, told))


def _operation(action: str, channel: str, kinds: Iterable[str]) -> Json:
    where = f"#/channels/{channel}"
    messages = [{"$ref": f"{where}/messages/{_name(kind)}"} for kind in kinds]
    return {"action": action, "channel": {"$ref": where}, "messages": messages, "security": [{"$ref": _SECURITY}]}


def _references(kinds: Iterable[str]) -> Json:
    return {_name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in kinds}


def _name(kind: str) -> str:
    """A name within the document, which has no colon."""
    return kind.removeprefix("batch:")
