"""`GET /api/v1/batch-jobs/{id}/events`: live events of one BatchJob as Server-Sent Events, until it has ended."""

from typing import Annotated

from fastapi import Header, Response
from starlette.requests import Request

from batchjob.core.events import ENDS
from batchjob.core.records import owner_key
from batchjob.gateway.batchjobs import find
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.live_access import END, Right, build_end, checked_id, hub_of
from batchjob.gateway.live_frames import Frame, sse
from batchjob.gateway.live_hub import FROM_BEGINNING
from batchjob.gateway.live_sse import HEARTBEAT, EventStream
from batchjob.gateway.live_stream import HEARTBEAT_SECONDS


async def events(
    job: str,
    request: Request,
    caller: CallerOf,
    doors: DoorsOf,
    authorization: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Live events of one BatchJob, as Server-Sent Events; the last is `batch:complete`, `error` or `cancelled`.

    `Last-Event-ID` goes on after that event. 204 where that was the last one: there is nothing to come back for.
    """
    hub = hub_of(request)
    found, _ = await find(doors, caller, job, "get")
    end = build_end(found)
    if end is not None and last_event_id == end.id:
        return Response(status_code=204)
    if last_event_id and last_event_id.startswith(END):  # of another BatchJob, which had this name before
        last_event_id = None
    after = checked_id(last_event_id, "Last-Event-ID") or FROM_BEGINNING
    uid = found.metadata.uid  # under the name there may have been others: their events are not its
    namespace, owner = found.metadata.namespace, found.spec.owner
    key = owner_key(namespace, owner)
    if after != FROM_BEGINNING:
        kept = await hub.live.read_from(key, after)
        if kept and (kept[0].id, kept[0].uid) == (after, uid) and kept[0].type in ENDS:
            return Response(status_code=204)
    right = Right(doors, authorization, namespace, owner, job)

    def put(frames: list[Frame]) -> tuple[bytes, bool]:
        told = [frame for frame in frames if frame.type != "heartbeat" and frame.uid in {"", uid}]
        ended = any(frame.type in ENDS for frame in told)
        if end is not None and not told:  # it has ended, and that is not in what is kept
            told, ended = [end], True
        return b"".join(map(sse, told)) or HEARTBEAT, not ended

    watched = hub.watch(key, job, after, who=caller.name)
    return EventStream(watched, put, right.look, 0 if end else HEARTBEAT_SECONDS)
