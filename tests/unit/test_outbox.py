"""Nobody waits for a receiver of somebody else's: the outbox shares workers and lookups out by namespace."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.notify import destinations
from batchjob.controller.notify.destinations import LOOKUPS, LOOKUPS_OF_ONE, Destinations
from batchjob.controller.notify.outbox import OF_A_NAMESPACE, WORKERS, Outbox, OutboxSettings
from batchjob.controller.notify.places import Places

LATE = 10  # seconds, in which nothing here takes any


def owing(namespace: str, name: str) -> dict[str, Any]:
    """A BatchJob of which somebody is to be told something now."""
    due = {"deliveries": [{"to": "webhooks[0]", "nextAttemptTime": "2026-01-01T00:00:00Z"}]}
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}", "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {}, "status": {"notifications": [due]}}


@pytest.fixture
def known() -> KnownBatchJobs:
    """Many BatchJobs of a namespace whose receivers never answer, and then one of another."""
    found = KnownBatchJobs()
    for number in range(2 * WORKERS):
        found.seen(owing("slow", f"job-{number}"))
    found.seen(owing("quick", "job"))
    return found


async def test_a_namespace_whose_receivers_are_slow_holds_up_no_other(
    known: KnownBatchJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ObjectKey] = []
    others, go_on, all_told = asyncio.Event(), asyncio.Event(), asyncio.Event()
    at_once = most = 0

    async def tell(_: Outbox, key: ObjectKey) -> None:
        nonlocal at_once, most
        if key[0] == "quick":
            others.set()
        else:
            at_once += 1
            most = max(most, at_once)
            await go_on.wait()
            at_once -= 1
        told.append(key)
        if len(told) == 2 * WORKERS + 1:
            all_told.set()

    monkeypatch.setattr(Outbox, "_tell", tell)
    settings = OutboxSettings((), (1.0,), None)
    lead = asyncio.ensure_future(Outbox(cast("Any", None), known, settings, lambda _: None).lead())
    async with asyncio.timeout(LATE):
        await others.wait()
        go_on.set()
        await all_told.wait()
    lead.cancel()
    await asyncio.gather(lead, return_exceptions=True)
    assert most == OF_A_NAMESPACE
    assert len(set(told)) == len(told), "each was told once, those that had to wait too"


def test_who_waits_for_a_place_has_the_next_one_in_its_turn() -> None:
    places = Places(1)
    assert [places.take(("a", name)) for name in "123"] == [True, False, False]
    assert places.take(("b", "1"))
    assert places.give_back(("a", "1")) == ("a", "2")
    assert places.take(("a", "2"))
    assert places.give_back(("a", "2")) == ("a", "3")
    assert places.take(("a", "3"))
    assert places.give_back(("a", "3")) is places.give_back(("b", "1")) is None


class NameServer:
    """One that hangs on all names but `quick`, until it answers."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = self.most = 0
        self._lock = threading.Lock()

    def look_up(self, host: str, _: int) -> list[str]:
        if host != "quick":
            self._count(1)
            assert self.answers.wait(60)
            self._count(-1)
        return ["8.8.8.8"]

    def _count(self, by: int) -> None:
        with self._lock:
            self.asked += by
            self.most = max(self.most, self.asked)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    found = NameServer()
    monkeypatch.setattr(destinations, "_look_up", found.look_up)
    yield found
    found.answers.set()


async def test_names_that_nobody_answers_for_keep_no_other_namespace_from_its_own(name_server: NameServer) -> None:
    shared = Destinations([])
    for _ in range(2):  # who has given up has left a thread behind
        lookups = [asyncio.ensure_future(shared.of("slow").find("slow", 443)) for _ in range(LOOKUPS)]
        async with asyncio.timeout(LATE):
            assert await shared.of("quick").find("quick", 443) == ["8.8.8.8"]
        assert not any(lookup.done() for lookup in lookups)
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
    name_server.answers.set()
    async with asyncio.timeout(LATE):
        assert await asyncio.gather(*(shared.of("slow").find("slow", 443) for _ in range(2 * LOOKUPS_OF_ONE)))
    assert name_server.most == LOOKUPS_OF_ONE
