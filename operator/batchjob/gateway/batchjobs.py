"""Routes of BatchJobs: make one, look at one, cancel, suspend, resume, redrive. Truth is the custom resource."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from batchjob import log
from batchjob.api.base import MAX_NAME
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.v1alpha1 import BatchJob, JobType
from batchjob.core.phases import is_terminal
from batchjob.errors import AlreadyExists, Invalid, NotFound
from batchjob.gateway.access import Caller
from batchjob.gateway.bodies import read_object, read_optional
from batchjob.gateway.doors import CallerOf, Doors, DoorsOf
from batchjob.gateway.limits import CHANGES, READS, SUBMITS, Kind, take
from batchjob.gateway.problems import CONFLICT, FORBIDDEN, KEY_REUSED, NOT_FOUND, Fault, Problem, invalid
from batchjob.gateway.submission import (
    DIGEST,
    PREFIX,
    Submission,
    build_submission,
    check_queue,
    checked_key,
    name_for,
    refused,
)
from batchjob.gateway.views import (
    JOBS,
    RETRY_SECONDS,
    accepted,
    etag,
    is_known,
    job_id,
    no_such_job,
    phase_of,
    read_job_id,
    view,
)
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES

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


def queued(job: str, message: str = "Job queued for processing", status: str = "queued") -> JSONResponse:
    """A 202."""
    headers = {"Location": f"{JOBS}/{job}", "Retry-After": str(RETRY_SECONDS)}
    return JSONResponse(accepted(job, message, status), 202, headers)


@router.post("", status_code=202, dependencies=[SUBMITS])
async def create(request: Request, caller: CallerOf, doors: DoorsOf, key: KeyOf = None) -> Response:
    """Make a BatchJob. It is durable once this answers; its results come later."""
    body = await read_object(request)
    if body.get("type") == JobType.AI_BATCH:
        await take(request, Kind.ANNOTATE, caller.name, doors)
    return await submit(doors, caller, body, checked_key(key))


async def submit(doors: Doors, caller: Caller, body: Mapping[str, Any], key: str | None) -> Response:
    """Make the BatchJob of a body."""
    if key is not None and "name" in body:
        raise invalid(Fault("/name", "follows from the Idempotency-Key: leave it out, or the key"))
    namespace = caller.namespace
    await caller.need("create", BATCH_JOBS, namespace)
    name = name_for(caller.name, namespace, key) if key is not None else PREFIX + uuid.uuid4().hex[:24]
    submission = build_submission(body, caller.name, namespace, name)
    await _check_rights(caller, submission)
    check_queue(submission, await read_queue(doors, submission.spec.queue))
    try:
        made = await doors.kube.create(BATCH_JOBS, namespace, submission.manifest)
    except Invalid as error:
        raise refused(error, body) from None
    except NotFound:
        raise Problem(NOT_FOUND, f"There is no namespace {namespace}") from None
    except AlreadyExists:
        await _check_replay(doors, submission, key)
        return queued(job_id(namespace, submission.manifest["metadata"]["name"]))
    found = job_id(namespace, made["metadata"]["name"])
    audit.info("audit", user=caller.name, verb="create", job=found, owner=submission.owner)
    return queued(found)


async def _check_rights(caller: Caller, submission: Submission) -> None:
    """What a body needs besides the right to make BatchJobs."""
    if submission.owner != caller.name:
        await caller.need("impersonate-owner", BATCH_JOBS, submission.manifest["metadata"]["namespace"])
    if submission.is_about_all and not await caller.is_admin():
        raise Problem(FORBIDDEN, "/report/scope: all is for those who may update batchqueues: leave it out")


async def read_queue(doors: Doors, name: str) -> BatchQueueSpec:
    """What a queue says; nothing where there is no object of its name."""
    try:
        return BatchQueueSpec.model_validate((await doors.kube.get(BATCH_QUEUES, None, name)).get("spec") or {})
    except NotFound:
        return BatchQueueSpec()


async def _check_replay(doors: Doors, submission: Submission, key: str | None) -> None:
    """Whether what is there was made by this very request before: then it is answered again."""
    metadata = submission.manifest["metadata"]
    there = await doors.kube.get(BATCH_JOBS, metadata["namespace"], metadata["name"])
    if key is None or there["spec"].get("owner") != submission.owner:
        raise Problem(CONFLICT, f"The name {metadata['name']} is taken: choose another one")
    if (there["metadata"].get("annotations") or {}).get(DIGEST) != submission.digest:
        raise Problem(KEY_REUSED, "This Idempotency-Key made another BatchJob: use a new key for a new one")


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
        await _check_replay(doors, submission, key)
    audit.info("audit", user=caller.name, verb="redrive", job=job, made=job_id(namespace, name), owner=found.spec.owner)
    return queued(job_id(namespace, name), f"The dead letters of {job} are tried again")
