"""One who watches live events, until either side has enough: the loop that SSE and WebSockets share.

Whatever keeps a message from leaving for too long ends the connection, so nothing waits in a buffer without bound.
The right to watch is asked for again now and then: a token that has expired or was withdrawn is of no use any more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from batchjob.errors import BatchJobError
from batchjob.gateway.live_frames import Frame, build_notice
from batchjob.gateway.live_hub import Ear, TooSlow, Watcher

HEARTBEAT_SECONDS: Final = 30.0  # what is between us and clients cuts connections that are silent for a minute
SEND_SECONDS: Final = 10.0  # for what was new at a time: a client whose buffers are full for so long is gone, or stuck
CLOSE_SECONDS: Final = 2.0  # for the last word to a client that may be stuck
CHECK_SECONDS: Final = 30.0  # between two looks at the right to watch


class Expired(Exception):
    """The token is of no use any more, or the right to watch was taken away."""


async def stream(
    watcher: Watcher | Ear,
    send: Callable[[list[Frame]], Awaitable[bool]],
    may_watch: Callable[[], Awaitable[bool]],
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> None:
    """Send what is new until `send` says that this was the last. Errors: TooSlow, GoingAway, Expired, StoreError.

    `may_watch`: whether they still may.
    """
    checked = time.monotonic()
    more = True
    while more:
        frames = await watcher.take(heartbeat_seconds)
        if time.monotonic() - checked >= CHECK_SECONDS:
            if not await _still(may_watch):
                raise Expired
            checked = time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                more = await send(frames or [build_notice("heartbeat", time.time_ns() // 1_000_000)])
        except TimeoutError:
            raise TooSlow from None


async def _still(may_watch: Callable[[], Awaitable[bool]]) -> bool:
    """Whom we cannot ask about is not cut off: that would send everybody to a Kubernetes that does not answer."""
    try:
        return await may_watch()
    except BatchJobError:
        return True


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
