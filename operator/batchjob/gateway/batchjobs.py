"""Routes of BatchJobs: make one, look at one, cancel, suspend, resume, redrive. Truth is the custom resource."""

import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from batchjob import log
from batchjob.api.base import MAX_NAME
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.phases import is_terminal
from batchjob.errors import AlreadyExists, Invalid, NotFound
from batchjob.gateway.access import Caller
from batchjob.gateway.bodies import read_optional
from batchjob.gateway.doors import CallerOf, Doors, DoorsOf
from batchjob.gateway.limits import CHANGES, READS, SUBMITS
from batchjob.gateway.making import Making, check_replay, queued
from batchjob.gateway.problems import CONFLICT, Fault, Problem, invalid
from batchjob.gateway.submission import (
    PREFIX,
    build_submission,
    checked_key,
    name_for,
    refused,
)
from batchjob.gateway.uploads import take_in
from batchjob.gateway.views import (
    JOBS,
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
audit = log.get("batchjob.audit")
KeyOf = Annotated[str | None, Header(alias="Idempotency-Key", description="Makes a repetition safe; scoped to you.")]
_NOT_AGAIN: Final = ("owner", "source", "suspend", "cancel", "resumeToken", "startAfter")  # of a spec that is redriven


async def find(doors: Doors, caller: Caller, job: str, verb: str) -> tuple[BatchJob, dict[str, Any]]:
    """A BatchJob that the caller may do `verb` with; a 404 whether it is not there or another's."""
    namespace, name = read_job_id(job)
    await caller.need(verb, BATCH_JOBS, namespace)
    try:
        body = await doors.kube.get(BATCH_JOBS, namespace, name)
    except NotFound:
        raise no_such_job() from None
    found = BatchJob.parse(body)
    if not await caller.owns(found.spec.owner):
        raise no_such_job()
    return found, body


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
    return shown(request, {"success": True, "job": view(found, body)})


def shown(request: Request, answer: dict[str, Any]) -> Response:
    """An answer with an ETag, or that nothing has changed."""
    tag = etag(answer)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if is_known(request.headers.get("If-None-Match"), tag):
        return Response(status_code=304, headers=headers)
    return JSONResponse(answer, headers=headers)


async def change(doors: Doors, caller: Caller, job: str, verb: str, spec: dict[str, Any]) -> Response:
    """Patch the spec of a BatchJob that has not ended."""
    found, _ = await find(doors, caller, job, "patch")
    if is_terminal(found.status):
        raise Problem(CONFLICT, f"The BatchJob has ended ({phase_of(found).lower()}): nothing is left to {verb}")
    # The uid: one of the same name that was made meanwhile may be another's.
    try:
        await doors.kube.patch(BATCH_JOBS, *found.key, {"metadata": {"uid": found.metadata.uid}, "spec": spec})
    except NotFound:
        raise no_such_job() from None
    audit.info("audit", user=caller.name, verb=verb, job=job, owner=found.spec.owner)
    return queued(job, f"{verb} accepted", phase_of(found).lower())


@router.post("/{job}/cancel", status_code=202, dependencies=[CHANGES])
async def cancel(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """End it as Cancelled. There is no way back."""
    return await change(doors, caller, job, "cancel", {"cancel": True})


@router.post("/{job}/suspend", status_code=202, dependencies=[CHANGES])
async def suspend(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Pause it: pods go, items and their attempts stay."""
    return await change(doors, caller, job, "suspend", {"suspend": True})


@router.post("/{job}/resume", status_code=202, dependencies=[CHANGES])
async def resume(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Go on: after a pause, or where it is held until somebody decides (circuit breaker, budget, a lost store)."""
    return await change(doors, caller, job, "resume", {"suspend": False, "resumeToken": uuid.uuid4().hex})


@router.post("/{job}/redrive", status_code=202, dependencies=[SUBMITS])
async def redrive(request: Request, job: str, caller: CallerOf, doors: DoorsOf, key: KeyOf = None) -> Response:
    """Try its dead letters again, as a BatchJob of their own; `filter` in the body says which. Waits for its end."""
    wanted = await read_optional(request)
    found, body = await find(doors, caller, job, "get")
    if unknown := sorted(set(wanted) - {"filter"}):
        raise invalid(Fault(f"/{unknown[0]}", "there is no such field; there is filter"))
    spec = {name: value for name, value in body["spec"].items() if name not in _NOT_AGAIN}
    spec["source"] = {"redriveOf": {"batchJobName": found.metadata.name, **wanted}}
    if found.spec.owner is not None:
        spec["owner"] = found.spec.owner  # redriveOf reaches BatchJobs of the same owner alone
    namespace = found.metadata.namespace
    suffix = name_for(caller.name, job, checked_key(key) or uuid.uuid4().hex).removeprefix(PREFIX)[:10]
    name = f"{found.metadata.name[: MAX_NAME - 13].rstrip('-')}-r-{suffix}"
    submission = build_submission(spec, caller.name, namespace, name)
    await caller.need("create", BATCH_JOBS, namespace)
    try:
        await doors.kube.create(BATCH_JOBS, namespace, submission.manifest)
    except Invalid as error:
        raise refused(error, {}) from None
    except AlreadyExists:
        await check_replay(doors, submission, key)
    audit.info("audit", user=caller.name, verb="redrive", job=job, made=job_id(namespace, name), owner=found.spec.owner)
    return queued(job_id(namespace, name), f"The dead letters of {job} are tried again")
