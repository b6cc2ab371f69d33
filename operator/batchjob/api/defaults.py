"""The defaults of each job type.

They are not CRD defaults, because they depend on the type; `status.effective` shows the values in force.
"""

from typing import Final

from batchjob.api.queue import QueueDefaults
from batchjob.api.retry import Backoff, BackoffStrategy, Retry
from batchjob.api.status import Effective
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
    retry = given.model_copy(update=own.model_dump(exclude_none=True, exclude={"backoff"}))
    backoff = given.backoff or Backoff()
    if own.backoff:
        backoff = backoff.model_copy(update=own.backoff.model_dump(exclude_none=True))
    return Effective(
        queue=spec.queue,
        priority=_first(spec.priority, _first(queue.priority, _PRIORITY[spec.type])),
        max_attempts=_first(retry.max_attempts, _MAX_ATTEMPTS[spec.type]),
        max_losses=_first(retry.max_losses, _MAX_LOSSES),
        backoff_strategy=backoff.strategy or BackoffStrategy.EXPONENTIAL,
        initial_delay_seconds=_first(backoff.initial_delay_seconds, _INITIAL_DELAY_SECONDS[spec.type]),
        max_delay_seconds=_first(backoff.max_delay_seconds, _MAX_DELAY_SECONDS),
        jitter_percent=_first(backoff.jitter_percent, _JITTER_PERCENT),
        item_timeout_seconds=_first(
            spec.item_timeout_seconds, _first(queue.item_timeout_seconds, _ITEM_TIMEOUT_SECONDS[spec.type])
        ),
    )


def _first(value: int | None, default: int) -> int:
    return default if value is None else value
