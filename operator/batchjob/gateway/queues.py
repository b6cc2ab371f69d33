"""Routes of queues: what waits and runs in each, and, for admins, pause and limits."""

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from batchjob.api.base import API_VERSION
from batchjob.api.queue import QUEUE_KIND, BatchQueueSpec
from batchjob.api.v1alpha1 import JobType
from batchjob.errors import AlreadyExists, Invalid, NotFound
from batchjob.gateway.audit import Deed, acted
from batchjob.gateway.bodies import read_object
from batchjob.gateway.doors import CallerOf, Doors, DoorsOf
from batchjob.gateway.limits import CHANGES, READS
from batchjob.gateway.lists import list_queues
from batchjob.gateway.problems import NOT_FOUND, Problem, invalid_model
from batchjob.gateway.submission import refused
from batchjob.kube import BATCH_QUEUES

router = APIRouter(prefix="/api/v1/queues", tags=["Queues"])
BUILT_IN: Final = frozenset(JobType)  # those of the types are there without any object


def queue_view(body: dict[str, Any]) -> dict[str, Any]:
    """One queue."""
    return {"name": body["metadata"]["name"], "spec": body.get("spec") or {}, "status": body.get("status") or {}}


@router.get("", dependencies=[READS])
async def read(caller: CallerOf, doors: DoorsOf) -> Response:
    """All queues; those of the types are there without any object."""
    found = {body["metadata"]["name"]: queue_view(body) for body in await list_queues(doors, caller)}
    plain = {name: queue_view({"metadata": {"name": name}}) for name in map(str, BUILT_IN)}
    return JSONResponse({"success": True, "queues": [queue for _, queue in sorted((plain | found).items())]})


@router.patch("/{name}", dependencies=[CHANGES])
async def change(request: Request, name: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Change what the body names of a queue's spec; null takes a field away."""
    await caller.need("update", BATCH_QUEUES)
    spec = await read_object(request)
    check_fields(spec)
    try:
        made = await _write(doors, name, spec)
    except Invalid as error:
        raise refused(error, {}) from None
    except NotFound:
        raise Problem(NOT_FOUND, "There is no such queue") from None
    acted(Deed("patch", QUEUE_KIND, made["metadata"]))
    return JSONResponse({"success": True, "queue": queue_view(made)})


def check_fields(spec: dict[str, Any]) -> None:
    """Types and bounds of what is set. Every field may be left out, so a part of a spec is a spec."""
    try:
        BatchQueueSpec.model_validate_json(json.dumps(_without_nulls(spec)), strict=True)
    except ValidationError as error:
        raise invalid_model(error) from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return value


async def _write(doors: Doors, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    try:
        return await doors.kube.patch(BATCH_QUEUES, None, name, {"spec": spec})
    except NotFound:
        if name not in BUILT_IN:
            raise
    body = {"apiVersion": API_VERSION, "kind": QUEUE_KIND, "metadata": {"name": name}, "spec": _without_nulls(spec)}
    try:
        return await doors.kube.create(BATCH_QUEUES, None, body)
    except AlreadyExists:  # somebody was faster
        return await doors.kube.patch(BATCH_QUEUES, None, name, {"spec": spec})
