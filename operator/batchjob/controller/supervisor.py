"""Keeping kopf's watch of the custom resources alive, whatever happens to it.

kopf 1.45 ends its operator on any watch error but 410, on 401, on a list that fails for a minute (its trap T2): so it
is started again in process, for ever, with a growing pause. It runs in a thread with a loop of its own, because when
it ends it cancels every task of its loop that it does not know. What it may have missed meanwhile (T1) is found by
comparing with a list of names whenever it starts, after each of its lists that has something in it (of an empty one it
tells nobody), and every few minutes.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import kopf

from batchjob import log
from batchjob.controller.handlers import build_registry
from batchjob.errors import NotFound
from batchjob.kube import BATCH_JOBS, Access, Kube

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 30.0
HEALTHY_SECONDS: Final = 60.0  # kopf ran so long that its next end is a new story
# A watch ends by itself after this, and the server sends a bookmark before: no version ever gets too old, and a
# connection that died in silence is noticed when it should have ended.
WATCH_SECONDS: Final = 40
SILENCE_SECONDS: Final = 55.0
STOP_SECONDS: Final = 2.0  # kopf takes its time to stop; it has nothing to save

logger = log.get(__name__)


class NoProgress(kopf.ProgressStorage):
    """It remembers nothing in our objects: annotations of its own break above 256 KiB (its trap T7)."""

    def fetch(self, **_: Any) -> None:
        """Nothing is remembered."""

    def store(self, **_: Any) -> None:
        """Remember nothing."""

    def purge(self, **_: Any) -> None:
        """Nothing to forget."""

    def touch(self, **_: Any) -> None:
        """No annotation is touched."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing to leave out."""
        return essence


class NoDiffBase(kopf.DiffBaseStorage):
    """As NoProgress, for the last seen spec: not even built, which would copy each object in each of its events."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing is compared."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Nothing is remembered."""

    def store(self, **_: Any) -> None:
        """Remember nothing."""


def build_settings() -> kopf.OperatorSettings:
    """A mere watcher: no writes of its own, no peering, its own time limits everywhere."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None  # it would kill the process ten minutes after each restart
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # else it watches namespaces and CRDs of the whole cluster
    settings.queueing.worker_limit = None  # a limit throttles the start to some 40 objects a second
    settings.queueing.idle_timeout = 1.0
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = None
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.watching.reconnect_backoff = 1.0  # after a 410; after its other ends see WATCH_PAUSE_SECONDS
    settings.watching.chunk_size = BATCH_JOBS.page_size
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.diffbase_storage = NoDiffBase()
    return settings


class Supervisor:
    """Runs kopf in a thread and tells `inbox`, in the caller's loop, what it sees.

    Of one namespace (None: all), as kopf ends with any that is forbidden: the others shall not notice.
    """

    def __init__(
        self,
        access: Access,
        namespace: str | None,
        inbox: Callable[[str | None, dict[str, Any]], None],
        begins: Callable[[], None],
    ) -> None:
        """`begins`: is called, in the caller's loop, whenever kopf starts."""
        self._access = access
        self._namespace = namespace
        self._inbox = inbox
        self._begins = begins
        self._stop = threading.Event()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def run(self) -> None:
        """Keep kopf running until cancelled. RuntimeError where its thread ended: nothing would be seen any more."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def hand_over(kind: str | None, body: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._inbox, kind, body)

        def begin() -> None:
            loop.call_soon_threadsafe(self._begins)

        def keep_running() -> None:
            try:
                self._keep_running(hand_over, begin)
            finally:
                with suppress(RuntimeError):  # we ended before it, and the loop is closed
                    loop.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=keep_running, name="kopf", daemon=True)
        thread.start()
        try:
            await ended.wait()
            raise RuntimeError("the thread of kopf ended")
        finally:
            self._stop.set()
            self._stop_kopf()
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    def _stop_kopf(self) -> None:
        if self._running:
            loop, stop = self._running
            with suppress(RuntimeError):  # it ended by itself, and its loop is closed
                loop.call_soon_threadsafe(stop.set)

    def _keep_running(self, inbox: Callable[[str | None, dict[str, Any]], None], begin: Callable[[], None]) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                asyncio.run(self._operator(inbox, begin))
            except Exception as error:  # noqa: BLE001 - whatever ended it, it is started again
                logger.warning("kopf ended", namespace=self._namespace, error=repr(error))
            if self._stop.is_set():
                return
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - started > HEALTHY_SECONDS else pause
            logger.info("starting kopf again", pause_seconds=pause)
            self._stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load
            pause = min(MAX_PAUSE_SECONDS, pause * 2)

    async def _operator(self, inbox: Callable[[str | None, dict[str, Any]], None], begin: Callable[[], None]) -> None:
        async with Kube(self._access) as kube:
            if not await kube.serves(BATCH_JOBS):  # kopf would wait for ever
                raise NotFound("the API server does not know BatchJobs: the CRD is not installed")
        stop = asyncio.Event()  # of kopf's loop: waiting for a thread's event would keep a dead kopf from ending
        self._running = asyncio.get_running_loop(), stop
        if self._stop.is_set():  # told before there was anything to stop
            return
        begin()
        await kopf.operator(
            registry=build_registry(self._access, inbox),
            settings=build_settings(),
            clusterwide=self._namespace is None,
            namespaces=[self._namespace] if self._namespace else [],
            standalone=True,
            stop_flag=stop,
        )
