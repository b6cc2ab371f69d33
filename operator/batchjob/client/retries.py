"""When a request is sent again. Pure: chance is an argument.

What did nothing may always be repeated: a connection that was not made, and a 429, which is answered before anything
is looked at. What may have done something is repeated only where twice does no more than once: GET, or a request with
an Idempotency-Key.
"""

from typing import Final, NamedTuple

from batchjob.client.steps import NotAnswered, Reply, Request

TOO_MANY: Final = 429
AWAY: Final = frozenset({502, 503, 504})  # the gateway says 503; the others are what a proxy before it says


class Retries(NamedTuple):
    """How often a request is sent, and how long the pauses are."""

    tries: int = 5
    first_seconds: float = 0.5  # the pause before the second; each further one is twice as long
    most_seconds: float = 20.0  # none of them is longer
    patience_seconds: float = 60.0  # a Retry-After that is further away is an error at once: the caller may do better


def pause_after(
    rules: Retries, tried: int, request: Request, outcome: Reply | NotAnswered, chance: float
) -> float | None:
    """Seconds until it is sent again; None: not any more. `tried`: how often it was. `chance`: from 0 to 1."""
    if tried >= rules.tries or not _may_repeat(request, outcome):
        return None
    told = outcome.retry_after() if isinstance(outcome, Reply) else None
    if told is not None:  # not before, and not all at the same moment
        return told + chance * rules.first_seconds if told <= rules.patience_seconds else None
    return min(rules.most_seconds, rules.first_seconds * 2.0 ** (tried - 1)) * (0.5 + chance / 2)


def _may_repeat(request: Request, outcome: Reply | NotAnswered) -> bool:
    if isinstance(outcome, NotAnswered):
        return request.repeatable or not outcome.reached
    return outcome.status == TOO_MANY or (outcome.status in AWAY and request.repeatable)
