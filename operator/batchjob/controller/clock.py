"""The wall clock, which somebody may set: what waits for a time of it is looked at again when it jumps.

Waits are timers, and those go by another clock: one that nobody sets, and that stands still while the machine is
suspended. So a jump of one against the other is what makes a timer ring too late.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from batchjob import log

LOOK_SECONDS: Final = 5.0  # a start comes so late at most
JUMP_SECONDS: Final = 1.0  # a clock that is only kept right is slowed or hurried by less than a thousandth

logger = log.get(__name__)


async def notice_jumps(tell: Callable[[], None], ahead: Callable[[], float] | None = None) -> None:
    """Call `tell` whenever the wall clock has jumped, for ever; `ahead`: seconds that it is ahead of timers."""
    ahead = ahead or (lambda: time.time() - time.monotonic())
    before = ahead()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        seconds = ahead() - before
        if abs(seconds) >= JUMP_SECONDS:
            logger.warning("the clock was set, or the machine suspended: looking at all", seconds=round(seconds, 1))
            before += seconds
            tell()
