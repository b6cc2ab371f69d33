"""From a body to the BatchJob that is made of it: rights, the queue's limits, and that a key makes one, not two."""

import uuid
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from batchjob import traces
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.v1alpha1 import KIND, TRACEPARENT
from batchjob.errors import AlreadyExists, Invalid, NotFound
from batchjob.gateway.access import Caller
from batchjob.gateway.audit import Deed, acted, nothing_yet
from batchjob.gateway.doors import Doors
from batchjob.gateway.problems import CONFLICT, KEY_REUSED, NOT_FOUND, Fault, Problem, invalid
from batchjob.gateway.submission import (
    DIGEST,
    PREFIX,
    Staged,
    Submission,
    build_submission,
    check_queue,
    checked_key,
    name_for,
    refused,
)
from batchjob.gateway.views import JOBS, RETRY_SECONDS, accepted, job_id
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES


class Making:
    """One request to make a BatchJob: whose, where, and by which name."""

    def __init__(self, doors: Doors, caller: Caller, key: str | None) -> None:
        """`key`: an Idempotency-Key; a problem where it is none."""
        self.key = checked_key(key)
        self.doors, self.caller, self.namespace = doors, caller, caller.namespace
        self.name = (
            PREFIX + uuid.uuid4().hex[:24] if self.key is None else name_for(caller.name, self.namespace, self.key)
        )

    async def prepare(self, body: Mapping[str, Any], staged: Staged | None = None) -> Submission:
        """What it would be. A problem where it may not be made."""
        if self.key is not None and "name" in body:
            raise invalid(Fault("/name", "follows from the Idempotency-Key: leave it out, or the key"))
        await self.caller.need("create", BATCH_JOBS, self.namespace)
        submission = build_submission(body, self.caller.name, self.namespace, self.name, staged)
        await self.caller.need_to_make(self.namespace, submission.owner, submission.spec)
        check_queue(submission, await self.read_queue(submission))
        return submission

    async def read_queue(self, submission: Submission) -> BatchQueueSpec:
        """What its queue says; nothing where there is no object of its name."""
        try:
            body = await self.doors.kube.get(BATCH_QUEUES, None, submission.spec.queue)
        except NotFound:
            return BatchQueueSpec()
        return BatchQueueSpec.model_validate(body.get("spec") or {})

    async def make(self, submission: Submission, body: Mapping[str, Any]) -> tuple[JSONResponse, bool]:
        """Make it; the answer, and whether it is new. `body`: what was sent, for pointers into it."""
        try:
            made = await create(self.doors, submission.manifest, body)
        except AlreadyExists:
            await check_replay(self.doors, submission, self.key)
            return queued(job_id(self.namespace, submission.manifest["metadata"]["name"])), False
        found = job_id(self.namespace, made["metadata"]["name"])
        acted(Deed("create", KIND, made["metadata"], submission.owner))
        return queued(found), True


async def create(doors: Doors, manifest: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Make a BatchJob, in the trace of this request. AlreadyExists; else a Problem, with pointers into `body`."""
    metadata = manifest["metadata"]
    if span := traces.current():
        metadata["annotations"] = {**(metadata.get("annotations") or {}), TRACEPARENT: span.traceparent}
    try:
        return await doors.kube.create(BATCH_JOBS, metadata["namespace"], manifest)
    except Invalid as error:
        raise refused(error, body) from None
    except NotFound:
        raise Problem(NOT_FOUND, f"There is no namespace {metadata['namespace']}") from None


def queued(job: str, message: str = "Job queued for processing", status: str = "queued") -> JSONResponse:
    """A 202."""
    headers = {"Location": f"{JOBS}/{job}", "Retry-After": str(RETRY_SECONDS)}
    return JSONResponse(accepted(job, message, status), 202, headers)


async def check_replay(doors: Doors, submission: Submission, key: str | None) -> None:
    """Whether what is there was made by this very request before: then it is answered again."""
    metadata = submission.manifest["metadata"]
    there = await doors.kube.get(BATCH_JOBS, metadata["namespace"], metadata["name"])
    if key is None or there["spec"].get("owner") != submission.owner:
        raise Problem(CONFLICT, f"The name {metadata['name']} is taken: choose another one")
    if (there["metadata"].get("annotations") or {}).get(DIGEST) != submission.digest:
        raise Problem(KEY_REUSED, "This Idempotency-Key made another BatchJob: use a new key for a new one")
    nothing_yet()  # by this request: the record of the other one says who made it
