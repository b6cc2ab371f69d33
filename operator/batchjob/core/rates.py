"""Rates that many share: how much at once, how far apart. Pure.

The promise is about the receiver: never more than the limit in any minute. What is sent evenly arrives unevenly, so
a minute is planned a little longer than it is.

A run has a rate of its own, which it shares with all that ask the same server (`key_of`), and those of its queue.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Self

from batchjob.api.queue import RateLimit
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec

PLANNED: Final = 62 / 60  # seconds for a second: what is on its way in a minute may be overtaken by two seconds
SHARE: Final = 60  # of a limit may come at once: a second of a minute


class Rate(NamedTuple):
    """At most `burst` units at once, then one each `interval_us`, a fraction where there are millions a second."""

    interval_us: float
    burst: int

    @classmethod
    def of(cls, limit: int, seconds: int) -> Self:
        """Any such time holds at most the burst and what was let go in it: together the limit."""
        burst = max(1, limit // SHARE)
        return cls(PLANNED * seconds * 1_000_000 / (limit - burst + 1), burst)

    @classmethod
    def per_minute(cls, limit: int | None) -> Self:
        """The rate of a limit a minute. None: no limit."""
        return cls(0, 1) if limit is None else cls.of(limit, 60)


class SharedRate(NamedTuple):
    """A rate that the runs of a queue share, or those that ask one server."""

    key: str
    rate: Rate
    counts_tokens: bool  # else attempts of items


def rate_key(namespace: str, name: str) -> str:
    """Names a rate that the BatchJobs of a namespace share; others cannot reach it."""
    return hashlib.sha256(f"{namespace}\0{name}".encode()).hexdigest()[:32]


def key_of(run: Run) -> str | None:
    """The rate that a run shares: by `spec.rateLimitKey`, else with all that ask the same server as the same user."""
    spec = run.spec
    if spec.rate_limit_key:
        name = spec.rate_limit_key
    elif spec.email:
        login = spec.email.smtp.credentials_secret_ref
        name = f"smtp {spec.email.smtp.host}:{spec.email.smtp.port} {login.name if login else ''}"
    elif spec.ai_batch:
        model = spec.ai_batch.model
        key, headers = model.api_key_secret_ref, model.headers_secret_ref
        name = f"model {model.base_url} {key.name if key else ''} {key.key if key else ''}"
        name += f" {headers.name}" if headers else ""
    else:
        return None
    return rate_key(run.namespace, name)


def queue_rates(run: Run) -> Iterator[SharedRate]:
    """The rates of the run's queue."""
    for limit in run.rate_limits:
        for unit, number in (("requests", limit.requests), ("tokens", limit.tokens)):
            if number is not None:
                key = rate_key("", f"queue {run.effective.queue} {limit.key} {unit}")  # no namespace has no name
                yield SharedRate(key, Rate.of(number, limit.per_seconds), unit == "tokens")


def own_rates(run: Run) -> Iterator[SharedRate]:
    """The rates of the server that the run asks: first that of requests, which heeds what others are told anyway."""
    key = key_of(run)
    if key is None:
        return
    yield SharedRate(key, Rate.per_minute(_requests_per_minute(run.spec)), counts_tokens=False)
    tokens = run.spec.ai_batch.model.tokens_per_minute if run.spec.ai_batch else None
    if tokens is not None:
        yield SharedRate(rate_key("", f"tokens {key}"), Rate.per_minute(tokens), counts_tokens=True)


def keys_of(run: Run) -> set[str]:
    """Every rate that a run takes of."""
    return {rate.key for rate in (*queue_rates(run), *own_rates(run))}


def requests_of(spec: BatchJobSpec, items: int) -> int:
    """Requests to the server that an attempt of so many items makes, if nothing goes wrong."""
    return 1 if spec.ai_batch else items


def _requests_per_minute(spec: BatchJobSpec) -> int | None:
    if spec.email:
        return spec.email.rate_per_minute
    return spec.ai_batch.model.requests_per_minute if spec.ai_batch else None


def requests_per_minute(limits: Iterable[RateLimit]) -> list[float]:
    """Of the limits that count requests."""
    return [limit.requests * 60 / limit.per_seconds for limit in limits if limit.requests is not None]


def items_per_minute(spec: BatchJobSpec, of_queue: Iterable[RateLimit]) -> float | None:
    """Items that may start in a minute; None: any number."""
    own = _requests_per_minute(spec)
    if own and spec.ai_batch:
        own *= spec.ai_batch.items_per_request
    return min([*requests_per_minute(of_queue), *([own] if own else [])], default=None)
