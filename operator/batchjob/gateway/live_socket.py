"""The WebSocket `/ws`: live events of all that is an owner's, or of one BatchJob, from now on or after an event."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from batchjob import log
from batchjob.core.event_data import Ready
from batchjob.core.records import owner_key
from batchjob.errors import BatchJobError
from batchjob.gateway import problems
from batchjob.gateway.batchjobs import find
from batchjob.gateway.doors import admit, doors_of
from batchjob.gateway.limits import Kind, take
from batchjob.gateway.live_access import MANY, Right, checked_id, hub_of, may_watch
from batchjob.gateway.live_frames import Frame, build_notice
from batchjob.gateway.live_hub import GoingAway, TooManyWatchers, TooSlow
from batchjob.gateway.live_stream import CLOSE_SECONDS, Expired, Gone, first_of, stream
from batchjob.gateway.problems import INVALID, NOT_FOUND, TOO_MANY, UNAUTHENTICATED, Problem

TOKEN_SECONDS: Final = 10.0  # for the first message
STRANGERS: Final = 200  # sockets at once, in this process, whose first message is waited for

logger = log.get(__name__)


class Close(NamedTuple):
    """How a WebSocket is closed: a code, those from 4000 on our own, and why. API."""

    code: int
    reason: str


BAD_REQUEST: Final = Close(4400, 'the first message has to be {"token": "…"}, or a parameter is wrong')
UNKNOWN: Final = Close(4401, "sign in (again): the token is missing, wrong, withdrawn or has expired")
FORBIDDEN: Final = Close(4403, "Kubernetes does not let you list the BatchJobs of this namespace, or get this one")
NOT_YOURS: Final = Close(4404, "there is no such thing, or it is not yours")
NO_TOKEN: Final = Close(4408, "no token came in time")
SLOW: Final = Close(4413, "too slow: come back with ?after=<id of the last event>")
CROWDED: Final = Close(4429, MANY)
LIMITED: Final = Close(4429, "too many requests, refused tokens, or sockets nobody signed in at: come back in a minute")
AWAY: Final = Close(1012, "this gateway ends: come back with ?after=<id of the last event>")
TROUBLE: Final = Close(1013, "the store or Kubernetes does not answer: come back later")
CLOSES: Final = (BAD_REQUEST, UNKNOWN, FORBIDDEN, NOT_YOURS, NO_TOKEN, SLOW, CROWDED, LIMITED, AWAY, TROUBLE)


_REFUSED: Final = {
    UNAUTHENTICATED.name: UNKNOWN,
    NOT_FOUND.name: NOT_YOURS,
    INVALID.name: BAD_REQUEST,
    problems.FORBIDDEN.name: FORBIDDEN,
    TOO_MANY.name: LIMITED,
}
_ENDED: Final[dict[type[Exception], Close]] = {
    TimeoutError: NO_TOKEN,
    TooManyWatchers: CROWDED,
    TooSlow: SLOW,
    Expired: UNKNOWN,
    Gone: NOT_YOURS,
    GoingAway: AWAY,
}


async def ws(
    socket: WebSocket,
    after: str | None = None,
    job: Annotated[str | None, Query(alias="jobId")] = None,
    owner: str | None = None,
    namespace: str | None = None,
) -> None:
    """Live events of all BatchJobs of who signs in; `jobId` for one of them, `after` goes on after an event.

    `owner` and `namespace`: whose, for admins; they are who signs in and where theirs go.
    """
    await socket.accept()
    wanted = {"after": after, "job": job, "owner": owner, "namespace": namespace}
    close = await _serve(socket, wanted)
    if close is not None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await socket.close(*close)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):  # stuck, or gone already
            logger.info("a watcher did not hear why", code=close.code)


async def _serve(socket: WebSocket, wanted: dict[str, str | None]) -> Close | None:
    """Serve a WebSocket; how to close it, None where the client is gone."""
    try:
        authorization = socket.headers.get("authorization")
        if not authorization:
            with _stranger(socket):
                async with asyncio.timeout(TOKEN_SECONDS):
                    authorization = await _first_message(socket)
        await _watch(socket, wanted, authorization)
    except WebSocketDisconnect:
        return None
    except Problem as problem:
        return _REFUSED.get(problem.slug.name, TROUBLE)
    except tuple(_ENDED) as error:
        return _ENDED[type(error)]
    except BatchJobError as error:
        logger.warning("a watcher is let go", error=str(error))
    return TROUBLE


@contextmanager
def _stranger(socket: WebSocket) -> Iterator[None]:
    """While a token is waited for: a 429 where as many as may be are there already."""
    state = socket.app.state
    there = getattr(state, "strangers", 0)
    if there >= STRANGERS:
        raise Problem(TOO_MANY, LIMITED.reason)
    state.strangers = there + 1
    try:
        yield
    finally:
        state.strangers -= 1


async def _watch(socket: WebSocket, wanted: dict[str, str | None], authorization: str | None) -> None:
    """Watch; raises what ends it."""
    doors, hub = doors_of(socket), hub_of(socket)
    if authorization is None:
        raise Problem(INVALID, BAD_REQUEST.reason)
    caller = await admit(socket, doors, authorization)
    await take(socket, Kind.READ, caller.name, doors)
    after = checked_id(wanted["after"], "after")
    namespace = wanted["namespace"] or caller.namespace
    owner: str | None = wanted["owner"] or caller.name
    if job := wanted["job"]:
        found, _ = await find(doors, caller, job, "get")
        namespace, owner = found.metadata.namespace, found.spec.owner
    else:
        await may_watch(caller, namespace, owner)

    async def put(frames: list[Frame]) -> bool:
        for frame in frames:
            await socket.send_text(frame.text)
        return True

    async def listen() -> None:
        while True:  # what a client says later is nothing to us, but that it is gone
            if (await socket.receive())["type"] == "websocket.disconnect":
                raise WebSocketDisconnect

    async with hub.watch(owner_key(namespace, owner), job, after, who=caller.name) as watcher:
        ready = build_notice("ready", time.time_ns() // 1_000_000, Ready(owner, namespace).to_json())
        await socket.send_text(ready.text)
        right = Right(doors, authorization, namespace, owner, job)
        await first_of(stream(watcher, put, right.look), listen())


async def _first_message(socket: WebSocket) -> str | None:
    """The Authorization that the first message stands for; None where it is no such message."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    try:
        found = msgspec.json.decode(message.get("text") or "", type=Token)
    except msgspec.DecodeError:
        return None
    return f"Bearer {found.token}"


class Token(msgspec.Struct):
    """The first message of who could not send a header."""

    token: str
