"""Our copy of a kind: what fails is tried again with longer and longer pauses, and what is gone stays gone."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast
from unittest.mock import Mock

import pytest

from batchjob.controller.informer import BARRED_SECONDS, SHORT_SECONDS, Informer, Keep
from batchjob.errors import ApiUnavailable, Forbidden, Gone, KubernetesError
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


@pytest.mark.parametrize(
    ("error", "synced"), [(Forbidden("no", status=403), True), (ApiUnavailable("away"), False)], ids=["403", "away"]
)
async def test_a_namespace_that_stays_forbidden_is_not_waited_for(
    error: KubernetesError, synced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = 0.0, 0
    monkeypatch.setattr("batchjob.controller.informer.time", Mock(monotonic=lambda: now))
    monkeypatch.setattr("batchjob.controller.informer._delay_seconds", lambda _: 0)

    class Server:
        async def list(self, _: object, namespace: str, **__: object) -> Listing:
            nonlocal now, asked
            if namespace == "team":
                return Listing([job(9)], "10")
            now, asked = now + 1, asked + 1
            assert asked > BARRED_SECONDS or not informer.synced.is_set(), "it may be a Role that is not in force yet"
            if asked > 2 * BARRED_SECONDS:
                done.set()
            raise error

        async def watch(self, *_: object, **__: object) -> AsyncGenerator[WatchEvent]:
            await asyncio.Event().wait()
            yield WatchEvent("", {})

    done, kube = asyncio.Event(), Server()
    informer = Informer(cast("Any", kube), JOBS, ["team", "elsewhere"], None, Mock())
    run = asyncio.create_task(informer.run())
    await asyncio.wait_for(done.wait(), 5)
    assert informer.synced.is_set() == synced
    assert informer.get(A)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_a_version_that_got_too_old_after_a_good_watch_is_listed_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Gone("too old", status=410)
    server = Server((0.1, gone), (0.1, gone), (SHORT_SECONDS + 1, gone), (0.1, gone))
    assert await follow(server, monkeypatch, lambda _: None) == [1, 2, 0, 1]


async def test_a_reply_that_comes_after_the_watch_told_of_the_end_brings_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(events=(WatchEvent("MODIFIED", job(11)), WatchEvent("DELETED", job(13))))
    server.items = [job(9)]
    seen: list[Any] = []

    def then(informer: Informer) -> None:
        for reply in (job(12), job(14, "u2")):
            informer.remember(reply)
            seen.append(informer.get(A))

    await follow(server, monkeypatch, then)
    assert seen == [None, job(14, "u2")]


async def test_late_news_of_the_end_of_one_takes_no_namesake_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its successor was made, by a write of ours, before the watch told."""
    server = Server(events=(WatchEvent("DELETED", job(13, "old")),))
    server.items = [job(14, "new")]
    seen: list[Any] = []

    def then(informer: Informer) -> None:
        informer.remember(job(12, "old"))
        seen.append(informer.get(A))

    await follow(server, monkeypatch, then)
    assert seen == [job(14, "new")]


async def test_an_object_that_left_the_watch_for_want_of_its_labels_is_known_once_it_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(events=(WatchEvent("ADDED", job(11)), WatchEvent("DELETED", job(12))))
    seen: list[Any] = []

    def then(informer: Informer) -> None:
        informer.remember(job(12))
        seen.append(informer.get(A))

    await follow(server, monkeypatch, then)
    assert seen == [job(12)]


async def test_no_more_is_kept_of_what_is_gone_than_may_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.controller.informer.GONE_KEPT", 2)
    server = Server(events=tuple(WatchEvent("DELETED", job(11 + number, f"u{number}")) for number in range(4)))
    seen: list[Any] = []
    await follow(server, monkeypatch, lambda informer: seen.append(informer._gone))
    assert seen == [{"u2": 13, "u3": 14}]


async def test_what_a_write_returned_is_seen_before_the_watch_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(events=(WatchEvent("MODIFIED", job(11)),))
    seen: list[Any] = []

    def then(informer: Informer) -> None:
        for version in (13, 12):
            informer.remember(job(version))
            seen.append(informer.get(A))

    await follow(server, monkeypatch, then)
    assert seen == [job(13), job(13)]


@pytest.mark.parametrize(("tells_of_rest", "heard"), [(False, 1), (True, 3)])
async def test_a_change_of_what_is_not_kept_is_news_where_somebody_asks_for_it(tells_of_rest: bool, heard: int) -> None:
    """The second is the echo of a write of ours, and the third changes nothing that is kept."""
    listener, kube = Mock(), cast("Any", Server())
    informer = Informer(kube, JOBS, ["team"], None, listener, keep=Keep(lambda item: item, tells_of_rest))
    informer._apply("ADDED", job(11))
    informer.remember(job(12))
    informer._apply("MODIFIED", job(12))
    informer._apply("MODIFIED", job(13))
    assert listener.call_count == heard
