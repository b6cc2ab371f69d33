"""Our copy of a kind: what fails is tried again with longer and longer pauses, and what is gone stays gone."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any
from unittest.mock import Mock

import pytest

from batchjob.controller.informer import SHORT_SECONDS, Informer
from batchjob.errors import Forbidden, Gone, KubernetesError
from batchjob.kube import JOBS, Listing, WatchEvent

A = ("team", "a")


def job(version: int, uid: str = "u1") -> dict[str, Any]:
    return {"metadata": {"namespace": "team", "name": "a", "uid": uid, "resourceVersion": str(version)}}


class Server:
    """Lists what it has at version 10; each watch lasts so many seconds, tells its events and fails, or hangs."""

    def __init__(self, *watches: tuple[float, KubernetesError], events: tuple[WatchEvent, ...] = ()) -> None:
        self.items: list[dict[str, Any]] = []
        self.watches = list(watches)
        self.events = events
        self.now = 0.0
        self.idle = asyncio.Event()  # the last watch hangs

    async def list(self, *_: object, **__: object) -> Listing:
        return Listing(self.items, "10")

    async def watch(self, *_: object, **__: object) -> AsyncGenerator[WatchEvent]:
        if self.watches:
            seconds, error = self.watches.pop(0)
            self.now += seconds
            raise error
        for event in self.events:
            yield event
        self.idle.set()
        await asyncio.Event().wait()


async def follow(server: Server, monkeypatch: pytest.MonkeyPatch, then: Callable[[Informer], None]) -> list[int]:
    """Run an informer until the server has nothing more to say; the failures at each of its pauses."""
    pauses: list[int] = []

    def pause(failures: int) -> float:
        pauses.append(failures)
        return 0

    monkeypatch.setattr("batchjob.controller.informer.time", Mock(monotonic=lambda: server.now))
    monkeypatch.setattr("batchjob.controller.informer._delay_seconds", pause)
    kube: Any = server
    informer = Informer(kube, JOBS, ["team"], None, Mock())
    run = asyncio.create_task(informer.run())
    await asyncio.wait_for(server.idle.wait(), 5)
    then(informer)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    return pauses


@pytest.mark.parametrize("error", [Forbidden("no", status=403), Gone("too old", status=410)])
async def test_where_lists_work_and_watches_are_refused_the_pauses_grow(
    error: KubernetesError, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(*[(0.1, error)] * 4)
    assert await follow(server, monkeypatch, lambda _: None) == [1, 2, 3, 4]


async def test_a_version_that_got_too_old_after_a_good_watch_is_listed_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Gone("too old", status=410)
    server = Server((0.1, gone), (0.1, gone), (SHORT_SECONDS + 1, gone), (0.1, gone))
    assert await follow(server, monkeypatch, lambda _: None) == [1, 2, 0, 1]
