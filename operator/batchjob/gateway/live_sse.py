"""An answer that goes on: Server-Sent Events to one client, until either side has enough."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from fastapi import Response
from starlette.types import Receive, Scope, Send

from batchjob import log
from batchjob.core import event_data
from batchjob.errors import BatchJobError
from batchjob.gateway.live_access import MANY
from batchjob.gateway.live_frames import GONE, Frame, build_notice, sse
from batchjob.gateway.live_hub import Ear, GoingAway, TooManyWatchers, TooSlow, Watcher
from batchjob.gateway.live_stream import CLOSE_SECONDS, HEARTBEAT_SECONDS, Expired, Gone, first_of, stream
from batchjob.gateway.problems import TOO_MANY, Problem

RETRY_MS: Final = 2000  # after which an EventSource comes back
HEARTBEAT: Final = b": heartbeat\n\n"  # a comment: it is no event

logger = log.get(__name__)


class EventStream(Response):
    """The answer: events as they come."""

    media_type = "text/event-stream"

    def __init__(
        self,
        watched: AbstractAsyncContextManager[Watcher | Ear],
        put: Callable[[list[Frame]], tuple[bytes, bool]],
        look: Callable[[], Awaitable[Frame | None]],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`put`: what goes over the wire for what is new, and whether more may come; `look` as in `stream`."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._watched, self._put, self._look = watched, put, look
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until one of both has enough."""
        word = b""
        started = False
        try:
            async with self._watched as watcher:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send(_part(f"retry: {RETRY_MS}\n\n".encode()))
                await first_of(self._send(watcher, send), _gone(receive))
        except TooManyWatchers:
            problem = Problem(TOO_MANY, MANY, headers={"Retry-After": "30"})
            await problem.response()(scope, receive, send)
            return
        except (TooSlow, GoingAway, Expired, Gone, BatchJobError) as error:
            if not started:  # the store does not answer: that is a problem like any other's
                raise
            if isinstance(error, Gone):
                notice = build_notice("gone", time.time_ns() // 1_000_000, event_data.Gone(GONE).to_json())
                word = sse(notice)
            logger.info("a watcher is let go", why=type(error).__name__)
        with suppress(TimeoutError):  # stuck: the server lets go of it
            async with asyncio.timeout(CLOSE_SECONDS):
                await send({"type": "http.response.body", "body": word, "more_body": False})

    async def _send(self, watcher: Watcher | Ear, send: Send) -> None:
        async def put(frames: list[Frame]) -> bool:
            body, more = self._put(frames)
            await send(_part(body))
            return more

        await stream(watcher, put, self._look, self._heartbeat_seconds)


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _gone(receive: Receive) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
