"""What can be done to a BatchJob, by the API, the pages and the command line. Pure; each of them does it by itself.

It changes the custom resource, so kubectl, Git, the API, the pages and the command line see one truth.
"""

import hashlib
from enum import StrEnum
from typing import Any, Final

from batchjob.api.base import MAX_NAME
from batchjob.api.status import ConditionType
from batchjob.api.v1alpha1 import BatchJob
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
TRACKING: Final = (
    *("app.kubernetes.io/instance", "argocd.argoproj.io/instance"),
    *("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"),
)
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
    specs: dict[Action, dict[str, Any]] = {
        Action.CANCEL: {"cancel": True},
        Action.SUSPEND: {"suspend": True},
        Action.RESUME: {"suspend": False, "resumeToken": token},
    }
    # The uid: one of the same name that was made meanwhile may be another's.
    return {"metadata": {"uid": job.metadata.uid}, "spec": specs[action]}


def build_redrive(job: BatchJob, body: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The spec of a BatchJob that tries the failed items of another one again; `wanted` says which (`filter`).

    Its owner stays, or that it has none: redriveOf reaches BatchJobs of the same owner alone.
    """
    kept = {name: value for name, value in body["spec"].items() if name not in _OF_THE_OLD_RUN}
    return kept | {"source": {"redriveOf": {"batchJobName": job.metadata.name, **wanted}}}


def redrive_labels(body: dict[str, Any]) -> dict[str, str]:
    """Labels for it: those of the other one, but those by which GitOps finds, and removes, what is not in Git."""
    labels = body["metadata"].get("labels") or {}
    return {name: value for name, value in labels.items() if not name.startswith(TRACKING)}


def redrive_name(job: BatchJob, mark: str) -> str:
    """Its name: the same for the same mark, so that what is sent twice makes one."""
    digest = hashlib.sha256(f"{job.metadata.uid}\0{mark}".encode()).hexdigest()[:10]
    ending = f"-redrive-{digest}"
    return job.metadata.name[: MAX_NAME - len(ending)].rstrip("-.") + ending
