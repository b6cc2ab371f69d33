"""Live events: one hub for a process, watched by Server-Sent Events (`live_events`) and WebSockets (`live_socket`).

A token comes in the Authorization header, or in the first message of a WebSocket, which a browser cannot give a header;
never in a URL, for those are written down on the way.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Response

from batchjob.gateway import live_events, live_socket
from batchjob.gateway.limits import READS
from batchjob.gateway.live_hub import Hub
from batchjob.gateway.views import JOBS


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The hub of this process, and its reader."""
    app.state.hub = hub = Hub(app.state.doors.store.live)
    reader = asyncio.create_task(hub.run())
    try:
        yield
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


router = APIRouter(lifespan=_lifespan)
router.add_api_route(
    f"{JOBS}/{{job}}/events", live_events.events, response_class=Response, tags=["BatchJobs"], dependencies=[READS]
)
router.add_api_websocket_route("/ws", live_socket.ws)


def leave(app: Any) -> None:
    """Have all who watch go: the process ends. Harmless before it has begun."""
    hub: Hub | None = getattr(app.state, "hub", None)
    if hub is not None:
        hub.leave()
