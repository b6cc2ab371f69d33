"""`/admin/queues/live`: when a page is to be read again, as Server-Sent Events through the session's cookie.

It says that something changed, and never what: the page is asked for again, with all its checks. Of one BatchJob for
its page, of all that its caller sees for the others.
"""

import time
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from batchjob.core.queries import Query
from batchjob.core.records import owner_key
from batchjob.gateway.access import Caller
from batchjob.gateway.doors import Doors, DoorsOf
from batchjob.gateway.live_access import hub_of
from batchjob.gateway.live_frames import Frame
from batchjob.gateway.live_hub import Ear
from batchjob.gateway.live_sse import HEARTBEAT, EventStream
from batchjob.gateway.problems import INVALID, UNAUTHENTICATED, Problem
from batchjob.gateway.ui import reading
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import Page
from batchjob.gateway.ui.session import SignInNeeded, Visitor, visitor_of
from batchjob.store.index import MOST_ROWS

CHANGED: Final = b"event: changed\ndata: 1\n\n"  # without data no browser tells of it

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


@router.get("/live")
async def live(request: Request, caller: Visitor, doors: DoorsOf, job: str = "") -> Response:
    """A word whenever something changed: of a BatchJob (`<namespace>.<name>`), or of all that the caller sees."""
    hub = hub_of(request)
    if job:
        key = reading.parse_key(job)
        if key is None:
            raise Problem(INVALID, "job: what was sent is no <namespace>.<name>")
        found, _ = await reading.read_job(doors, caller, *key)
        watched = hub.watch(owner_key(key[0], found.spec.owner), job, who=caller.name)
        return EventStream(watched, put, lambda: _look(request, doors, key))
    ear = Ear(await owners_seen(doors, caller))
    return EventStream(hub.listen(caller.name, ear), put, lambda: _look(request, doors, ear))


def put(frames: list[Frame]) -> tuple[bytes, bool]:
    """A word for whatever is new."""
    return CHANGED if any(frame.type != "heartbeat" for frame in frames) else HEARTBEAT, True


async def owners_seen(doors: Doors, caller: Caller) -> frozenset[str] | None:
    """Whose BatchJobs they see; None: everybody's. An owner is one in each namespace, so these are looked up."""
    if await caller.is_admin():
        return None
    found = await doors.store.index.search(Query(), time.time(), owner=caller.name, limit=MOST_ROWS)
    spaces = {row.namespace for row in found.rows} | {caller.namespace, *doors.settings.watch_namespaces}
    return frozenset(owner_key(space, caller.name) for space in spaces)


async def _look(request: Request, doors: Doors, watched: tuple[str, str] | Ear) -> None:
    """A Problem where they may not watch any more, or it is gone; what they see is looked up again."""
    try:
        caller = await visitor_of(request, doors)
    except SignInNeeded:
        raise Problem(UNAUTHENTICATED, "Nobody is signed in any more") from None
    if isinstance(watched, Ear):
        watched.owners = await owners_seen(doors, caller)
    else:
        await reading.read_job(doors, caller, *watched)
