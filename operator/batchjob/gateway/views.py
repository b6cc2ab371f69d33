"""What the API says of BatchJobs, queues and schedules: summaries made of the custom resource alone. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.phases import is_terminal
from batchjob.gateway.problems import NOT_FOUND, Problem

JOBS: Final = "/api/v1/batch-jobs"
RETRY_SECONDS: Final = 2  # when to ask for the first time: a run has mostly begun by then
_ID: Final = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)\.([a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?)")
# What clients of the earlier queue knew as states.
SEED_STATES: Final = {
    Phase.PENDING: "waiting",
    Phase.QUEUED: "waiting",
    Phase.RUNNING: "active",
    Phase.FINALIZING: "active",
    Phase.SUSPENDED: "paused",
    Phase.SUCCEEDED: "completed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "failed",
}


def no_such_job() -> Problem:
    """404: whether it is not there or another's is not told."""
    return Problem(NOT_FOUND, "There is no such BatchJob, or it is not yours")


def job_id(namespace: str, name: str) -> str:
    """The id of a BatchJob: namespaces and these names have no dot."""
    return f"{namespace}.{name}"


def read_job_id(text: str) -> tuple[str, str]:
    """(namespace, name); what is no id names nothing."""
    found = _ID.fullmatch(text)
    if found is None:
        raise no_such_job()
    return found[1], found[3]


def links(job: str) -> dict[str, str]:
    """Where the rest of it is."""
    rooms = ("events", "items", "errors", "results", "cancel", "suspend", "resume", "redrive")
    return {"self": f"{JOBS}/{job}"} | {room: f"{JOBS}/{job}/{room}" for room in rooms}


def accepted(job: str, message: str = "Job queued for processing", status: str = "queued") -> dict[str, Any]:
    """The body of a 202."""
    return {"success": True, "jobId": job, "status": status, "message": message, "links": links(job)}


def phase_of(job: BatchJob) -> Phase:
    """Its phase; before the operator has said anything, that it waits for it."""
    return job.status.phase if job.status else Phase.PENDING


def progress_of(status: BatchJobStatus) -> float:
    """Percent, from 0 to 100."""
    text = status.percent.rstrip("%")
    try:
        return float(text)
    except ValueError:
        return 0.0


def view(job: BatchJob, body: Mapping[str, Any]) -> dict[str, Any]:
    """One BatchJob. `body`: the object as the API server has it."""
    status, spec = job.status or BatchJobStatus(), job.spec
    known = status.to_json()
    shown = (
        "counts", "duration", "rate", "queuePosition", "estimatedStartTime", "estimatedCompletionTime", "startTime",
        "completionTime", "failedItems", "lastErrors", "usage", "conditions", "results", "effective",
    )  # fmt: skip
    return {
        "id": job_id(*job.key),
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "type": spec.type,
        "queue": spec.queue,
        "owner": spec.owner,
        "labels": body["metadata"].get("labels") or {},
        "createdAt": job.metadata.creation_timestamp,
        "state": phase_of(job).lower(),
        "progress": progress_of(status),
        **{name: known[name] for name in shown if name in known},
        "data": body["spec"],
        "returnvalue": return_value(status),
        "links": links(job_id(*job.key)),
    }


def return_value(status: BatchJobStatus) -> dict[str, int] | None:
    """What came of it; None until it has ended."""
    if not is_terminal(status):
        return None
    counts = status.counts
    done = {"succeeded": counts.succeeded, "failed": counts.failed, "cancelled": counts.cancelled}
    return {"processed": counts.succeeded + counts.failed} | done


def seed_view(job: BatchJob, body: Mapping[str, Any]) -> dict[str, Any]:
    """One BatchJob in the words of the earlier queue."""
    status = job.status or BatchJobStatus()
    block = body["spec"].get("aiBatch", {})
    items = body["spec"].get("source", {}).get("items", [])
    return {
        "id": job_id(*job.key),
        "state": SEED_STATES[phase_of(job)],
        "progress": progress_of(status),
        "data": {"items": items, "formSchema": block.get("formSchema"), "userId": job.spec.owner},
        "returnvalue": return_value(status),
    }


def etag(body: Any) -> str:
    """Names this very answer."""
    return f'"{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]}"'


def is_known(given: str | None, tag: str) -> bool:
    """Whether an If-None-Match has it: weak or strong is the same for GET."""
    names = [name.strip().removeprefix("W/") for name in (given or "").split(",")]
    return tag in names or names == ["*"]
