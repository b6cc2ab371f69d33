"""The worker pods of a BatchJob, in a line each. Pure: bodies of the API server's, of which anything may be missing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from batchjob.api.base import GROUP
from batchjob.api.v1alpha1 import BatchJob
from batchjob.cli.views import NONE, age

SLOT: Final = "batch.kubernetes.io/job-completion-index"  # Kubernetes' label
CONTAINER: Final = "worker"
HEADERS: Final = ("POD", "SLOT", "PHASE", "RESTARTS", "AGE", "NODE", "WHY")


def selector_of(job: BatchJob) -> str:
    """The labels of its pods."""
    return job.status.selector if job.status and job.status.selector else f"{GROUP}/uid={job.metadata.uid}"


def slot_of(pod: Mapping[str, Any]) -> str:
    """The slot in which it works."""
    return str((pod["metadata"].get("labels") or {}).get(SLOT, ""))


def build_rows(pods: Sequence[Mapping[str, Any]], now: datetime) -> list[list[str]]:
    """Pods by their slots, the older ones of each first."""
    ordered = sorted(
        pods, key=lambda pod: (slot_of(pod).zfill(6), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
    )
    return [_row(pod, now) for pod in ordered]


def _row(pod: Mapping[str, Any], now: datetime) -> list[str]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    return [
        metadata["name"],
        slot_of(pod) or NONE,
        "Ending" if metadata.get("deletionTimestamp") else str(status.get("phase") or "Pending"),
        str(sum(int(one.get("restartCount") or 0) for one in containers)),
        age(metadata["creationTimestamp"], now),
        str((pod.get("spec") or {}).get("nodeName") or NONE),
        _why_not(status, containers),
    ]


def _why_not(status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    """Why it does not run: what its container or the scheduler says."""
    for container in containers:
        state = container.get("state") or {}
        told = state.get("waiting") or state.get("terminated") or {}
        if told.get("reason") not in (None, "Completed"):
            return ": ".join(str(told[key]) for key in ("reason", "message") if told.get(key))
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""
