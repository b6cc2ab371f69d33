"""What becomes of an attempt: a result, another try after a wait, or the end. Pure.

User code speaks through exceptions with meaning: `Retry`, `Fail`, `Cancel`. Any other exception is retryable, because
an engine that gives up on what it does not understand loses work; an attempt limit keeps that from going on for ever.
"""

from math import isfinite
from random import Random
from typing import Any, Final

import msgspec

from batchjob.api.retry import BackoffStrategy
from batchjob.api.status import Effective, EffectiveRetry, ErrorClass
from batchjob.core.documents import encode, writable
from batchjob.core.items import Cancelled, Failed, Item, Outcome, Retried, Succeeded
from batchjob.errors import ResultsError, StoreError

MAX_AFTER_SECONDS: Final = 86_400.0  # a server that says "come back in a year" does not hold a run for a year
MIN_UNCOUNTED_SECONDS: Final = 1.0  # no attempt limit ends an uncounted retry: without a wait it would be a hot loop


class Retry(Exception):
    """Raise it for: try this item again.

    Args:
        message: What went wrong, for people; 1,024 characters are kept, of which `status.lastErrors` shows 256.
        after: Seconds to wait, where the other side named them: 0 to 86,400 (a day), more is cut. None: the back-off
            of `spec.retry`, or of its `perErrorClass`.
        error_class: What kind of error it was; of the run's limits, those of that class hold. It is what
            `status.lastErrors` and the dead letter say where this was the last attempt.
        counts: False spends no attempt, for a refusal that says nothing about the item, such as a rate limit. The
            wait is then at least the back-off and at least a second, whatever `after` says, since nothing else
            bounds how often the item comes back; where an attempt is spent, `after` is taken as it is, 0 too. With
            `after` and class rate-limited, everybody who shares the run's rate waits so long.

    An item whose attempts are spent is dead-lettered instead.
    """

    def __init__(
        self,
        message: str = "",
        after: float | None = None,
        error_class: ErrorClass = ErrorClass.UPSTREAM,
        *,
        counts: bool = True,
    ) -> None:
        super().__init__(message)
        self.after = after
        self.error_class = error_class
        self.counts = counts


class Fail(Exception):
    """Raise it for: give this item up, since another attempt would fail again. It becomes a dead letter.

    Args:
        message: What went wrong, for people; as for Retry.
        error_class: What kind of error it was, for whoever filters or alerts by it.

    `spec.retry` has no say in it, and the run goes on with its other items.
    """

    def __init__(self, message: str = "", error_class: ErrorClass = ErrorClass.INVALID_INPUT) -> None:
        super().__init__(message)
        self.error_class = error_class


class Cancel(Exception):
    """Raise it for: this item is not to be done any more. It is counted as cancelled, no success and no dead letter.

    A message is welcome and kept nowhere.
    """


def delay_ms(effective: EffectiveRetry, attempt: int, random: Random) -> int:
    """Milliseconds to wait after failed attempt number `attempt` (from 1).

    Exponential doubles from the initial delay up to the longest. Jitter shortens, never lengthens: a wait lies between
    (100 - jitterPercent) % and 100 % of its base, so `maxDelaySeconds` is a true limit.
    """
    base = effective.initial_delay_seconds * 1000
    if effective.backoff_strategy == BackoffStrategy.EXPONENTIAL:
        base *= 2 ** (attempt - 1)
    base = min(base, effective.max_delay_seconds * 1000)
    return round(base * (1 - random.random() * effective.jitter_percent / 100))


def settle(item: Item, answer: Any, effective: Effective, random: Random) -> Outcome:
    """The outcome of one attempt from what the processor answered: a result document, an outcome or an exception.

    User code may answer anything: what cannot be made sense of is an error of that attempt, never of the worker.
    """
    if answer is None:  # the common case on the hot path
        return Succeeded(item.position)
    try:
        outcome = _settle(item, answer, effective, random)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        message = f"the processor's answer cannot be used: {type(error).__name__}: {error}"
        outcome = _again(item, Retry(error_class=ErrorClass.INTERNAL), message, effective, random)
    if isinstance(outcome, Succeeded):
        return outcome
    return msgspec.structs.replace(outcome, message=writable(str(outcome.message)))


