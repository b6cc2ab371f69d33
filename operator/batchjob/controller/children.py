"""What Kubernetes says of a run's children: its Jobs, and why their pods do not start. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from batchjob.api.run import EXIT_CONFIGURATION
from batchjob.controller.manifests import KUEUE_LABEL, child_name
from batchjob.controller.observed import EPOCH, FINISHED_BEFORE, FRUITLESS_BEFORE, ChildJob, Trouble
from batchjob.core.reasons import Reason

_PULL: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_OUT_OF_MEMORY: Final = "OOMKilled"
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def newest_child(jobs: Iterable[dict[str, Any]], name: str, uid: str, created: int, now: datetime) -> ChildJob | None:
    """The newest of a run's Jobs; one that is being deleted counts as gone. `created`: status.jobsCreated.

    One Job more than the status knows may exist: the status is written last.
    """
    by_name = {job["metadata"]["name"]: job for job in jobs}
    for index in range(created, -1, -1):
        job = by_name.get(child_name(name, uid, index))
        if job is not None and "deletionTimestamp" not in job["metadata"]:
            return read_child(job, index, now)
    return None


def read_child(job: dict[str, Any], index: int, now: datetime) -> ChildJob:
    """A Job of ours."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status", {})
    annotations = metadata.get("annotations", {})
    conditions = {c["type"]: c for c in status.get("conditions", ()) if c["status"] == "True"}
    failed = conditions.get("Failed")
    begun = status.get("startTime")
    return ChildJob(
        index=index,
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        suspended=spec.get("suspend", False),
        kueue=metadata.get("labels", {}).get(KUEUE_LABEL),
        parallelism=spec.get("parallelism", 1),
        active=status.get("active", 0),
        ready=status.get("ready", 0),
        failed=status.get("failed", 0),
        begun=begun is not None,
        age_seconds=(now - datetime.fromisoformat(begun or metadata["creationTimestamp"])).total_seconds(),
        ended="Complete" in conditions or failed is not None,
        failure=(failed.get("reason", ""), failed.get("message", "")) if failed else None,
        epoch=annotations.get(EPOCH, ""),
        finished_before=_number(annotations.get(FINISHED_BEFORE)),
        fruitless_before=_number(annotations.get(FRUITLESS_BEFORE)),
    )


def is_held(pods: Iterable[dict[str, Any]]) -> bool:
    """Whether a pod has failed and been deleted, and is still there.

    With a limit for each index, the Job controller keeps it until it has made the next one of that index. A namespace
    that is being deleted lets it make none, and its Jobs are deleted after its pods: it would never go.
    """
    return any("deletionTimestamp" in pod["metadata"] and _has_failed(pod) for pod in pods)


def why_not_starting(pods: Iterable[dict[str, Any]]) -> Trouble | None:
    """Why pods of a run do not start, as their container or the scheduler says; None if nothing is said."""
    for pod in pods:
        status = pod.get("status", {})
        for container in status.get("containerStatuses", ()):
            if trouble := _waiting(pod, container):
                return trouble
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
                message = f"No node takes pod {_name(pod)}: {condition.get('message', '')}"
                return Trouble(Reason.POD_UNSCHEDULABLE, message)
    return None


def why_killed(pods: Iterable[dict[str, Any]]) -> Trouble | None:
    """Why workers do not last: the newest that failed had too little memory; None if it was something else."""
    newest = max(filter(_has_failed, pods), key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
    for container in newest["status"].get("containerStatuses", ()) if newest else ():
        ended = container.get("state", {}).get("terminated") or {}
        if newest and ended.get("reason") == _OUT_OF_MEMORY:
            message = (
                f"Pod {_name(newest)} was killed because it needed more memory than its limit allows. Raise "
                "spec.worker.resources.limits.memory, or lower spec.concurrency, in a new BatchJob."
            )
            return Trouble(Reason.OUT_OF_MEMORY, message)
    return None


def why_not_created(events: Iterable[dict[str, Any]]) -> Trouble | None:
    """Why a Job cannot create its pods (quota, admission, service account), from its newest warning."""
    warnings = [event for event in events if event.get("reason") == "FailedCreate"]
    if not warnings:
        return None
    newest = max(warnings, key=lambda event: int(event["metadata"]["resourceVersion"]))
    return Trouble(Reason.POD_REFUSED, f"Kubernetes refuses to create the pods: {newest.get('message', '')}")


def what_misconfigured_pod_said(pods: Iterable[dict[str, Any]]) -> str | None:
    """The termination message of a pod that ended because its configuration cannot work."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            ended = container.get("state", {}).get("terminated") or {}
            if ended.get("exitCode") == EXIT_CONFIGURATION and ended.get("message", "").strip():
                return str(ended["message"]).strip()
    return None


def _waiting(pod: dict[str, Any], container: dict[str, Any]) -> Trouble | None:
    waiting = container.get("state", {}).get("waiting") or {}
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL:
        message = (
            f"Pod {_name(pod)} cannot get its image {container.get('image', '')}: {reason}: {said.rstrip('. ')}. "
            "Mend the image's name, push the image, or name a pull secret in spec.worker.imagePullSecrets."
        )
        return Trouble(Reason.IMAGE_PULL_FAILED, message)
    if reason in _CONFIG:
        return Trouble(Reason.POD_NOT_STARTING, f"Pod {_name(pod)} cannot start: {reason}: {said}")
    return None


def _has_failed(pod: dict[str, Any]) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Failed")


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
