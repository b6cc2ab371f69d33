"""Rates that many share: how much at once, how far apart. Pure.

The promise is about the receiver: never more than the limit in any minute. What is sent evenly arrives unevenly, so
a minute is planned a little longer than it is.
"""

import hashlib
from typing import Final, NamedTuple, Self

from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec

PLANNED_SECONDS: Final = 62.0  # for a minute: what is on its way may be overtaken by that much
SHARE: Final = 60  # of a minute's limit may come at once


class Rate(NamedTuple):
    """At most `burst` units at once, then one each `interval_us`."""

    interval_us: int
    burst: int

    @classmethod
    def per_minute(cls, limit: int | None) -> Self:
        """Any minute holds at most the burst and what was let go in it: together the limit. None: no limit."""
        if limit is None:
            return cls(0, 1)
        burst = max(1, limit // SHARE)
        return cls(round(PLANNED_SECONDS * 1_000_000 / (limit - burst + 1)), burst)


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
        key = spec.ai_batch.model.api_key_secret_ref
        name = f"model {spec.ai_batch.model.base_url} {key.name if key else ''} {key.key if key else ''}"
    else:
        return None
    return rate_key(run.namespace, name)


def per_minute(spec: BatchJobSpec) -> int | None:
    """Items that may start in a minute; None: any number."""
    return spec.email.rate_per_minute if spec.email else None


def rate_of(run: Run) -> Rate:
    """How fast a run may go; it heeds what others are told in any case."""
    return Rate.per_minute(per_minute(run.spec))
