"""The defaults of each job type.

They are not CRD defaults, because they depend on the type; `status.effective` shows the values in force.
"""

from typing import Any, Final

from pydantic.alias_generators import to_camel

from batchjob.api.queue import QueueDefaults
from batchjob.api.retry import Backoff, BackoffStrategy, ClassRetry, Retry
from batchjob.api.status import Effective, EffectiveClassRetry, EffectiveRetry, Origin
from batchjob.api.v1alpha1 import BatchJobSpec, JobType

_PRIORITY: Final = {JobType.AI_BATCH: 1, JobType.EXPORT: 2, JobType.EMAIL: 3, JobType.REPORT: 2, JobType.CUSTOM: 5}
_MAX_ATTEMPTS: Final = {JobType.AI_BATCH: 3, JobType.EXPORT: 2, JobType.EMAIL: 5, JobType.REPORT: 2, JobType.CUSTOM: 3}
_INITIAL_DELAY_SECONDS: Final = {
    JobType.AI_BATCH: 2,
    JobType.EXPORT: 2,
    JobType.EMAIL: 1,
    JobType.REPORT: 2,
    JobType.CUSTOM: 2,
}
_ITEM_TIMEOUT_SECONDS: Final = {
    JobType.AI_BATCH: 300,
    JobType.EXPORT: 120,
    JobType.EMAIL: 60,
    JobType.REPORT: 300,
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
    of_type = of_type.model_copy(update={"origins": {to_camel(name): Origin.TYPE for name in of_type.model_fields_set}})
    of_run = _laid_over(_laid_over(of_type, given, Origin.QUEUE), own, Origin.SPEC)
    layers = ((given, Origin.QUEUE), (own, Origin.SPEC))
    classes = {entry.error_class: (entry, origin) for retry, origin in layers for entry in retry.per_error_class or ()}
    of_classes = [
        EffectiveClassRetry(error_class=entry.error_class, **_laid_over(of_run, entry, origin).model_dump())
        for entry, origin in classes.values()
    ]
    said: dict[str, tuple[Any, ...]] = {  # what the BatchJob, its queue and its type say, as Origin has them
        "owner": (spec.owner,),
        "queue": (spec.queue_name, None, spec.queue),
        "priority": (spec.priority, queue.priority, _PRIORITY[spec.type]),
        "max_losses": (own.max_losses, given.max_losses, _MAX_LOSSES),
        "item_timeout_seconds": (
            spec.item_timeout_seconds,
            queue.item_timeout_seconds,
            _ITEM_TIMEOUT_SECONDS[spec.type],
        ),
    }
    first = {name: found for name, values in said.items() if (found := _first(values))}
    origins = of_run.origins | {to_camel(name): origin for name, (_, origin) in first.items()}
    return Effective(
        **of_run.model_dump(exclude={"origins"}),
        **{name: value for name, (value, _) in first.items()},
        origins=dict(sorted(origins.items())),
        per_error_class=of_classes or None,
    )


def _laid_over(base: EffectiveRetry, retry: Retry | ClassRetry, origin: Origin) -> EffectiveRetry:
    """What `retry` says, else what `base` does. A cap that nobody named never cuts a wait that somebody did."""
    backoff = retry.backoff or Backoff()
    raised = max(base.max_delay_seconds, backoff.initial_delay_seconds or 0)
    said = {
        "max_attempts": retry.max_attempts,
        "backoff_strategy": backoff.strategy,
        "initial_delay_seconds": backoff.initial_delay_seconds,
        "max_delay_seconds": backoff.max_delay_seconds or (raised if raised != base.max_delay_seconds else None),
        "jitter_percent": backoff.jitter_percent,
    }
    values = {name: value for name, value in said.items() if value is not None}
    return base.model_copy(update={**values, "origins": base.origins | {to_camel(name): origin for name in values}})


def _first(values: tuple[Any, ...]) -> tuple[Any, Origin] | None:
    """The first that is given, and who gave it."""
    found = zip(values, Origin, strict=False)
    return next(((value, origin) for value, origin in found if value is not None), None)
