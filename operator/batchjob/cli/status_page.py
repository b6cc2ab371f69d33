"""One BatchJob on one page: where it stands, why, what failed, who works on it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from batchjob.api.status import BatchJobStatus
from batchjob.api.v1alpha1 import BatchJob
from batchjob.cli.output import clean, paint, table
from batchjob.cli.pods import HEADERS, build_rows
from batchjob.cli.views import age

_COUNTS: Final = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
_LABEL_WIDTH: Final = 10


def build_page(job: BatchJob, pods: Sequence[Mapping[str, Any]] | None, now: datetime) -> Iterator[str]:
    """Its lines; `pods` None: they may not be seen."""
    status = job.status or BatchJobStatus()
    created = job.metadata.creation_timestamp
    yield _line("Name", f"{job.metadata.namespace}/{job.metadata.name}")
    owner = f", owner {job.spec.owner}" if job.spec.owner else ""
    yield _line("Type", clean(f"{job.spec.type}, queue {job.spec.queue}{owner}"))
    yield _line("Phase", paint(clean(status.phase), status.phase) + _since(job, status, created, now))
    yield _line("Items", clean(_items(status)))
    for label, text in _facts(status):
        yield _line(label, clean(text))
    yield from _conditions(status, now)
    yield from _errors(status)
    yield from _pods(pods, now)


def _line(label: str, text: str) -> str:
    return f"{label + ':':<{_LABEL_WIDTH}} {text}"


def _since(job: BatchJob, status: BatchJobStatus, created: str, now: datetime) -> str:
    asked = ", to be cancelled" if job.spec.cancel and not status.completion_time else ""
    made = f", created {age(created, now)} ago" if created else ""
    took = f", took {status.duration}" if status.completion_time and status.duration else ""
    return f"{asked}{made}{took}"


def _items(status: BatchJobStatus) -> str:
    counts = status.counts
    progress = " ".join(filter(None, (status.progress or "0/?", f"({status.percent})" if status.percent else "")))
    told = [f"{getattr(counts, name)} {name}" for name in _COUNTS if getattr(counts, name)]
    again = [f"{counts.retried_after_loss} ran again after a loss"] if counts.retried_after_loss else []
    return ": ".join(filter(None, (progress, ", ".join([*told, *again]))))


def _facts(status: BatchJobStatus) -> Iterator[tuple[str, str]]:
    if status.rate:
        yield (
            "Rate",
            status.rate + (f", {status.active_workers} workers" if status.active_workers else ""),
        )
    if status.queue_position:
        yield "Place", f"{status.queue_position} in its queue"
    if status.estimated_start_time and not status.start_time:
        yield "Starts", f"about {status.estimated_start_time}"
    if status.estimated_completion_time and not status.completion_time:
        yield "Ends", f"about {status.estimated_completion_time}"
    if status.usage:
        yield "Used", ", ".join(f"{name} {number}" for name, number in sorted(status.usage.items()))
    if status.failed_items:
        yield "Failed", f"positions {status.failed_items}"
    if status.results and status.results.uri:
        yield "Results", status.results.uri
    elif status.results and status.results.expires_at:
        yield "Results", f"in the store until {status.results.expires_at}"


def _conditions(status: BatchJobStatus, now: datetime) -> Iterator[str]:
    """Those that are True, with their reasons: why it waits, stands still, or ended."""
    holding = [one for one in status.conditions if one.status == "True"]
    if not status.conditions:
        yield ""
        yield "The operator has not looked at it yet. Should that last: batchjob doctor"
    for one in holding:
        yield ""
        yield f"{one.type}: {clean(one.reason)}, for {age(one.last_transition_time, now)}"
        if one.message:
            yield f"  {clean(one.message)}"


def _errors(status: BatchJobStatus) -> Iterator[str]:
    if status.last_errors:
        yield ""
        yield "The last errors (all of them by cause: batchjob errors NAME):"
        rows = [(error.item_id, error.error_class, error.message) for error in status.last_errors]
        yield from (f"  {line}" for line in table(("ITEM", "CLASS", "MESSAGE"), rows))


def _pods(pods: Sequence[Mapping[str, Any]] | None, now: datetime) -> Iterator[str]:
    if pods is None:
        yield ""
        yield "Its pods are not shown: you may not list pods."
    elif pods:
        yield ""
        yield from table(HEADERS, build_rows(pods, now))
