"""What a look at a BatchSchedule knows when it decides: values, read from the objects of the API server. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from batchjob.api.schedule import BatchSchedule
from batchjob.api.status import ConditionType, Phase
from batchjob.controller.light import lighten, shed
from batchjob.controller.rows import mapping
from batchjob.controller.schedules.manifests import CAUGHT_UP, JOB_MANAGER, JOB_TIME, run_name
from batchjob.core.phases import TERMINAL


@dataclass(frozen=True)
class SeenCronJob:
    """A CronJob of the BatchSchedule."""

    name: str
    uid: str
    version: str
    created: datetime
    last: datetime | None  # the newest time for which it made a Job
    succeeded: datetime | None  # when one of its Jobs was last Complete
    body: Mapping[str, Any]


@dataclass(frozen=True)
class SeenJob:
    """A Job of one of its CronJobs."""

    name: str
    uid: str
    version: str
    cron_job_uid: str
    created: str
    start: str | None  # its BatchJob is there since then
    at: datetime  # the time that it is for; made by hand: its creation
    by_hand: bool
    caught_up: bool  # we made it, for a time that was missed
    ended: bool
    run: str  # name of its BatchJob


@dataclass(frozen=True)
class SeenRun:
    """A BatchJob with its label."""

    name: str
    job_uid: str | None
    owner: str | None
    ended: bool
    complete: bool
    reason: str  # of its condition Complete or Failed
    message: str
    completion_time: str | None


@dataclass(frozen=True, kw_only=True)
class SeenSchedule:
    """One BatchSchedule and everything that decides about it, at one moment."""

    schedule: BatchSchedule
    template: Mapping[str, Any]  # spec.jobTemplate as the API server has it
    now: datetime
    image: str
    cron_jobs: Sequence[SeenCronJob] = ()
    jobs: Sequence[SeenJob] = ()  # not those that are being deleted
    runs: Mapping[str, SeenRun] = field(default_factory=dict)  # by name

    def run_of(self, job: SeenJob) -> SeenRun | None:
        """The BatchJob of a Job; not one that only has the name."""
        run = self.runs.get(job.run)
        return run if run and self.is_ours(run) else None

    def is_ours(self, run: SeenRun) -> bool:
        """Whether we made it: it belongs to a Job that wants this name, and to the owner of the BatchSchedule.

        Anybody may write a label, a name and the uid of a Job, but who may not name another owner cannot write that.
        """
        wanted = {job.uid for job in self.jobs if job.run == run.name}  # several: Jobs for the same time
        return run.job_uid in wanted and run.owner == self.schedule.spec.owner


def read_cron_job(body: dict[str, Any]) -> SeenCronJob:
    """A CronJob."""
    metadata, status = body["metadata"], body.get("status", {})
    return SeenCronJob(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        last=_time(status.get("lastScheduleTime")),
        succeeded=_time(status.get("lastSuccessfulTime")),
        body=body,
    )


def read_job(body: dict[str, Any], schedule: str, cron_job_uid: str) -> SeenJob | None:
    """A Job that is ours to keep the books of; None if it is not, or is being deleted."""
    metadata, status = body["metadata"], body.get("status", {})
    if body["spec"].get("managedBy") != JOB_MANAGER or "deletionTimestamp" in metadata:
        return None
    annotations = metadata.get("annotations", {})
    try:
        at = _time(annotations.get(JOB_TIME))
    except ValueError:  # written by hand
        at = None
    conditions = {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}
    return SeenJob(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        cron_job_uid=cron_job_uid,
        created=metadata["creationTimestamp"],
        start=status.get("startTime"),
        at=at or datetime.fromisoformat(metadata["creationTimestamp"]),
        by_hand=at is None,
        caught_up=annotations.get(CAUGHT_UP) == "true",
        ended=bool(conditions & {"Complete", "Failed"}),
        run=run_name(schedule, metadata["name"], at),
    )


def shorten_schedule(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a BatchSchedule: a template with 64 KiB of items takes a tenth as JSON; `whole` unpacks it."""
    shed(body["metadata"], ())
    spec = mapping(body.get("spec"))
    if isinstance(template := spec.get("jobTemplate"), dict):
        spec["jobTemplate"] = json.dumps(template, separators=(",", ":"))
    return body


def whole(body: dict[str, Any]) -> dict[str, Any]:
    """A BatchSchedule of which `shorten_schedule` kept this."""
    spec = mapping(body.get("spec"))
    if isinstance(packed := spec.get("jobTemplate"), str):
        spec = spec | {"jobTemplate": json.loads(packed)}
    return body | {"spec": spec}


def shorten_cron_job(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a CronJob."""
    body["metadata"].pop("managedFields", None)
    return body


def shorten_job(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a Job: what `read_job` and the informer's index read."""
    shed(body["metadata"], (JOB_TIME, CAUGHT_UP))
    spec, status = mapping(body.get("spec")), mapping(body.get("status"))
    kept = {name: status[name] for name in ("startTime", "conditions") if name in status}
    return {"metadata": body["metadata"], "spec": {"managedBy": spec.get("managedBy")}, "status": kept}


def shorten_run(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a BatchJob: `read_run` and `turns` need it, of ended ones too, and nobody asks what they ran."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    kept = {name: status[name] for name in ("phase", "conditions", "completionTime") if name in status}
    return {"metadata": lighten(body)["metadata"], "spec": {"owner": spec.get("owner")}, "status": kept}


def read_run(body: dict[str, Any], job_uid: str | None) -> SeenRun:
    """A BatchJob."""
    status = body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions", ()) if c["status"] == "True"}
    end = conditions.get(ConditionType.COMPLETE) or conditions.get(ConditionType.FAILED) or {}
    return SeenRun(
        name=body["metadata"]["name"],
        job_uid=job_uid,
        owner=(body.get("spec") or {}).get("owner"),
        ended=status.get("phase") in TERMINAL,
        complete=status.get("phase") == Phase.SUCCEEDED,
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        completion_time=status.get("completionTime"),
    )


def _time(text: str | None) -> datetime | None:
    """A time with its zone, in UTC; ValueError for anything else."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is before the year 1, or after 9999, in UTC") from None
