"""An action on many BatchJobs: before, which it fits and what is to be typed; after, what became of them. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from batchjob.api.status import BatchJobStatus
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.actions import DESTRUCTIVE, Action, obstacle
from batchjob.gateway.ui import words
from batchjob.gateway.ui.views_jobs import job_path

MOST_NAMED: Final = 20  # BatchJobs of a reason that are named
MOST_REASONS: Final = 20
_PAST: Final = {
    Action.REDRIVE: "redriven",
    Action.SUSPEND: "suspended",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
}
_CONSEQUENCES: Final = {
    Action.REDRIVE: "For each, a new BatchJob tries its {failed} again; the old one stays as it is.",
    Action.SUSPEND: "Pods go, and items wait until they are resumed.",
    Action.RESUME: "They go on where they were, as soon as their queues let them.",
    Action.CANCEL: "Pods go, and {open} will not be done.",
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
    count: int  # of those that it fits, as far as that is known before
    fit: tuple[BulkJob, ...]
    left: tuple[BulkJob, ...]
    typed: str  # what has to be typed first; empty: nothing
    error_class: str
    query: str | None = None  # all that a search finds, and that is looked at when its turn comes
    until: int = 0  # made before, seconds since 1970
    more: bool = False  # the search finds more than one form is for


@dataclass(frozen=True)
class Outcome:
    """What became of one: `done`, `left` as it is, or `refused`."""

    kind: str
    job: BulkJob


@dataclass(frozen=True)
class Reason:
    """Why some were left or refused, and the first of them."""

    text: str
    count: int
    jobs: tuple[BulkJob, ...]


@dataclass(frozen=True)
class BulkResult:
    """What became of all."""

    label: str
    past: str
    count: int
    done: tuple[BulkJob, ...]
    left: tuple[Reason, ...]
    refused: tuple[Reason, ...]


def label_of(action: Action, error_class: str) -> str:
    """What is done, before "3 BatchJobs"."""
    return action.value.capitalize() + (f" {error_class} of" if error_class else "")


def typed_for(action: Action, count: int) -> str:
    """What has to be typed before; empty: nothing."""
    return f"{action.value} {count}" if action in DESTRUCTIVE else ""


def build_plan(action: Action, jobs: Sequence[BatchJob], missing: Sequence[BulkJob], error_class: str = "") -> BulkPlan:
    """The plan of an action. `missing`: what is not there, or another one's."""
    fit = [job for job in jobs if obstacle(action, job) is None]
    left = [_line(job, obstacle(action, job) or "") for job in jobs if obstacle(action, job)]
    counts = [(job.status or BatchJobStatus()).counts for job in fit]
    failed = words.plural(sum(one.failed for one in counts), "failed item")
    still = words.plural(sum(one.waiting + one.delayed + one.active for one in counts), "item")
    return BulkPlan(
        action=action.value,
        label=label_of(action, error_class),
        past=_PAST[action],
        consequence=_CONSEQUENCES[action].format(failed=failed, open=still),
        count=len(fit),
        fit=tuple(_line(job, _state(job)) for job in fit),
        left=(*left, *missing),
        typed=typed_for(action, len(fit)),
        error_class=error_class,
    )


def build_many(
    action: Action, query: str, count: int, until: float, error_class: str = "", *, more: bool = False
) -> BulkPlan:
    """The plan for all that a search finds, where those are too many to be looked at before."""
    consequence = _CONSEQUENCES[action].format(failed="failed items", open="what is not done yet")
    return BulkPlan(
        action=action.value,
        label=label_of(action, error_class),
        past=_PAST[action],
        consequence=f"{consequence} Each is looked at in its turn, and left as it is where that makes no sense.",
        count=count,
        fit=(),
        left=(),
        typed=typed_for(action, count),
        error_class=error_class,
        query=query,
        until=int(until),
        more=more,
    )


def sum_up(action: Action, outcomes: Sequence[Outcome], error_class: str = "") -> BulkResult:
    """What became of all: the done by name, the others by reason, most frequent first."""
    return BulkResult(
        label=label_of(action, error_class),
        past=_PAST[action],
        count=len(outcomes),
        done=tuple(one.job for one in outcomes if one.kind == "done"),
        left=_reasons([one.job for one in outcomes if one.kind == "left"]),
        refused=_reasons([one.job for one in outcomes if one.kind == "refused"]),
    )


def _reasons(jobs: Sequence[BulkJob]) -> tuple[Reason, ...]:
    counts = Counter(job.detail for job in jobs)
    return tuple(
        Reason(text, count, tuple(job for job in jobs if job.detail == text)[:MOST_NAMED])
        for text, count in counts.most_common(MOST_REASONS)
    )


def bulk_job(namespace: str, name: str, detail: str) -> BulkJob:
    """One of many, by name."""
    return BulkJob(namespace, name, job_path(namespace, name), detail)


def _line(job: BatchJob, detail: str) -> BulkJob:
    return bulk_job(*job.key, detail)


def _state(job: BatchJob) -> str:
    status = job.status or BatchJobStatus()
    return f"{status.phase} {status.progress}".strip()
