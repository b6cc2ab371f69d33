"""Routes of schedules: BatchJobs at the times of cron strings, of their owner or, for admins, of all."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from batchjob.api.base import API_VERSION
from batchjob.api.schedule import SCHEDULE_KIND, BatchScheduleSpec
from batchjob.errors import Invalid
from batchjob.gateway.audit import Deed, acted
from batchjob.gateway.bodies import read_object
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.limits import READS, SUBMITS
from batchjob.gateway.lists import seen_schedules
from batchjob.gateway.problems import Fault, invalid, invalid_model
from batchjob.gateway.submission import KEPT_SECONDS, refused
from batchjob.gateway.views import job_id
from batchjob.kube import BATCH_JOBS, BATCH_SCHEDULES

router = APIRouter(prefix="/api/v1/schedules", tags=["Schedules"])


def schedule_view(body: dict[str, Any]) -> dict[str, Any]:
    """One schedule."""
    metadata, spec = body["metadata"], body["spec"]
    return {
        "id": job_id(metadata["namespace"], metadata["name"]),
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "owner": spec.get("owner"),
        "schedules": spec["schedules"],
        "timeZone": spec.get("timeZone", "UTC"),
        "suspend": spec.get("suspend", False),
        "type": spec["jobTemplate"]["spec"]["type"],
        "status": body.get("status") or {},
    }


@router.get("", dependencies=[READS])
async def read(caller: CallerOf, doors: DoorsOf) -> Response:
    """The schedules of your namespace that are yours; all of them for an admin."""
    await caller.need("list", BATCH_SCHEDULES, caller.namespace)
    found = await seen_schedules(caller, (await doors.kube.list(BATCH_SCHEDULES, caller.namespace)).items)
    ordered = sorted((schedule_view(body) for body in found), key=lambda schedule: schedule["id"])
    return JSONResponse({"success": True, "schedules": ordered})


@router.post("", status_code=201, dependencies=[SUBMITS])
async def create(request: Request, caller: CallerOf, doors: DoorsOf) -> Response:
    """Make a schedule: its spec's fields, and `name`."""
    await caller.need("create", BATCH_SCHEDULES, caller.namespace)
    await caller.need("create", BATCH_JOBS, caller.namespace)
    manifest, spec = build_schedule(await read_object(request), caller.name, caller.namespace)
    await caller.need_to_make(caller.namespace, manifest["spec"]["owner"], spec.job_template.spec)
    try:
        made = await doors.kube.create(BATCH_SCHEDULES, caller.namespace, manifest)
    except Invalid as error:
        raise refused(error, {}) from None
    view = schedule_view(made)
    acted(Deed("create", SCHEDULE_KIND, made["metadata"], view["owner"]))
    return JSONResponse({"success": True, "schedule": view}, 201)


def build_schedule(body: dict[str, Any], who: str, namespace: str) -> tuple[dict[str, Any], BatchScheduleSpec]:
    """The BatchSchedule of a body, and its spec. Pure."""
    spec = {field: value for field, value in body.items() if field != "name"}
    if not isinstance(body.get("name"), str):
        raise invalid(Fault("/name", "is needed: a text of at most 35 small letters, digits and hyphens"))
    try:
        model = BatchScheduleSpec.model_validate_json(json.dumps(spec), strict=True)
    except ValidationError as error:
        raise invalid_model(error) from None
    template = {**spec["jobTemplate"], "spec": {"ttlSecondsAfterFinished": KEPT_SECONDS, **spec["jobTemplate"]["spec"]}}
    spec |= {"owner": model.owner or who, "jobTemplate": template}
    metadata = {"name": body["name"], "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": SCHEDULE_KIND, "metadata": metadata, "spec": spec}, model
