"""The API in OpenAPI 3.1: routes from the code, bodies from the models, and an example of each.

Bodies are read by hand (`bodies`), and answers made by hand, so the framework knows nothing of them: this page says
which body is whose, `description_answers` what is answered, `description_refusals` why something is refused.
"""

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from batchjob.api.queue import BatchQueueSpec
from batchjob.api.schedule import BatchScheduleSpec
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.gateway.description_answers import REF, build_answers, build_schemas
from batchjob.gateway.description_refusals import build_examples, build_refusals
from batchjob.gateway.problems import MEDIA_TYPE, SLUGS, TYPES
from batchjob.gateway.submission import KEPT_SECONDS
from batchjob.gateway.uploads import LINES
from batchjob.gateway.views import JOBS

Json = dict[str, Any]

_ITEMS: Final = [{"id": "r1", "data": {"text": "Arrived early, works well."}}]
_FORM: Final = {"fields": [{"name": "mood", "type": "enum", "enum": ["good", "bad"]}]}
_MODEL: Final = {"name": "gpt-4o-mini", "apiKeySecretRef": {"name": "openai", "key": "OPENAI_API_KEY"}}
# method and path → schema of its body, an example of it
BODIES: Final[dict[tuple[str, str], tuple[Json, Json]]] = {
    ("post", JOBS): (
        {"$ref": f"{REF}BatchJobRequest"},
        {
            "type": "ai-batch",
            "items": _ITEMS,
            "aiBatch": {"instructions": "Say how the writer feels.", "formSchema": _FORM, "model": _MODEL},
        },
    ),
    ("post", f"{JOBS}/{{job}}/redrive"): (
        {"$ref": f"{REF}RedriveRequest"},
        {"filter": {"errorClass": ["timeout", "rate-limited"]}},
    ),
    ("post", "/api/ai-annotator/batch"): (
        {"$ref": f"{REF}AnnotatorRequest"},
        {"items": ["Arrived early, works well."], "formSchema": _FORM, "options": {"priority": 1}},
    ),
    ("patch", "/api/v1/queues/{name}"): (
        {"$ref": f"{REF}BatchQueuePatch"},
        {"maxActiveJobs": 5, "limits": {"maxActiveJobsPerOwner": 2}},
    ),
    ("post", "/api/v1/schedules"): (
        {"$ref": f"{REF}BatchScheduleRequest"},
        {
            "name": "weekly-report",
            "schedules": ["0 9 * * 1"],
            "timeZone": "Europe/Berlin",
            "jobTemplate": {
                "spec": {"type": "report", "report": {"deliver": {"destination": {"url": "s3://reports/weekly"}}}}
            },
        },
    ),
}
# path → what the lines of a body may be, where it takes lines
LINES_OF: Final[dict[str, tuple[Any, ...]]] = {
    JOBS: ({"type": "custom", "custom": {"processor": "noop"}}, *_ITEMS, {"id": "r2", "data": {"text": "No."}}),
    "/api/ai-annotator/batch": ({"formSchema": _FORM}, "Arrived early, works well.", {"id": "r2", "text": "No."}),
}
_OPTIONAL_BODY: Final = f"{JOBS}/{{job}}/redrive"
_REQUESTS: Final[Json] = {
    "BatchJobRequest": {
        "allOf": [{"$ref": f"{REF}BatchJobSpec"}],
        "type": "object",
        "description": "The fields of a BatchJob's spec, and beside them name, labels and items. Without "
        f"ttlSecondsAfterFinished it is deleted {KEPT_SECONDS} s after its end, or after retention.failedSeconds.",
        "properties": {
            "name": {"type": "string", "maxLength": 52, "description": "Of the BatchJob; default: one is made up."},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "items": {
                "type": "array",
                "description": "In place of source; data may be any JSON object. Up to 1,000 items, 64 KiB and 4,096 "
                "characters each stand in the BatchJob itself; more are staged, where the gateway can do that.",
                "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
            },
        },
    },
    "RedriveRequest": {"type": "object", "properties": {"filter": {"$ref": f"{REF}RedriveFilter"}}},
    "AnnotatorRequest": {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "minItems": 1, "items": {"type": ["string", "object"]}},
            "formSchema": {"type": "object", "description": "Fields, or a JSON Schema that is flat."},
            "options": {"type": "object", "description": "Fields of spec.aiBatch and of the spec."},
        },
    },
    "BatchScheduleRequest": {
        "allOf": [{"$ref": f"{REF}BatchScheduleSpec"}],
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 35}},
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457. type is stable, detail is for people.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [TYPES + slug.name for slug in SLUGS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "Names the request in the log."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": {
                        "pointer": {"type": "string", "description": "JSON pointer into the body (RFC 6901)."},
                        "line": {"type": "integer", "description": "Of a body of lines, from 1."},
                        "parameter": {"type": "string"},
                        "header": {"type": "string"},
                        "detail": {"type": "string"},
                    },
                },
            },
        },
    },
}
_NEVER_SENT: Final = frozenset({"HTTPValidationError", "ValidationError"})  # the framework's own


