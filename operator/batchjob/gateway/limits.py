"""How often a user may ask, counted in the store: all replicas of the gateway together, a window at a time.

Our own door counts: a library's storage would bring a second client of Redis, with settings of its own. Without the
store, what reads is let through, since the custom resource answers it; what changes something is not.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from batchjob import log
from batchjob.errors import StoreError
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.problems import TOO_MANY, Problem, unavailable
from batchjob.gateway.settings import GatewaySettings

WINDOW_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 1.0  # for the store: who only reads is not to wait for it
PAUSE_SECONDS: Final = 3.0  # in which reads do not ask a store that was away

logger = log.get(__name__)


class Kind(StrEnum):
    """What is limited apart; also the name of the policy in the headers."""

    READ = "read"
    SUBMIT = "submit"
    ANNOTATE = "annotate"  # ai-batch: each costs somebody money
    CHANGE = "change"

    def quota(self, settings: GatewaySettings) -> int:
        """How many in a window."""
        return {
            Kind.READ: settings.reads_per_minute,
            Kind.SUBMIT: settings.submits_per_minute,
            Kind.ANNOTATE: settings.ai_submits_per_minute,
            Kind.CHANGE: settings.changes_per_minute,
        }[self]


def build_headers(kind: Kind, quota: int, number: int, left_seconds: float) -> dict[str, str]:
    """What a client is told, as the IETF's draft of the RateLimit headers has it."""
    remaining, seconds = max(0, quota - number), max(1, round(left_seconds))
    return {
        "RateLimit-Policy": f'"{kind}";q={quota};w={WINDOW_SECONDS}',
        "RateLimit": f'"{kind}";r={remaining};t={seconds}',
    }


async def take(request: HTTPConnection, kind: Kind, user: str, doors: DoorsOf) -> None:
    """Count a request; a 429 where it is one too many. The headers go with whatever the answer is."""
    quota = kind.quota(doors.settings)
    name = f"{kind}:{hashlib.sha256(user.encode()).hexdigest()[:32]}"
    state = request.app.state
    if kind is Kind.READ and getattr(state, "store_away_until", 0.0) > time.monotonic():
        return
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            number, left = await doors.store.count(name, WINDOW_SECONDS)
    except (StoreError, TimeoutError) as error:
        if kind is not Kind.READ:
            raise unavailable("The store") from error
        logger.warning(
            "requests are not counted, for the store does not answer", error=str(error) or "no answer in time"
        )
        state.store_away_until = time.monotonic() + PAUSE_SECONDS
        return
    headers = build_headers(kind, quota, number, left)
    request.state.headers = headers
    if number > quota:
        after = str(max(1, round(left)))
        raise Problem(
            TOO_MANY,
            f"{quota} requests a minute of this kind ({kind}) are allowed: ask again in {after} s",
            headers={"Retry-After": after},
        )


def limited(kind: Kind) -> Callable[..., Awaitable[None]]:
    """A dependency that counts each request of a route."""

    async def count(request: Request, caller: CallerOf, doors: DoorsOf) -> None:
        await take(request, kind, caller.name, doors)

    return count


READS: Final = Depends(limited(Kind.READ))
CHANGES: Final = Depends(limited(Kind.CHANGE))
SUBMITS: Final = Depends(limited(Kind.SUBMIT))
ANNOTATES: Final = Depends(limited(Kind.ANNOTATE))
