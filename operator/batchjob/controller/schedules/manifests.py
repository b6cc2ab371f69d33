"""The objects a BatchSchedule is made of: CronJobs, Jobs without pods, BatchJobs, and what the Jobs' status says. Pure.

A Job whose `managedBy` is ours is a placeholder in Kubernetes' books: the CronJob controller makes, counts, replaces
and removes it, and the Job controller leaves it alone. It owns its BatchJob, and lives as long.
"""

import hashlib
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from batchjob.api.base import API_VERSION, GROUP, MAX_NAME
from batchjob.api.schedule import SCHEDULE_KIND, BatchSchedule, ConcurrencyPolicy
from batchjob.controller.manifests import HASH_LENGTH, MANAGED_BY, MANAGER
from batchjob.controller.status import MESSAGE_LIMIT, clip, format_time
from batchjob.core.reasons import Reason
from batchjob.core.schedule_runs import SCHEDULE_LABEL, build_run

CAUGHT_UP: Final = f"{GROUP}/caught-up"  # on Jobs: "true" where its time was missed and we made it later
JOB_MANAGER: Final = f"{GROUP}/schedule"  # spec.managedBy of the Jobs
JOB_TIME: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def cron_job_name(schedule: str, text: str, zone: str) -> str:
    """Another time is another CronJob: Kubernetes would make up for the times that the new string names in the past."""
    return f"{schedule}-{_digest(f'{zone} {text}')}"


def run_name(schedule: str, job_name: str, at: datetime | None) -> str:
    """The name of the BatchJob of a Job: by its time, so that each time runs once. None: made by hand, by its name."""
    if at is not None:
        return f"{schedule}-{at.astimezone(UTC):%Y%m%d%H%M}"
    plain = job_name.replace(".", "-")
    if plain == job_name and len(plain) <= MAX_NAME:
        return plain
    return f"{plain[: MAX_NAME - HASH_LENGTH - 1].rstrip('-')}-{_digest(job_name)}"


def parts_of(cron_job: dict[str, Any]) -> dict[str, Any]:
    """What of a CronJob is ours to set back."""
    return {"metadata": {"labels": cron_job["metadata"]["labels"]}, "spec": cron_job["spec"]}


def build_cron_job(schedule: BatchSchedule, text: str, image: str) -> dict[str, Any]:
    """The CronJob of one cron string. None stands for a field that has to be absent."""
    metadata, spec = schedule.metadata, schedule.spec
    labels = {MANAGED_BY: MANAGER, SCHEDULE_LABEL: metadata.name}
    # Queue is ours: the BatchJobs wait, and their Jobs are there at once.
    policy = ConcurrencyPolicy.ALLOW if spec.concurrency_policy is ConcurrencyPolicy.QUEUE else spec.concurrency_policy
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": cron_job_name(metadata.name, text, spec.time_zone),
            "namespace": metadata.namespace,
            "labels": labels,
            "ownerReferences": [_controller(API_VERSION, SCHEDULE_KIND, metadata.name, metadata.uid)],
        },
        "spec": {
            "schedule": text,
            "timeZone": spec.time_zone,
            "suspend": spec.suspend,
            "concurrencyPolicy": str(policy),
            "startingDeadlineSeconds": spec.starting_deadline_seconds,
            "successfulJobsHistoryLimit": spec.successful_jobs_history_limit,
            "failedJobsHistoryLimit": spec.failed_jobs_history_limit,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": _job_spec(image)},
        },
    }


def build_missed_job(cron_job: dict[str, Any], uid: str, at: datetime, zone: tzinfo) -> dict[str, Any]:
    """The Job of a time that was missed: the one, by name and spec, that Kubernetes would have made then."""
    template, name = cron_job["spec"]["jobTemplate"], cron_job["metadata"]["name"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name}-{int(at.timestamp()) // 60}",
            "namespace": cron_job["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {JOB_TIME: at.astimezone(zone).isoformat(), CAUGHT_UP: "true"},
            "ownerReferences": [_controller("batch/v1", "CronJob", name, uid)],
        },
        "spec": template["spec"],
    }


def build_run_of(
    schedule: BatchSchedule, template: dict[str, Any], name: str, at: datetime, job: tuple[str, str]
) -> dict[str, Any]:
    """The BatchJob of a Job (name, uid)."""
    return build_run(schedule, template, name, at, _controller("batch/v1", "Job", *job))


def job_begun(now: datetime) -> dict[str, Any]:
    """The status of a Job whose BatchJob is there; `active` counts that as the one pod it never has."""
    return {"startTime": format_time(now), "active": 1}


def job_complete(start: str, end: str, now: datetime) -> dict[str, Any]:
    """The status of a Job whose BatchJob is Complete. Kubernetes demands both conditions and both times."""
    message = "Its BatchJob is Complete."
    conditions = [_condition(kind, Reason.SUCCEEDED, message, now) for kind in ("SuccessCriteriaMet", "Complete")]
    return {"startTime": start, "completionTime": end, "active": 0, "succeeded": 1, "conditions": conditions}


def job_failed(start: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The status of a Job whose BatchJob failed or went. Kubernetes demands both conditions, and no completion time."""
    conditions = [_condition(kind, reason, message, now) for kind in ("FailureTarget", "Failed")]
    return {"startTime": start, "active": 0, "failed": 1, "conditions": conditions}


def fits(actual: Any, wanted: Any) -> bool:
    """Whether an object says what it should; what it says besides is its own. None: absent."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(fits(actual.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(actual, list) and len(actual) == len(wanted) and all(map(fits, actual, wanted))
    return bool(actual == wanted)


def _job_spec(image: str) -> dict[str, Any]:
    """No pod is made of it; but Kubernetes wants a template, and policies look at it (Restricted, known images)."""
    container = {
        "name": "none",
        "image": image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"managedBy": JOB_MANAGER, "template": {"spec": pod}}


def _controller(api_version: str, kind: str, name: str, uid: str) -> dict[str, Any]:
    # Without blockOwnerDeletion: it would need a right on the owner's finalizers.
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}


def _condition(kind: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    said = {"reason": reason, "message": clip(message, MESSAGE_LIMIT)}
    return {"type": kind, "status": "True", "lastTransitionTime": format_time(now), **said}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
