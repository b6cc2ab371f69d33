"""What kopf calls. Nothing is decided here: each event only goes into the inbox.

kopf's own retries and annotations have no part in it: a handler's exception would be swallowed, and 500 events of one
object be 500 calls.
"""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import kopf

from batchjob.api.base import GROUP, VERSION
from batchjob.api.v1alpha1 import PLURAL
from batchjob.controller.light import lighten
from batchjob.kube import Access
from batchjob.kube.session import open_session

# kopf asks for the token again after this; the one we hand out may be replaced while it is in use.
LOGIN_AGE: Final = timedelta(minutes=10)
# Between two openings of a watch: kopf opens one that ended again at once, whatever its `reconnect_backoff`.
WATCH_PAUSE_SECONDS: Final = 1.0

# (ADDED, MODIFIED, DELETED, or None for an object of a list; the object)
Inbox = Callable[[str | None, dict[str, Any]], None]


def build_registry(access: Access, inbox: Inbox) -> kopf.OperatorRegistry:
    """The handlers, all of them."""
    registry = kopf.OperatorRegistry()
    expiration, handed_out = datetime.min.replace(tzinfo=UTC), None
    pace = build_pace(WATCH_PAUSE_SECONDS)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession | None:
        """With a session of ours: kopf's own ends at a JSON value that is nested too deep, and paces no watch.

        None where the token that was refused is still all we have: kopf ends, and is started again after a pause. What
        keeps it from signing in for ever compares sessions, and no two of ours are equal.
        """
        nonlocal expiration, handed_out
        was_refused = datetime.now(UTC) < expiration
        if was_refused:
            access.forget_token()
        token = access.token()
        if was_refused and token == handed_out:
            return None
        expiration, handed_out = datetime.now(UTC) + LOGIN_AGE, token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        session = open_session(access, headers, [pace])  # kopf closes it
        return kopf.AiohttpSession(server=access.server, aiohttp_session=session, expiration=expiration)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def batch_job(event: kopf.RawEvent, **_: Any) -> None:
        inbox(event["type"], lighten(dict(event["object"])))

    return registry


def build_pace(seconds: float) -> aiohttp.TraceConfig:
    """What keeps the watches of a session, or of several, from being opened more often than once in so many seconds."""
    opened = -math.inf

    async def wait(_: aiohttp.ClientSession, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        nonlocal opened
        if "watch" in request.url.query:
            clock = asyncio.get_running_loop().time
            await asyncio.sleep(opened + seconds - clock())
            opened = clock()

    pace = aiohttp.TraceConfig()
    pace.on_request_start.append(wait)
    return pace
