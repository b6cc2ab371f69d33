"""The defaults of each job type.

They are not CRD defaults, because they depend on the type; `status.effective` shows the values in force.
"""

from typing import Final

from batchjob.api.retry import Backoff, BackoffStrategy, ClassRetry, Retry
from batchjob.api.status import Effective, EffectiveClassRetry, EffectiveRetry
from batchjob.api.v1alpha1 import BatchJobSpec, JobType

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


def effective(spec: BatchJobSpec) -> Effective:
    """The values in force for this spec: its own, else those of its type."""
    retry = spec.retry or Retry()
    of_type = EffectiveRetry(
        max_attempts=_MAX_ATTEMPTS[spec.type],
        backoff_strategy=BackoffStrategy.EXPONENTIAL,
        initial_delay_seconds=_INITIAL_DELAY_SECONDS[spec.type],
        max_delay_seconds=_MAX_DELAY_SECONDS,
        jitter_percent=_JITTER_PERCENT,
    )
    of_run = _laid_over(of_type, retry)
    of_classes = [
        EffectiveClassRetry(error_class=own.error_class, **_laid_over(of_run, own).model_dump())
        for own in retry.per_error_class or ()
    ]
    return Effective(
        **of_run.model_dump(),
        max_losses=_MAX_LOSSES if retry.max_losses is None else retry.max_losses,
        item_timeout_seconds=spec.item_timeout_seconds or _ITEM_TIMEOUT_SECONDS[spec.type],
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
