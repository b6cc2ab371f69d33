"""An action on many BatchJobs, before it is done: which it fits, why not the others, what is to be typed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from batchjob.api.status import BatchJobStatus
from batchjob.api.v1alpha1 import BatchJob
from batchjob.gateway.ui import words
from batchjob.gateway.ui.actions import DESTRUCTIVE, Action, obstacle
from batchjob.gateway.ui.views_jobs import job_path

_PAST: Final = {
    Action.REDRIVE: "redriven",
    Action.SUSPEND: "suspended",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
}
_CONSEQUENCES: Final = {
    Action.REDRIVE: "For each, a new BatchJob tries its {failed} again; the old one stays as it is.",
    Action.SUSPEND: "Their pods go, and their items wait until they are resumed.",
    Action.RESUME: "They go on where they were, as soon as their queues let them.",
    Action.CANCEL: "Their pods go, and {open} will not be done.",
}


@dataclass(frozen=True)
class BulkJob:
    """One of many."""

    namespace: str
    name: str
    path: str
    detail: str


@dataclass(frozen=True)
class BulkPlan:
    """What would be done."""

    action: str
    label: str
    past: str
    consequence: str
    fit: tuple[BulkJob, ...]
    left: tuple[BulkJob, ...]
    typed: str  # what has to be typed first; empty: nothing
    error_class: str
    looked_at: int
    cut: bool  # the search finds more than were looked at


def build_plan(
    action: Action, jobs: Sequence[BatchJob], missing: Sequence[BulkJob], error_class: str = "", *, cut: bool = False
) -> BulkPlan:
    """The plan of an action. `missing`: what is not there, or another one's."""
    fit = [job for job in jobs if obstacle(action, job) is None]
    left = [_line(job, obstacle(action, job) or "") for job in jobs if obstacle(action, job)]
    counts = [(job.status or BatchJobStatus()).counts for job in fit]
    failed = words.plural(sum(one.failed for one in counts), "failed item")
    still = words.plural(sum(one.waiting + one.delayed + one.active for one in counts), "item")
    return BulkPlan(
        action=action.value,
        label=action.value.capitalize() + (f" {error_class} of" if error_class else ""),
        past=_PAST[action],
        consequence=_CONSEQUENCES[action].format(failed=failed, open=still),
        fit=tuple(_line(job, _state(job)) for job in fit),
        left=(*left, *missing),
        typed=f"{action.value} {len(fit)}" if action in DESTRUCTIVE else "",
        error_class=error_class,
        looked_at=len(jobs) + len(missing),
        cut=cut,
    )


def bulk_job(namespace: str, name: str, detail: str) -> BulkJob:
    """One of many, by name."""
    return BulkJob(namespace, name, job_path(namespace, name), detail)


def _line(job: BatchJob, detail: str) -> BulkJob:
    return bulk_job(*job.key, detail)


def _state(job: BatchJob) -> str:
    status = job.status or BatchJobStatus()
    return f"{status.phase} {status.progress}".strip()