def install(app: FastAPI) -> None:
    """Let the application describe itself like this, once."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = build(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as the framework's documentation has it


def build(app: FastAPI) -> Json:
    """The whole document."""
    found = get_openapi(title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0")
    models = (BatchJobSpec, BatchQueueSpec, BatchScheduleSpec)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF + "{model}")
    ours = _without_extensions(schemas["$defs"])
    theirs = {name: schema for name, schema in found["components"]["schemas"].items() if name not in _NEVER_SENT}
    found["components"] = {
        "schemas": {
            **theirs,
            **ours,
            "BatchQueuePatch": _build_patch("BatchQueueSpec", ours),
            **build_schemas(),
            **_REQUESTS,
        },
        "examples": build_examples(),
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }
    found["security"] = [{"bearer": []}]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _complete(operation, method, path)
    return found


def _complete(operation: Json, method: str, path: str) -> None:
    """What the framework does not know of an operation."""
    body = BODIES.get((method, path))
    if body:
        schema, example = body
        content: Json = {"application/json": {"schema": schema, "example": example}}
        if path in LINES_OF:
            said = "The fields in the first line, without items; in each other line, an item. May be gzip."
            lines = "".join(json.dumps(line) + "\n" for line in LINES_OF[path])
            content[LINES] = {"schema": {"type": "string", "description": said}, "example": lines}
        operation["requestBody"] = {"required": path != _OPTIONAL_BODY, "content": content}
    problem = {"$ref": f"{REF}Problem"}
    refusals = build_refusals(method, path, MEDIA_TYPE, problem, body=body is not None)
    operation["responses"] = build_answers(method, path) | refusals


def _build_patch(name: str, schemas: Json) -> Json:
    """A model as a merge patch: each field that need not be there may be null, which takes it away. Lists are whole."""
    schema = schemas[name]
    needed = schema.get("required", ())
    fields = {
        field: child if field in needed else _or_null(child, schemas)
        for field, child in schema.get("properties", {}).items()
    }
    return {**schema, **({"properties": fields} if fields else {})}


def _or_null(schema: Json, schemas: Json) -> Json:
    if "anyOf" in schema:  # null is one of them
        return {**schema, "anyOf": [_part(one, schemas) for one in schema["anyOf"]]}
    return {"anyOf": [_part(schema, schemas), {"type": "null"}]}


def _part(schema: Json, schemas: Json) -> Json:
    if "$ref" not in schema:
        return schema
    return _build_patch(schema["$ref"].removeprefix(REF), schemas) | {k: v for k, v in schema.items() if k != "$ref"}


def _without_extensions(value: Any) -> Any:
    """Kubernetes' own words are for the CRD."""
    if isinstance(value, dict):
        return {name: _without_extensions(child) for name, child in value.items() if not name.startswith("x-")}
    return [_without_extensions(child) for child in value] if isinstance(value, list) else value
