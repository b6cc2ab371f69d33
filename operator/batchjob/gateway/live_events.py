"""`GET /api/v1/batch-jobs/{id}/events`: live events of one BatchJob as Server-Sent Events, until it has ended."""

import asyncio
import time
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Header, Response
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from batchjob import log
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.events import ENDS, Told, turn
from batchjob.core.phases import is_terminal
from batchjob.core.records import owner_key
from batchjob.core.standings import build_standing
from batchjob.errors import BatchJobError
from batchjob.gateway.batchjobs import find
from batchjob.gateway.doors import DoorsOf
from batchjob.gateway.live_access import MANY, Right, checked_id, hub_of
from batchjob.gateway.live_frames import Frame, build_notice, sse
from batchjob.gateway.live_hub import FROM_BEGINNING, GoingAway, Hub, TooManyWatchers, TooSlow, Watcher
from batchjob.gateway.live_stream import CLOSE_SECONDS, HEARTBEAT_SECONDS, Expired, first_of, stream
from batchjob.gateway.problems import TOO_MANY, Problem
from batchjob.gateway.views import job_id

RETRY_MS: Final = 2000  # after which an EventSource comes back

logger = log.get(__name__)


async def events(
    job: str,
    request: Request,
    doors: DoorsOf,
    authorization: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Live events of one BatchJob, as Server-Sent Events; the last is `batch:complete`, `error` or `cancelled`.

    `Last-Event-ID` goes on after that event. 204 where that was the last one: there is nothing to come back for.
    """
    hub = hub_of(request)
    found, _ = await find(doors, await doors.gate.admit(authorization), job, "get")
    after = checked_id(last_event_id, "Last-Event-ID") or FROM_BEGINNING
    namespace, owner = found.metadata.namespace, found.spec.owner
    key = owner_key(namespace, owner)
    if after != FROM_BEGINNING:
        kept = await hub.live.read_from(key, after)
        if kept and (kept[0].id, kept[0].job) == (after, job) and kept[0].type in ENDS:
            return Response(status_code=204)
    right = Right(doors, authorization, namespace, owner, job)
    return _EventStream(hub, key, job, after, build_end(found), right)


class _EventStream(Response):
    """The answer: events as they come."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, owner: str, job: str, after: str, end: Frame | None, right: Right) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub, self._owner, self._job, self._after, self._end, self._right = hub, owner, job, after, end, right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until one of both has enough."""
        try:
            async with self._hub.watch(self._owner, self._job, self._after) as watcher:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send(_part(f"retry: {RETRY_MS}\n\n".encode()))
                await first_of(self._send(watcher, send), _gone(receive))
        except TooManyWatchers:
            problem = Problem(TOO_MANY, MANY, headers={"Retry-After": "30"})
            await problem.response()(scope, receive, send)
            return
        except (TooSlow, GoingAway, Expired, BatchJobError) as error:
            logger.info("a watcher is let go", why=type(error).__name__)
        with suppress(TimeoutError):  # stuck: the server lets go of it
            async with asyncio.timeout(CLOSE_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, watcher: Watcher, send: Send) -> None:
        async def put(frames: list[Frame]) -> bool:
            """Heartbeats are comments: they are no event of the BatchJob."""
            told = [frame for frame in frames if frame.type != "heartbeat"]
            ended = any(frame.type in ENDS for frame in told)
            if self._end is not None and not told:  # it has ended, and that is not in what is kept
                told, ended = [self._end], True
            await send(_part(b"".join(map(sse, told)) or b": heartbeat\n\n"))
            return not ended

        await stream(watcher, put, self._right.holds, 0 if self._end else HEARTBEAT_SECONDS)


def build_end(job: BatchJob) -> Frame | None:
    """The end of a BatchJob that has ended, from its status: for who comes when its events are not kept any more."""
    if job.status is None or not is_terminal(job.status):
        return None
    now_ms = time.time_ns() // 1_000_000
    data = {"jobId": job_id(*job.key)} | build_standing(job.status, now_ms).data
    return build_notice(str(turn(Told(), job.status.phase)), now_ms, **data)


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _gone(receive: Receive) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
