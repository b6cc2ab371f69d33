"""The defaults of each job type.

They are not CRD defaults, because they depend on the type; `status.effective` shows the values in force.
"""

from typing import Final

from batchjob.api.queue import QueueDefaults
from batchjob.api.retry import Backoff, BackoffStrategy, ClassRetry, Retry
from batchjob.api.status import Effective, EffectiveClassRetry, EffectiveRetry
from batchjob.api.v1alpha1 import BatchJobSpec, JobType

_PRIORITY: Final = {JobType.AI_BATCH: 1, JobType.EXPORT: 2, JobType.EMAIL: 3, JobType.CUSTOM: 5}
_MAX_ATTEMPTS: Final = {JobType.AI_BATCH: 3, JobType.EXPORT: 2, JobType.EMAIL: 5, JobType.CUSTOM: 3}
_INITIAL_DELAY_SECONDS: Final = {JobType.AI_BATCH: 2, JobType.EXPORT: 2, JobType.EMAIL: 1, JobType.CUSTOM: 2}
_ITEM_TIMEOUT_SECONDS: Final = {
    JobType.AI_BATCH: 300,
    JobType.EXPORT: 120,
    JobType.EMAIL: 60,
    JobType.CUSTOM: 300,
}
_MAX_LOSSES: Final = 3
_MAX_DELAY_SECONDS: Final = 300
_JITTER_PERCENT: Final = 20


def effective(spec: BatchJobSpec, queue: QueueDefaults = QueueDefaults()) -> Effective:  # noqa: B008 - frozen
    """The values in force for this spec: its own, else those of its queue, else those of its type."""
    own, given = spec.retry or Retry(), queue.retry or Retry()
    of_type = EffectiveRetry(
        max_attempts=_MAX_ATTEMPTS[spec.type],
        backoff_strategy=BackoffStrategy.EXPONENTIAL,
        initial_delay_seconds=_INITIAL_DELAY_SECONDS[spec.type],
        max_delay_seconds=_MAX_DELAY_SECONDS,
        jitter_percent=_JITTER_PERCENT,
    )
    of_run = _laid_over(_laid_over(of_type, given), own)
    classes = {entry.error_class: entry for entry in (*(given.per_error_class or ()), *(own.per_error_class or ()))}
    of_classes = [
        EffectiveClassRetry(error_class=entry.error_class, **_laid_over(of_run, entry).model_dump())
        for entry in classes.values()
    ]
    return Effective(
        **of_run.model_dump(),
        queue=spec.queue,
        priority=_first(spec.priority, queue.priority, _PRIORITY[spec.type]),
        max_losses=_first(own.max_losses, given.max_losses, _MAX_LOSSES),
        item_timeout_seconds=_first(
            spec.item_timeout_seconds, queue.item_timeout_seconds, _ITEM_TIMEOUT_SECONDS[spec.type]
        ),
        per_error_class=of_classes or None,
    )


def _laid_over(base: EffectiveRetry, retry: Retry | ClassRetry) -> EffectiveRetry:
    """What `retry` says, else what `base` does. A cap that nobody named never cuts a wait that somebody did."""
    backoff = retry.backoff or Backoff()
    longest = backoff.max_delay_seconds or max(base.max_delay_seconds, backoff.initial_delay_seconds or 0)
    said = {
        "max_attempts": retry.max_attempts,
        "backoff_strategy": backoff.strategy,
        "initial_delay_seconds": backoff.initial_delay_seconds,
        "max_delay_seconds": longest,
        "jitter_percent": backoff.jitter_percent,
    }
    return base.model_copy(update={name: value for name, value in said.items() if value is not None})


def _first(*values: int | None) -> int:
    """The first that is given; the last is."""
    return next(value for value in values if value is not None)
