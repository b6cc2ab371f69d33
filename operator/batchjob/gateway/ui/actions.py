"""What the buttons do: they change the custom resource, so kubectl, Git and these pages see one truth. Pure."""

import hashlib
from enum import StrEnum
from typing import Any, Final

from batchjob.api.base import API_VERSION, MAX_NAME
from batchjob.api.policies import Retention
from batchjob.api.status import ConditionType
from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.core.phases import is_terminal
from batchjob.core.reasons import Reason


class Action(StrEnum):
    """What can be done to a BatchJob, one or many."""

    REDRIVE = "redrive"
    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"


DESTRUCTIVE: Final = frozenset({Action.CANCEL})  # there is no way back
HELD: Final = frozenset({Reason.STORE_LOST, Reason.FAILURE_THRESHOLD, Reason.BUDGET_EXCEEDED})
# Of a spec that is run again: the new run is not paused or ended because the old one was.
_OF_THE_OLD_RUN: Final = ("suspend", "cancel", "resumeToken", "startAfter", "source")


def obstacle(action: Action, job: BatchJob) -> str | None:
    """Why an action makes no sense now; None where it does."""
    if action is Action.REDRIVE:
        return None if job.status and job.status.counts.failed else "it has no failed items"
    if job.status and is_terminal(job.status):
        return f"it has ended ({job.status.phase})"
    if action is Action.CANCEL:
        return "it is being cancelled already" if job.spec.cancel else None
    if action is Action.SUSPEND:
        return "it is suspended already" if job.spec.suspend or is_held(job) else None
    return None if job.spec.suspend or is_held(job) else "it is not suspended"


def is_held(job: BatchJob) -> bool:
    """Whether it waits for somebody to decide that it may go on."""
    condition = job.status and job.status.condition(ConditionType.SUSPENDED)
    return bool(condition and condition.status == "True" and condition.reason in HELD)


def build_change(action: Action, job: BatchJob, token: str) -> dict[str, Any]:
    """The merge patch of an action but a redrive. `token`: what nobody used before, should it be held."""
    spec: dict[str, Any] = {"suspend": action is Action.SUSPEND}
    if action is Action.CANCEL:
        spec = {"cancel": True}
    elif action is Action.RESUME and is_held(job):
        spec["resumeToken"] = token
    # The uid: one of the same name that was made meanwhile may be another's.
    return {"metadata": {"uid": job.metadata.uid}, "spec": spec}


def build_redrive(job: BatchJob, body: dict[str, Any], caller: str, error_class: str = "") -> dict[str, Any]:
    """A BatchJob that tries the failed items of another one again: all, or those of an error class.

    Its name follows from what it redrives, so that a form that was sent twice makes one.
    """
    chosen: dict[str, Any] = {"filter": {"errorClass": [error_class]}} if error_class else {}
    digest = hashlib.sha256(f"{job.metadata.uid}\0{error_class}".encode()).hexdigest()[:8]
    ending = f"-redrive-{digest}"
    retention = job.spec.retention or Retention()
    kept = {name: value for name, value in body["spec"].items() if name not in _OF_THE_OLD_RUN}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": job.metadata.name[: MAX_NAME - len(ending)].rstrip("-.") + ending,
            "namespace": job.metadata.namespace,
        },
        "spec": {
            "owner": caller,
            "ttlSecondsAfterFinished": retention.failed_seconds,  # or what pages make would fill the cluster
            **kept,
            "source": {"redriveOf": {"batchJobName": job.metadata.name, **chosen}},
        },
    }
