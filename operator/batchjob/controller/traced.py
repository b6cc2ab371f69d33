"""What logs and traces say of the run of a BatchJob."""

from contextlib import AbstractContextManager

import structlog

from batchjob import traces
from batchjob.api.status import Phase
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import Entry
from batchjob.core.records import RunRecord
from batchjob.core.trace_context import read_traceparent, run_context


def named_in_logs(key: ObjectKey, entry: Entry | None) -> AbstractContextManager[None]:
    """Every line that is written in here says which BatchJob it is about."""
    named = {"job": "/".join(key)}
    if entry is not None:
        named |= {"owner": entry.owner} if entry.owner else {}
        named |= {"trace_id": run_context(entry.uid, entry.traceparent).trace_id} if entry.body is not None else {}
    return structlog.contextvars.bound_contextvars(**named)


def tell_run(record: RunRecord, traceparent: str | None) -> None:
    """The span of a run that has ended, above those of its attempts and below that of the request that made it."""
    if (tracing := traces.tracing()) is None:
        return
    told: dict[str, str | int | float] = {
        "k8s.namespace.name": record.namespace,
        "batchjob.name": record.name,
        "batchjob.uid": record.uid,
        "batchjob.type": record.type,
        "batchjob.queue": record.queue,
        "batchjob.phase": record.phase,
        "batchjob.items": record.total,
        "batchjob.items.succeeded": record.succeeded,
        "batchjob.items.failed": record.failed,
    }
    told |= {"batchjob.owner": record.owner} if record.owner else {}
    own, parent = run_context(record.uid, traceparent), read_traceparent(traceparent)
    is_bad = record.phase == Phase.FAILED
    tracing.tell(
        own, parent, f"run {record.type}", (record.created, record.ended), told, record.reason if is_bad else None
    )
