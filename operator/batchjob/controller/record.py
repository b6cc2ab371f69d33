"""The record of a run that ends, from what its last status says and what the store counted. Pure."""

from datetime import datetime

from batchjob.api.status import BatchJobStatus
from batchjob.controller.observed import Observed
from batchjob.core.records import USAGES, RunRecord, bounded, largest


def build_record(seen: Observed, status: BatchJobStatus, reason: str) -> RunRecord:
    """What is kept of a run for reports; `status` is its last one."""
    job, counts = seen.job, status.counts
    return RunRecord(
        uid=job.metadata.uid,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        owner=job.spec.owner,
        type=job.spec.type,
        queue=job.spec.queue,
        phase=status.phase,
        reason=reason,
        created=_moment(job.metadata.creation_timestamp) or seen.now.timestamp(),
        started=_moment(status.start_time),
        ended=_moment(status.completion_time) or seen.now.timestamp(),
        active_seconds=status.active_seconds,
        total=bounded(counts.total),
        succeeded=bounded(counts.succeeded),
        failed=bounded(counts.failed),
        cancelled=bounded(counts.cancelled),
        skipped=bounded((status.source.bad_items if status.source else None) or 0),
        retried=seen.tally.retried,
        repeated=bounded(counts.retried_after_loss),
        failures=seen.tally.failures,
        durations=seen.tally.durations,
        usage=largest(status.usage, USAGES),
    )


def _moment(text: str | None) -> float | None:
    """Seconds since 1970 of a time as Kubernetes writes them."""
    return datetime.fromisoformat(text).timestamp() if text else None
