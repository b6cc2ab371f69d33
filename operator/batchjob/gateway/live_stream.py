"""One who watches live events, until either side has enough: the loop that SSE and WebSockets share.

Whatever keeps a message from leaving for too long ends the connection, so nothing waits in a buffer without bound.
What is watched is looked at again now and then: a token that has expired or was withdrawn is of no use any more, of a
BatchJob that was deleted no event ever comes, and the last one may have been lost with the store.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from batchjob.core.events import ENDS
from batchjob.errors import BatchJobError
from batchjob.gateway.live_frames import Frame, build_notice
from batchjob.gateway.live_hub import Ear, TooSlow, Watcher
from batchjob.gateway.problems import FORBIDDEN, NOT_FOUND, UNAUTHENTICATED, Problem

HEARTBEAT_SECONDS: Final = 30.0  # what is between us and clients cuts connections that are silent for a minute
SEND_SECONDS: Final = 10.0  # for what was new at a time: a client whose buffers are full for so long is gone, or stuck
CLOSE_SECONDS: Final = 2.0  # for the last word to a client that may be stuck
CHECK_SECONDS: Final = 30.0  # between two looks at what is watched


class Expired(Exception):
    """The token is of no use any more, or the right to watch was taken away."""


class Gone(Exception):
    """What was watched is not there any more, or not theirs."""


async def stream(
    watcher: Watcher | Ear,
    send: Callable[[list[Frame]], Awaitable[bool]],
    look: Callable[[], Awaitable[Frame | None]],
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> None:
    """Send what is new until `send` says that this was the last. Errors: TooSlow, GoingAway, Expired, Gone, StoreError.

    `look`: what is watched, for this caller: its end where it has ended; a Problem where they may not, or it is gone.
    """
    checked = time.monotonic()
    more, ended = True, False
    while more:
        frames = await watcher.take(heartbeat_seconds)
        if time.monotonic() - checked >= CHECK_SECONDS:
            end = await _seen(look)
            checked = time.monotonic()
            if end is not None and not frames and not ended:  # its event is lost: all others had their time to come
                frames = [end]
        ended = ended or any(frame.type in ENDS for frame in frames)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                more = await send(frames or [build_notice("heartbeat", time.time_ns() // 1_000_000)])
        except TimeoutError:
            raise TooSlow from None


async def _seen(look: Callable[[], Awaitable[Frame | None]]) -> Frame | None:
    """Whom we cannot ask about is not cut off: that would send everybody to a Kubernetes that does not answer."""
    try:
        return await look()
    except Problem as problem:
        if problem.slug in {UNAUTHENTICATED, FORBIDDEN}:
            raise Expired from None
        if problem.slug is NOT_FOUND:
            raise Gone from None
    except BatchJobError:
        pass
    return None


async def first_of(*deeds: Awaitable[None]) -> None:
    """Wait for the first of some to end, and stop the others; raises what it raised."""
    tasks = [asyncio.ensure_future(deed) for deed in deeds]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