def _settle(item: Item, answer: Any, effective: Effective, random: Random) -> Outcome:
    match answer:
        case Succeeded() | Failed() | Cancelled() | Retried():
            return _checked(item, answer, effective, random)
        case BaseException():
            return _refused(item, answer, effective, random)
        case _:
            return _succeed(item, answer, effective, random)


def _checked(item: Item, answer: Outcome, effective: Effective, random: Random) -> Outcome:
    """An outcome that user code made by hand; raises where it is about another item or holds what it must not."""
    if answer.position != item.position:
        raise ValueError(f"it is about position {answer.position} in the place of {item.position}")
    match answer:
        case Succeeded(_, bytes() as result):
            msgspec.json.decode(result)
        case Succeeded(_, result):
            return _succeed(item, result, effective, random)
        case Failed(_, error_class, message):
            return _failed(item, error_class, str(message))
        case Retried(_, error_class, message, wait_ms, counts):
            retry = Retry(str(message), wait_ms / 1000, error_class, counts=counts)  # type: ignore[arg-type]  # `_again` judges it
            return _again(item, retry, str(message), effective, random)
    return answer


def _refused(item: Item, error: BaseException, effective: Effective, random: Random) -> Outcome:
    match error:
        case Fail():
            return _failed(item, error.error_class, said(error))
        case Cancel():
            return Cancelled(item.position, said(error))
        case _:
            return _again(item, _as_retry(error), said(error), effective, random)


def _succeed(item: Item, result: Any, effective: Effective, random: Random) -> Outcome:
    try:
        return Succeeded(item.position, None if result is None else encode(result))
    except (TypeError, ValueError, RecursionError) as error:
        return _refused(item, TypeError(f"the result is no JSON document: {error}"), effective, random)


def _failed(item: Item, error_class: Any, message: str) -> Failed:
    return Failed(item.position, *_classified(error_class, message))


def _again(item: Item, retry: Retry, message: str, effective: Effective, random: Random) -> Outcome:
    if not isinstance(retry.after, int | float | None):
        raise TypeError(f"Retry's `after` must be a number of seconds, not {retry.after!r:.40}")
    error_class, message = _classified(retry.error_class, message)
    force = effective.after(error_class)
    if retry.counts and item.attempt >= force.max_attempts:
        return Failed(item.position, error_class, message)
    wait_ms = backoff_ms = delay_ms(force, item.attempt, random)
    after_ms = 0.0
    if retry.after is not None and isfinite(retry.after):
        after_ms = min(max(retry.after, 0.0), MAX_AFTER_SECONDS) * 1000
        # Never before the time that was asked for; spread a little, so that all items do not come back in one blow.
        wait_ms = round(after_ms * (1 + random.random() * force.jitter_percent / 100))
    if not retry.counts:
        wait_ms = max(wait_ms, backoff_ms, round(MIN_UNCOUNTED_SECONDS * 1000))
    is_told = error_class is ErrorClass.RATE_LIMITED and not retry.counts
    return Retried(item.position, error_class, message, wait_ms, retry.counts, round(after_ms) if is_told else 0)


def _classified(error_class: Any, message: str) -> tuple[ErrorClass, str]:
    """An error's class and message. User code may name a class that is none: what it decided is kept all the same."""
    try:
        return ErrorClass(error_class), message
    except ValueError:
        return ErrorClass.INTERNAL, f"{message} (its error_class {error_class!r:.40} is none: use one of ErrorClass)"


def _as_retry(error: BaseException) -> Retry:
    match error:
        case Retry():
            return error
        case TimeoutError():
            return Retry(error_class=ErrorClass.TIMEOUT)
        case ResultsError():
            return Retry(error_class=ErrorClass.UPSTREAM)
        case StoreError():
            return Retry(error_class=ErrorClass.INFRASTRUCTURE)
        case _:
            return Retry(error_class=ErrorClass.INTERNAL)


def said(error: BaseException) -> str:
    """What the exception says; its type too where that is all there is, or where it is nobody's we know."""
    known = isinstance(error, (Retry, Fail, Cancel, TimeoutError, ResultsError, StoreError))
    text = str(error)
    return text if known and text else f"{type(error).__name__}: {text}".rstrip(": ")
