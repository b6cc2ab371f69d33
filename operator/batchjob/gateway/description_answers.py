"""What each operation answers where it does not refuse: the shape (`core.answers`), and an example.

The examples are made by the views that make the answers, of a BatchJob, a row, an item, a queue and a schedule.
"""

import json
from typing import Any, Final, NamedTuple

import msgspec

from batchjob.api.v1alpha1 import BatchJob
from batchjob.core import answers
from batchjob.core.rows import JobRow
from batchjob.gateway import audited, contents, queues, schedules, search, views
from batchjob.gateway.live_description import example_frame
from batchjob.gateway.live_frames import sse
from batchjob.gateway.views import JOBS
from batchjob.store import AuditEntry, DeadLetter

Json = dict[str, Any]

REF: Final = "#/components/schemas/"
ID: Final = "team-a.job-0a1b2c3d4e5f60718293a4b5"
_NAME: Final = ID.partition(".")[2]
_LIMITS: Final = {"maxActiveJobs": 5, "limits": {"maxActiveJobsPerOwner": 2}}
_COUNTS: Final = {"total": 120, "waiting": 60, "active": 10, "succeeded": 48, "failed": 2}
_SPEC: Final[Json] = {
    "type": "ai-batch",
    "owner": "alice",
    "queueName": "ai-batch",
    "source": {"items": [{"id": "r1", "data": {"text": "Arrived early, works well."}}]},
    "aiBatch": {
        "instructions": "Say how the writer feels.",
        "formSchema": {"fields": [{"name": "mood", "type": "enum", "enum": ["good", "bad"]}]},
        "model": {"name": "gpt-5-mini", "baseUrl": "https://api.openai.com/v1"},
    },
}
_BODY: Final[Json] = {
    "apiVersion": "batchjob.dev/v1alpha1",
    "kind": "BatchJob",
    "metadata": {
        "name": _NAME,
        "namespace": "team-a",
        "uid": "5f0f4c8e-6c0f-4a6b-9a53-0c5c2f0f5d11",
        "creationTimestamp": "2026-01-01T09:00:00Z",
        "labels": {"team": "support"},
    },
    "spec": _SPEC,
    "status": {
        "phase": "Running",
        "percent": "41.6%",
        "duration": "1m20s",
        "rate": "0.6/s",
        "counts": _COUNTS,
        "startTime": "2026-01-01T09:00:02Z",
        "failedItems": "17,43",
        "lastErrors": [{"itemId": "r17", "errorClass": "timeout", "message": "it took longer than 60 s"}],
        "usage": {"promptTokens": 8120},
    },
}
_JOB: Final = BatchJob.parse(_BODY)
_ROW: Final = JobRow(
    phase="Running",
    queue="ai-batch",
    owner="alice",
    namespace="team-a",
    type="ai-batch",
    labels=("team=support",),
    name=_NAME,
    uid="5f0f4c8e",
    created=1_767_258_000,
    started=1_767_258_002,
    total=120,
    waiting=60,
    active=10,
    succeeded=48,
    failed=2,
)
_LETTER: Final = DeadLetter(
    17, "r17", "timeout", "it took longer than 60 s", 4, 0, b'{"text": "Never came."}', 1_767_258_080_000
)
_KIND: Final = {
    "fingerprint": "e34a18919be9",
    "errorClass": "timeout",
    "message": "it took longer than 60 s",
    "count": 2,
    "exampleItem": "r17",
}
_SCHEDULE: Final = {
    "metadata": {"name": "weekly-report", "namespace": "team-a"},
    "spec": {
        "owner": "alice",
        "schedules": ["0 9 * * 1"],
        "timeZone": "Europe/Berlin",
        "jobTemplate": {"spec": {"type": "report"}},
    },
    "status": {"nextScheduleTime": "2026-01-05T08:00:00Z"},
}
_DEED: Final = AuditEntry(
    verb="cancel",
    outcome="done",
    user="alice",
    kind="BatchJob",
    object=ID,
    owner="alice",
    code=202,
    address="192.0.2.7",
    via="api",
    request="6d1f0c",
    id="1767258100000-0",
)
_QUEUE: Final = queues.queue_view({"metadata": {"name": "ai-batch"}, "spec": _LIMITS, "status": {"activeJobs": 2}})


class Told(NamedTuple):
    """What an operation answers: how, in which shape (None: a text), and an example."""

    model: type[answers.Answer] | None
    example: Any
    status: int = 200
    media_type: str = "application/json"
    description: str = ""


def _ok(**told: Any) -> Json:
    body: Json = json.loads(msgspec.json.encode({"success": True} | told))
    return body


