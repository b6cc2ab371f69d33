"""The two routes that a client of the earlier, synchronous endpoint knows: the same bodies, and 202 in place of 200.

What such a body does not say (the model, its instructions) comes from a file of the installation, or from `options`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from batchjob.api.blocks.ai_batch import AiBatch
from batchjob.api.v1alpha1 import JobType
from batchjob.errors import ConfigurationError
from batchjob.gateway.batchjobs import KeyOf, find, shown
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.limits import ANNOTATES, READS
from batchjob.gateway.making import Making
from batchjob.gateway.problems import Fault, Problem, invalid, pointer
from batchjob.gateway.submission import Staged, Submission
from batchjob.gateway.uploads import Shape, take_in
from batchjob.gateway.views import no_such_job, seed_view

ROOT: Final = "/api/ai-annotator/batch"
_KNOWN: Final = frozenset({"items", "formSchema", "options"})
_BLOCK: Final = frozenset(field.alias or name for name, field in AiBatch.model_fields.items()) - {"formSchema"}
_OURS: Final = frozenset({"type", "source", "items", "owner", "aiBatch", "formSchema"})
_TYPES: Final = {"string": "string", "number": "number", "integer": "integer", "boolean": "boolean", "array": "list"}

router = APIRouter(prefix=ROOT, tags=["AI annotator"])


def read_template(path: Path | None) -> dict[str, Any]:
    """The spec that every such BatchJob begins with; ConfigurationError where the file is none."""
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"settings: BATCHJOB_ANNOTATOR_FILE: {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"settings: BATCHJOB_ANNOTATOR_FILE: {path} holds no map of a spec's fields")
    return found


def build_body(body: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The body that POST /api/v1/batch-jobs would have been sent. Pure."""
    return {**build_fields(body, template), "items": read_items(body)}


def read_items(body: Mapping[str, Any]) -> list[Any]:
    """Items with ids."""
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise invalid(Fault("/items", "has to be a list of items, texts or objects"))
    return [read_item(item, place) for place, item in enumerate(items)]


def build_fields(body: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The same without its items."""
    options = {} if body.get("options") is None else body["options"]
    if not isinstance(options, dict):
        raise invalid(Fault("/options", "has to be an object"))
    for name in sorted(set(body) - _KNOWN):
        raise invalid(Fault(pointer((name,)), "there is no such field; there are items, formSchema and options"))
    for name in sorted(set(options) & _OURS):
        raise invalid(Fault(pointer(("options", name)), "is not for options"))
    block = {**template.get("aiBatch", {}), **{name: value for name, value in options.items() if name in _BLOCK}}
    if "formSchema" in body:
        block |= {"formSchema": read_form(body["formSchema"])}
        block.pop("formSchemaRef", None)
    others = {name: value for name, value in options.items() if name not in _BLOCK}
    return {**template, **others, "type": JobType.AI_BATCH.value, "aiBatch": block}


def read_item(item: Any, place: int) -> dict[str, Any]:
    """An item with an id: its own, else its place; a text is one with the field `text`."""
    if isinstance(item, str):
        return {"id": str(place), "data": {"text": item}}
    if not isinstance(item, dict):
        raise invalid(Fault(f"/items/{place}", "has to be a text or an object"))
    given = item.get("id", place)
    return {"id": str(given) if isinstance(given, int) else given, "data": item}


def read_form(form: Any) -> Any:
    """A form: fields as they are, or the properties of a JSON Schema that is flat."""
    properties = form.get("properties") if isinstance(form, dict) else None
    if not isinstance(properties, dict):
        return form
    required = form.get("required")
    needed = set(map(str, required)) if isinstance(required, list) else set()
    return {"fields": [_read_field(name, schema, name in needed) for name, schema in properties.items()]}


def _read_field(name: str, schema: Any, required: bool) -> dict[str, Any]:
    kind = schema.get("type", "string" if "enum" in schema else None) if isinstance(schema, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise invalid(
            Fault(
                pointer(("formSchema", "properties", name)),
                "a form's fields are of type string, number, integer, boolean or array of strings; for one that nests, "
                "put the schema into a ConfigMap, and name it in options.formSchemaRef",
            )
        )
    found = {key: schema[key] for key in ("description", "enum", "minimum", "maximum") if key in schema}
    return {"name": name, "type": "enum" if "enum" in schema else _TYPES[kind], "required": required, **found}


class Annotating(Making):
    """Making of a body that was built here: what is wrong with it is told of the one that the client sent."""

    async def prepare(self, body: Mapping[str, Any], staged: Staged | None = None) -> Submission:
        """What it would be. A problem where it may not be made."""
        try:
            return await super().prepare(body, staged)
        except Problem as problem:
            raise retold(problem) from None

    async def make(self, submission: Submission, body: Mapping[str, Any]) -> tuple[JSONResponse, bool]:
        """Make it; the answer, and whether it is new."""
        try:
            return await super().make(submission, body)
        except Problem as problem:
            raise retold(problem) from None


def retold(problem: Problem) -> Problem:
    """A problem with a body that was built here, with pointers into the one that was sent."""
    return problem.moved(_retold)


def _retold(where: str) -> str:
    if where.startswith("/aiBatch/formSchema"):
        return where.removeprefix("/aiBatch")
    return where if where.startswith("/items") or not where else "/options" + where.removeprefix("/aiBatch")


@router.post("", status_code=202, dependencies=[ANNOTATES])
async def annotate(request: Request, caller: CallerOf, doors: DoorsOf, key: KeyOf = None) -> Response:
    """Have a model fill a form about each item."""
    template = doors.annotator
    shape = Shape(
        body=lambda body: build_body(body, template),
        fields=lambda body: build_fields(body, template),
        item=read_item,
        retold=retold,
        is_counted=True,
    )
    return await take_in(request, Annotating(doors, caller, key), shape)


@router.get("/{job}/status", dependencies=[READS])
async def status(request: Request, job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """How far it is, in the words of the earlier queue."""
    found, body = await find(doors, caller, job, "get")
    if found.spec.type is not JobType.AI_BATCH:
        raise no_such_job()
    return shown(request, {"success": True, "job": seed_view(found, body)}, found)
