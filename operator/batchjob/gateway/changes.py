"""Doing an action to a BatchJob for somebody: the right is asked for, the object changed, and a record left."""

import secrets
from typing import Any, NamedTuple

from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.core.actions import Action, build_change, build_redrive, redrive_labels, redrive_name
from batchjob.errors import AlreadyExists, NotFound
from batchjob.gateway.access import Caller
from batchjob.gateway.audit import Deed, acted
from batchjob.gateway.doors import Doors
from batchjob.gateway.making import create
from batchjob.gateway.problems import KEY_REUSED, Problem
from batchjob.gateway.submission import Submission, build_submission
from batchjob.gateway.views import job_id, no_such_job
from batchjob.kube import BATCH_JOBS


class Redriven(NamedTuple):
    """A BatchJob that tries failed items again; `made`: by this very call."""

    submission: Submission
    name: str
    made: bool


async def change(doors: Doors, caller: Caller, action: Action, job: BatchJob) -> None:
    """Cancel, suspend or resume."""
    await caller.need("patch", BATCH_JOBS, job.metadata.namespace)
    await caller.need_for(job.spec.owner, job.metadata.namespace)
    try:
        await doors.kube.patch(BATCH_JOBS, *job.key, build_change(action, job, secrets.token_hex(16)))
    except NotFound:
        raise no_such_job() from None
    acted(Deed(action.value, KIND, job.metadata.model_dump(), job.spec.owner))


async def redrive(
    doors: Doors, caller: Caller, job: BatchJob, body: dict[str, Any], wanted: dict[str, Any], mark: str
) -> Redriven:
    """Try its failed items again, as a BatchJob of their own. The same `mark` makes it once."""
    namespace, name = job.metadata.namespace, redrive_name(job, mark)
    await caller.need_to_make(namespace, job.spec.owner, job.spec)
    labels = redrive_labels(body)
    sent = build_redrive(job, body, wanted) | ({"labels": labels} if labels else {})
    submission = build_submission(sent, job.spec.owner, namespace, name)
    try:
        await create(doors, submission.manifest, {})
    except AlreadyExists:
        await _check_same(doors, submission)
        return Redriven(submission, name, made=False)
    acted(Deed(Action.REDRIVE.value, KIND, job.metadata.model_dump(), job.spec.owner, job_id(namespace, name)))
    return Redriven(submission, name, made=True)


async def _check_same(doors: Doors, submission: Submission) -> None:
    """A problem unless what has its name tries the same items of the same owner again.

    The rest of its spec is from the other one, where somebody may have changed it since.
    """
    metadata = submission.manifest["metadata"]
    there = BatchJob.parse(await doors.kube.get(BATCH_JOBS, metadata["namespace"], metadata["name"]))
    if (there.spec.owner, there.spec.source) != (submission.owner, submission.spec.source):
        raise Problem(KEY_REUSED, f"The name {metadata['name']} has another BatchJob: use a new Idempotency-Key")
