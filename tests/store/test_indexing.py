"""The index is kept as the BatchJobs are: what changes, what goes, what was lost, what somebody else wrote."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

import pytest
from redis.asyncio import Redis

from batchjob.controller import indexing
from batchjob.controller.indexing import Indexing
from batchjob.controller.known import KnownBatchJobs
from batchjob.core.queries import parse_query
from batchjob.core.rows import JobRow
from batchjob.errors import ApiUnavailable
from batchjob.store import Store
from batchjob.store.keys import INDEX

PATIENCE_SECONDS: Final = 20


class Names:
    """What a list of all names says: what is known, and these."""

    def __init__(self, known: KnownBatchJobs) -> None:
        self._known = known
        self.more: set[str] = set()
        self.barred: set[str] = set()
        self.failures = 0

    async def uids(self) -> tuple[set[str], set[str]]:
        if self.failures:
            self.failures -= 1
            raise ApiUnavailable("no names")
        return {entry.uid for entry in self._known.entries()} | self.more, self.barred

    def serves(self, namespace: str) -> bool:
        return namespace != "not-ours"


class World:
    """An operator that knows some BatchJobs, and what it needs to keep the index."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known = KnownBatchJobs(moved=lambda row: self.indexing.moved(row))  # noqa: PLW0108 - it is made below
        self.names = Names(self.known)
        self.indexing = Indexing(store, self.known, cast("Any", self.names))
        self._version = 0

    def see(self, name: str, phase: str = "Running", namespace: str = "team", **labels: str) -> None:
        self._version += 1
        metadata = {"namespace": namespace, "name": name, "uid": f"u-{name}", "resourceVersion": str(self._version)}
        metadata |= {"creationTimestamp": "2026-01-31T09:00:00Z"}
        spec = {"type": "export", "owner": "alice"}
        self.known.seen({"metadata": metadata | {"labels": labels}, "spec": spec, "status": {"phase": phase}})

    async def shows(self, text: str, *names: str) -> None:
        """Wait until a search finds these."""
        found: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while found != sorted(names):
                    page = await self.store.index.search(parse_query(text), 0)
                    found = sorted(row.name for row in page.rows)
        except TimeoutError:
            raise AssertionError(f"{text} finds {found} and not {names}") from None


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(indexing, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(indexing, "BETWEEN_SECONDS", 0)


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    yield World(store)
    await store.load_scripts()


@pytest.fixture
async def lead(world: World) -> AsyncIterator[Callable[[], asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []

    def begin() -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(world.indexing.lead()))
        return tasks[-1]

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Lead = Callable[[], asyncio.Task[None]]


async def test_what_is_there_when_the_lead_begins_is_listed_and_what_changes_then(world: World, lead: Lead) -> None:
    world.see("a")
    world.see("b", "Succeeded")
    lead()
    await world.shows("", "a", "b")
    world.see("a", "Failed", team="x")
    world.see("c")
    await world.shows("status:failed label.team:x", "a")
    await world.shows("status:running", "c")
    world.known.deleted("team", "b", "u-b")
    await world.shows("", "a", "c")


async def test_what_changes_does_not_wait_for_what_is_put_again(
    world: World, lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BATCH", 1)
    put: list[str] = []
    kept = world.store.index.keep

    async def keep(changes: dict[str, JobRow | None], mark: str) -> Any:
        put.extend(row.name for row in changes.values() if row)
        if len(put) == 2:
            world.see("new")
        return await kept(changes, mark)

    monkeypatch.setattr(world.store.index, "keep", keep)
    for name in "abcde":
        world.see(name)
    lead()
    await world.shows("", "a", "b", "c", "d", "e", "new")
    assert put.index("new") == 2


async def test_nothing_is_written_where_nothing_that_is_listed_changes(world: World, lead: Lead, redis: Redis) -> None:
    world.see("a")
    lead()
    await world.shows("", "a")
    mark = await redis.get(INDEX.mark)
    world.see("a")
    world.see("b")
    await world.shows("", "a", "b")
    left = await redis.get(INDEX.mark)
    assert [int(str(text).strip("b'").rpartition(":")[2]) for text in (mark, left)] == [1, 2]


async def test_rows_of_what_is_gone_go_when_the_lead_begins_but_not_those_of_others(
    world: World, lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "PAGE", 2)
    first = World(world.store)
    for name in ("kept", "gone-1", "gone-2", "unseen"):
        first.see(name)
    first.see("other", namespace="not-ours")
    first.see("forbidden", namespace="barred")
    await world.store.index.keep({e.row.id: e.row for e in first.known.entries()}, "of the last leader")
    world.see("kept", "Failed")
    world.names.more = {"u-unseen"}  # made, and not told of yet
    world.names.barred = {"barred"}
    world.names.failures = 2
    lead()
    await world.shows("", "kept", "unseen", "other", "forbidden")
    await world.shows("status:failed", "kept")


async def test_an_index_that_was_lost_is_made_again_though_nothing_changes(
    world: World, lead: Lead, redis: Redis
) -> None:
    world.see("a")
    lead()
    await world.shows("", "a")
    await redis.flushall()
    await redis.script_flush()
    await world.shows("", "a")


@pytest.mark.parametrize("quiet", [True, False])
async def test_a_store_that_lost_its_last_second_gets_it_again(
    world: World, lead: Lead, redis: Redis, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    if not quiet:  # then the next change is what tells
        monkeypatch.setattr(indexing, "CHECK_SECONDS", 3600)
    for name in ("a", "b"):
        world.see(name)
    lead()
    await world.shows("", "a", "b")
    lost = world.known.get(("team", "b"))
    assert lost
    before = await redis.get(INDEX.mark)
    world.see("a", "Failed")
    await world.shows("status:failed", "a")
    await world.store.index.keep({lost.row.id: None}, "x")
    await redis.set(INDEX.mark, before or b"")
    if not quiet:
        world.see("a", "Succeeded")
    await world.shows("", "a", "b")


async def test_an_error_of_the_store_is_no_end_and_leaves_nothing_out(
    world: World, lead: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, failing = world.store.index.keep, 3

    async def keep(changes: dict[str, JobRow | None], mark: str) -> Any:
        nonlocal failing
        failing -= 1
        if failing in (1, 0):
            raise (ApiUnavailable("away") if failing else RuntimeError("a mistake of ours"))
        return await kept(changes, mark)

    monkeypatch.setattr(world.store.index, "keep", keep)
    world.see("a")
    world.see("b")
    task = lead()
    await world.shows("", "a", "b")
    world.known.deleted("team", "b", "u-b")
    world.see("a", "Failed")
    await world.shows("status:failed", "a")
    await world.shows("", "a")
    assert failing < 0
    assert not task.done()


async def test_who_does_not_lead_writes_nothing(world: World, lead: Lead, redis: Redis) -> None:
    world.see("a")
    task = lead()
    await world.shows("", "a")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.see("a", "Failed")
    world.see("b")
    assert not world.indexing._due
    mark = await redis.get(INDEX.mark)
    lead()
    await world.shows("status:failed", "a")
    assert await redis.get(INDEX.mark) != mark