ACCEPTED: Final = Told(answers.Accepted, views.accepted(ID), 202, description="It is durable, and will be done.")
ANSWERS: Final[dict[tuple[str, str], Told]] = {
    ("get", JOBS): Told(answers.JobPage, _ok(jobs=[search.row_view(_ROW)], next=None)),
    ("post", JOBS): ACCEPTED,
    ("get", f"{JOBS}/{{job}}"): Told(answers.JobAnswer, _ok(job=views.view(_JOB, _BODY))),
    **{("post", f"{JOBS}/{{job}}/{verb}"): ACCEPTED for verb in ("cancel", "suspend", "resume", "redrive")},
    ("get", f"{JOBS}/{{job}}/items"): Told(answers.ItemPage, _ok(items=[contents.letter_view(_LETTER)], next=18)),
    ("get", f"{JOBS}/{{job}}/errors"): Told(answers.Errors, _ok(errors=[_KIND], itemsRead=2, complete=True)),
    ("get", f"{JOBS}/{{job}}/results"): Told(
        answers.Result,
        {"id": "r1", "result": {"mood": "good"}},
        media_type="application/x-ndjson",
        description="All results in the store, a JSON line each. What breaks off is not all of them.",
    ),
    ("get", f"{JOBS}/{{job}}/events"): Told(
        None,
        sse(example_frame("batch:progress")).decode(),
        media_type="text/event-stream",
        description="Events as they come; /asyncapi.json describes them.",
    ),
    ("post", "/api/ai-annotator/batch"): ACCEPTED,
    ("get", "/api/ai-annotator/batch/{job}/status"): Told(answers.SeedAnswer, _ok(job=views.seed_view(_JOB, _BODY))),
    ("get", "/api/v1/queues"): Told(answers.QueuesAnswer, _ok(queues=[_QUEUE])),
    ("patch", "/api/v1/queues/{name}"): Told(answers.QueueAnswer, _ok(queue=_QUEUE)),
    ("get", "/api/v1/schedules"): Told(answers.SchedulesAnswer, _ok(schedules=[schedules.schedule_view(_SCHEDULE)])),
    ("get", "/api/v1/audit"): Told(answers.AuditTrail, _ok(entries=[audited.view(_DEED)], next=None)),
    ("post", "/api/v1/schedules"): Told(
        answers.ScheduleAnswer, _ok(schedule=schedules.schedule_view(_SCHEDULE)), 201, description="It is made."
    ),
}
_SAME: Final = {"description": "Nothing has changed since the answer with that ETag (If-None-Match)."}
# Answers without a body.
EMPTY: Final[dict[tuple[str, str], dict[str, Json]]] = {
    ("get", f"{JOBS}/{{job}}"): {"304": _SAME},
    ("get", "/api/ai-annotator/batch/{job}/status"): {"304": _SAME},
    ("get", f"{JOBS}/{{job}}/events"): {"204": {"description": "The event of Last-Event-ID was the last one."}},
}


def build_schemas() -> Json:
    """The shapes of all answers."""
    models = {told.model.__name__: told.model for told in ANSWERS.values() if told.model}
    ordered = [model for _, model in sorted(models.items())]
    _, schemas = msgspec.json.schema_components(ordered, ref_template=REF + "{name}")
    return schemas


def build_answers(method: str, path: str) -> Json:
    """The answers of an operation that do not refuse, by status."""
    told = ANSWERS[method, path]
    schema: Json = {"$ref": REF + told.model.__name__} if told.model else {"type": "string"}
    content = {told.media_type: {"schema": schema, "example": told.example}}
    answer: Json = {"description": told.description or "What was asked for.", "content": content}
    if told.status == ACCEPTED.status:
        text = {"schema": {"type": "string"}}
        seconds = {"description": "Seconds until it is worth to ask how far it is.", "schema": {"type": "integer"}}
        answer["headers"] = {"Location": {"description": "The BatchJob.", **text}, "Retry-After": seconds}
        answer["links"] = _build_links()
    return {str(told.status): answer, **EMPTY.get((method, path), {})}


def _build_links() -> Json:
    """Where to go on with the BatchJob that an answer names."""
    own = f"{JOBS}/{{job}}"
    found = {path.removeprefix(own).strip("/") or "self": (method, path) for method, path in ANSWERS if own in path}
    return {
        room: {
            "operationRef": f"#/paths/{path.replace('/', '~1')}/{method}",
            "parameters": {"job": "$response.body#/jobId"},
        }
        for room, (method, path) in found.items()
    }
