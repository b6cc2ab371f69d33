"""The fence: who may not write any more does not.

It asks with a connection in hand, right before the bytes of a request go: what was decided before, a connection that
took its time, or a process that stood still in between, changes nothing.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import aiohttp

from batchjob.errors import NotLeading

READS: Final = frozenset({"GET", "HEAD"})


def build_fence(may_write: Callable[[], bool]) -> aiohttp.TraceConfig:
    """What a session asks before each request; NotLeading where one would write and may not."""

    async def ask(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, request: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        if request.method not in READS and not may_write():
            raise NotLeading(f"{request.method} {request.url.path}: not sent, as another may lead by now")

    fence = aiohttp.TraceConfig()
    fence.on_request_headers_sent.append(ask)
    return fence
