"""A heartbeat that user code cannot starve: a thread with an event loop and a connection of its own.

The exchange of the main loop renews every lease. Where user code blocks that loop (a computation in an `async def`),
this thread renews in its place, for as long as one attempt may take; after that it ends the process, so that the
leases run out and other workers take over. It commits nothing: a commit with number 0 is older than any, so the store
only renews by it. Only C code that keeps the interpreter's lock for longer than a lease can starve it.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import copy_context

from batchjob import log
from batchjob.errors import StoreError
from batchjob.store import Commit, Store

logger = log.get(__name__)


class Pulse:
    """When the main loop last moved, and what it holds; written by the main loop, read by threads."""

    def __init__(self, limit_seconds: float) -> None:
        self.leases: tuple[
            tuple[str, int], ...
        ] = ()  # chunk and fence; replaced whole, so that a reader sees one state
        self.renewed = time.monotonic()
        self._limit_seconds = limit_seconds
        self._beat = time.monotonic()

    def beat(self) -> None:
        """The main loop moves."""
        self._beat = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether the main loop moved within the time that one attempt may block it."""
        return time.monotonic() - self._beat < self._limit_seconds

    def renewal_is_late(self, seconds: float) -> bool:
        """Whether leases are held and were not renewed for so long."""
        return bool(self.leases) and time.monotonic() - self.renewed > seconds


class Heartbeat(threading.Thread):
    """Renews leases when the main loop does not."""

    def __init__(
        self,
        connect: Callable[[str], Store],
        uid: str,
        worker: str,
        pulse: Pulse,
        renew_seconds: float,
        give_up: Callable[[], None],
    ) -> None:
        """`connect` opens the store under a name, `give_up` ends the process; both are called in the thread."""
        super().__init__(name="heartbeat", daemon=True)
        self._context = copy_context()  # of logs: whose run it is
        self._connect = connect
        self._uid = uid
        self._worker = worker
        self._pulse = pulse
        self._renew_seconds = renew_seconds
        self._give_up = give_up
        self._ended = threading.Event()

    def run(self) -> None:
        """Watch until the end."""
        self._context.run(asyncio.run, self._watch())

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    async def _watch(self) -> None:
        async with self._connect(f"{self._worker}-heartbeat") as store:
            run = store.run(self._uid, self._worker)
            # The loop has nothing else to do, so it may block on the event.
            while not self._ended.wait(self._renew_seconds / 3):
                if not self._pulse.is_alive:
                    self._give_up()
                    return
                if not self._pulse.renewal_is_late(self._renew_seconds * 1.5):
                    continue
                now = time.monotonic()
                try:
                    await run.exchange([Commit(chunk, fence, number=0) for chunk, fence in self._pulse.leases], 0)
                except StoreError as error:
                    logger.warning("the heartbeat could not renew", error=str(error))
                else:
                    self._pulse.renewed = now
