"""Routes of BatchJobs: make one, look at one, cancel, suspend, resume, redrive. Truth is the custom resource."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from batchjob.api.v1alpha1 import BatchJob, JobType
from batchjob.core.actions import Action
from batchjob.core.phases import is_terminal
from batchjob.errors import NotFound
from batchjob.gateway import changes
from batchjob.gateway.access import Caller
from batchjob.gateway.bodies import read_optional
from batchjob.gateway.doors import CallerOf, Doors, DoorsOf
from batchjob.gateway.limits import CHANGES, READS, SUBMITS, Kind, take
from batchjob.gateway.making import Making, queued
from batchjob.gateway.problems import CONFLICT, Fault, Problem, invalid, pointer
from batchjob.gateway.submission import checked_key
from batchjob.gateway.uploads import take_in
from batchjob.gateway.views import (
    JOBS,
    RETRY_SECONDS,
    etag,
    is_known,
    job_id,
    no_such_job,
    phase_of,
    read_job_id,
    view,
)
from batchjob.kube import BATCH_JOBS

router = APIRouter(prefix=JOBS, tags=["BatchJobs"])
KeyOf = Annotated[str | None, Header(alias="Idempotency-Key", description="Makes a repetition safe; scoped to you.")]


async def find(doors: Doors, caller: Caller, job: str, verb: str) -> tuple[BatchJob, dict[str, Any]]:
    """A BatchJob that the caller may do `verb` with; a 404 whether it is not there or another's."""
    namespace, name = read_job_id(job)
    await caller.need(verb, BATCH_JOBS, namespace)
    try:
        body = await doors.kube.get(BATCH_JOBS, namespace, name)
    except NotFound:
        raise no_such_job() from None
    spec = body.get("spec")
    if not await caller.owns(spec.get("owner") if isinstance(spec, dict) else None):
        raise no_such_job()
    return BatchJob.parse(body), body


@router.post("", status_code=202, dependencies=[SUBMITS])
async def create(request: Request, caller: CallerOf, doors: DoorsOf, key: KeyOf = None) -> Response:
    """Make a BatchJob. It is durable once this answers, with all of its items; its results come later.

    The body is a JSON object; or lines of JSON (application/x-ndjson), of which the first has its fields, and each
    other one is an item.
    """
    return await take_in(request, Making(doors, caller, key))


@router.get("/{job}", dependencies=[READS])
async def read(request: Request, job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """One BatchJob: its state, progress and counts."""
    found, body = await find(doors, caller, job, "get")
    return shown(request, {"success": True, "job": view(found, body)}, found)


def shown(request: Request, answer: dict[str, Any], job: BatchJob) -> Response:
    """An answer with an ETag, or that nothing has changed; with when to ask again, as long as it has not ended."""
    tag = etag(answer)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if not is_terminal(job.status):
        headers["Retry-After"] = str(RETRY_SECONDS)
    if is_known(request.headers.get("If-None-Match"), tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(answer, headers=headers)


async def _change(doors: Doors, caller: Caller, job: str, action: Action) -> Response:
    """Patch a BatchJob that has not ended."""
    found, _ = await find(doors, caller, job, "patch")
    if is_terminal(found.status):
        raise Problem(CONFLICT, f"The BatchJob has ended ({phase_of(found).lower()}): nothing is left to {action}")
    await changes.change(doors, caller, action, found)
    return queued(job, f"{action} accepted", phase_of(found).lower())


@router.post("/{job}/cancel", status_code=202, dependencies=[CHANGES])
async def cancel(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """End it as Cancelled. There is no way back."""
    return await _change(doors, caller, job, Action.CANCEL)


@router.post("/{job}/suspend", status_code=202, dependencies=[CHANGES])
async def suspend(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Pause it: pods go, items and their attempts stay."""
    return await _change(doors, caller, job, Action.SUSPEND)


@router.post("/{job}/resume", status_code=202, dependencies=[CHANGES])
async def resume(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Go on: after a pause, or where it is held until somebody decides (circuit breaker, budget, a lost store)."""
    return await _change(doors, caller, job, Action.RESUME)


@router.post("/{job}/redrive", status_code=202, dependencies=[SUBMITS])
async def redrive(request: Request, job: str, caller: CallerOf, doors: DoorsOf, key: KeyOf = None) -> Response:
    """Try its dead letters again, as a BatchJob of their own; `filter` in the body says which. Waits for its end."""
    wanted = await read_optional(request)
    found, body = await find(doors, caller, job, "get")
    if found.spec.type is JobType.AI_BATCH:
        await take(request, Kind.ANNOTATE, caller.name, doors)
    if unknown := sorted(set(wanted) - {"filter"}):
        raise invalid(Fault(pointer((unknown[0],)), "there is no such field; there is filter"))
    mark = f"{caller.name}\0{checked_key(key) or uuid.uuid4().hex}"
    try:
        again = await changes.redrive(doors, caller, found, body, wanted, mark)
    except Problem as problem:
        raise problem.moved(lambda place: place.removeprefix("/source/redriveOf")) from None
    return queued(job_id(found.metadata.namespace, again.name), f"The dead letters of {job} are tried again")
