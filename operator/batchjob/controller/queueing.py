"""What a BatchJob and its queue have to say to each other: may it be here, and what does it want. Pure."""

from batchjob.api.queue import QueueLimits
from batchjob.api.run import SourceLimits
from batchjob.controller.observed import ChildJob, Observed, Trouble
from batchjob.core.admission import Claim
from batchjob.core.events import OPEN
from batchjob.core.rates import items_per_minute
from batchjob.core.reasons import Reason
from batchjob.core.slots import wanted_slots


def refused_by_queue(seen: Observed) -> Trouble | None:
    """Why its queue does not take it; it heals when the queue, or what may change of the BatchJob, does."""
    job, queue, name = seen.job, seen.queue, seen.job.spec.queue
    if seen.queue_unreadable:
        message = (
            f"spec.queueName: this operator cannot read BatchQueue {name}, and lets nothing start in it. Correct the "
            "BatchQueue, or upgrade the operator."
        )
        return Trouble(Reason.QUEUE_NOT_FOUND, message)
    if queue is None:
        message = f"spec.queueName: there is no BatchQueue {name}. Create it, or name another one in a new BatchJob."
        return Trouble(Reason.QUEUE_NOT_FOUND, message)
    namespace = job.metadata.namespace
    if queue.allowed_namespaces and namespace not in queue.allowed_namespaces:
        message = (
            f"spec.queueName: BatchQueue {name} takes no BatchJobs of namespace {namespace} "
            "(BatchQueue, spec.allowedNamespaces)."
        )
        return Trouble(Reason.QUEUE_NOT_ALLOWED, message)
    limits = queue.limits
    for field, value, limit in (
        ("spec.parallelism", job.spec.parallelism, limits.max_parallelism),
        ("spec.retry.maxAttempts", seen.in_force.max_attempts, limits.max_attempts),
        ("the number of spec.source.items", seen.inline.number, limits.max_items),
        ("the bytes of spec.source.items", seen.inline.size_bytes, limits.max_payload_bytes),
    ):
        if limit is not None and value > limit:
            message = f"{field} is {value}; BatchQueue {name} allows {limit} (BatchQueue, spec.limits)."
            return Trouble(Reason.LIMIT_EXCEEDED, message)
    if limits.min_priority is not None and seen.in_force.priority < limits.min_priority:
        message = (
            f"spec.priority is {seen.in_force.priority}; BatchQueue {name} allows {limits.min_priority} to 10 "
            "(BatchQueue, spec.limits.minPriority). Set it, or have the queue set spec.defaults.priority."
        )
        return Trouble(Reason.LIMIT_EXCEEDED, message)
    return None


def source_limits(seen: Observed) -> SourceLimits:
    """What the loader holds the source to: it is the first to see it."""
    if seen.queue is None:
        return SourceLimits()
    limits = seen.queue.limits
    return SourceLimits(max_items=limits.max_items, max_payload_bytes=limits.max_payload_bytes)


def build_claim(seen: Observed) -> Claim:
    """What a BatchJob that wants to run asks of its queue."""
    job, limits = seen.job, seen.queue.limits if seen.queue else QueueLimits()
    return Claim(
        priority=max(seen.in_force.priority, limits.min_priority or 1),  # it may change while it runs
        created=job.metadata.creation_timestamp,
        uid=job.metadata.uid,
        owner=owner_of(job.spec.owner, job.metadata.namespace),
        workers=min(_slots(seen), limits.max_parallelism or job.spec.parallelism),
    )


def owner_of(named: str | None, namespace: str) -> str:
    """Who takes turns with others in a queue: where nobody is named, a namespace does."""
    return named or f"namespace {namespace}"


def held_slots(child: ChildJob | None) -> int:
    """Worker pods that a queue counts for this Job: those it has, or gets as soon as Kueue lets it."""
    return child.parallelism if child and not child.ended and (child.kueue or not child.suspended) else 0


def _slots(seen: Observed) -> int:
    spec, child, snapshot = seen.job.spec, seen.child, seen.snapshot
    inline = seen.inline.number or None
    total = snapshot.total if snapshot else None  # None: not known yet
    if child and not child.ended:
        # Where pods run, their number follows what was open when their Job was made (of a source that was not read by
        # then, nothing was known) and not what is left: Kubernetes would take away the last slots of a Job, and not
        # those that have nothing to do.
        total = inline or (total if child.finished_before else None)
        items = total - child.finished_before if total else None
    elif snapshot and total is not None:
        items = sum(getattr(snapshot.counts, name) for name in OPEN)
    else:
        items = inline
    return wanted_slots(spec, items, items_per_minute(spec, seen.queue.rate_limits if seen.queue else ()))
