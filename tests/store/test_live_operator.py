"""The operator tells people what moves: each turn once, whoever leads, and whatever is killed or away meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from batchjob.api.status import Phase
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.live import Live
from batchjob.controller.status import format_time
from batchjob.core.events import turn
from batchjob.core.items import Failed, Succeeded
from batchjob.core.records import owner_key
from batchjob.errors import Forbidden, NotFound, StoreUnavailable
from batchjob.gateway.live_frames import build_frame
from batchjob.store import LiveEntry, Store
from tests.support.frames import check_frame
from tests.support.store_runs import Runs, commit
from tests.support.workers import wait_for

ALICE = owner_key("team", "alice")


class Objects:
    """The BatchJobs as the API server has them."""

    def __init__(self) -> None:
        self._bodies: dict[str, dict[str, Any]] = {}
        self._version = 0
        self.barred: set[str] = set()

    async def get(self, _: Any, __: str, name: str) -> dict[str, Any]:
        if name in self.barred:
            raise Forbidden("no", status=403, reason="Forbidden")
        try:
            return self._bodies[name]
        except KeyError:
            raise NotFound("gone") from None

    def write(self, name: str, uid: str, phase: str, **status: Any) -> dict[str, Any]:
        self._version += 1
        metadata = {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(self._version)}
        condition = {"type": "Failed", "status": "True", "reason": "ItemsFailed", "message": "1 of 2 failed"}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        conditions = [condition] if phase == "Failed" else []
        found = {"phase": phase, "observedGeneration": 1, "conditions": conditions} | status
        body = {"metadata": metadata | {"generation": 1}, "spec": {"type": "custom", "owner": "alice"}, "status": found}
        self._bodies[name] = body
        return body


class Replica:
    """One operator's half that tells people; `see` is what its watch does."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self.known = KnownBatchJobs(turned=self._turned)
        self.live = Live(objects, self.known, store)  # type: ignore[arg-type]  # it reads objects, and no more
        self.leads = False
        self._store = store

    def _turned(self, *turn: Any) -> None:
        if self.leads:
            self.live.turned(*turn)

    async def lead(self) -> None:
        self.leads = True
        try:
            await self.live.lead()
        finally:
            self.leads = False

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.lead())
        await asyncio.sleep(0)  # in which it begins
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def heard(store: Store) -> list[LiveEntry]:
    """What was told; each of it as /asyncapi.json describes it."""
    found = await store.live.read(ALICE, "0")
    for entry in found:
        check_frame(build_frame(entry).text)
    return found


def types(entries: list[LiveEntry]) -> list[str]:
    return [entry.type.removeprefix("batch:") for entry in entries]


async def until(store: Store, kind: str) -> list[LiveEntry]:
    async def look() -> list[LiveEntry] | None:
        found = await heard(store)
        return found if kind in types(found) else None

    return await wait_for(look, f"{kind} to be told")


async def test_one_that_may_not_be_read_keeps_nobody_else_from_hearing_of_their_end(store: Store, runs: Runs) -> None:
    objects = Objects()
    replica = Replica(store, objects)
    for name in ("barred", "b"):
        end = {"completionTime": format_time(datetime.now(UTC))}
        replica.known.seen(objects.write(name, await runs.open(items=1), "Succeeded", **end))
    objects.barred.add("barred")
    async with replica.leading():
        told = await until(store, "complete")
    assert {entry.job for entry in told} == {"team.b"}


async def test_a_batchjob_is_told_from_its_queue_to_its_end(store: Store, runs: Runs) -> None:
    objects = Objects()
    replica = Replica(store, objects)
    uid = await runs.open(items=2, chunk=2)
    async with replica.leading():
        replica.known.seen(objects.write("a", uid, "Queued", queuePosition=2))
        await until(store, "queued")
        replica.known.seen(objects.write("a", uid, "Running"))
        [chunk] = await runs.claim(uid)
        await store.run(uid, "w").exchange([commit(chunk, [Succeeded(0), Failed(1, "refused", "no such mail")])], 0)
        replica.live.moved(uid)
        await until(store, "item_failed")
        counts = {"total": 2, "succeeded": 1, "failed": 1}
        replica.known.seen(objects.write("a", uid, "Failed", counts=counts))
        found = await until(store, "error")
    assert types(found) in (
        ["queued", "started", "item_failed", "error"],  # where all of it came in the same quarter of a second
        ["queued", "started", "item_failed", "progress", "error"],
        ["queued", "started", "progress", "item_failed", "error"],
        ["queued", "started", "progress", "item_failed", "progress", "error"],
    )
    assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
    said = {kind: entry.data for kind, entry in zip(types(found), found, strict=True)}
    assert said["queued"] == b'{"jobId":"team.a","position":2}'
    assert b'"item":"item-1","errorClass":"refused","error":"no such mail"' in said["item_failed"]
    assert b'"total":2' in said.get("progress", b'"total":2')
    assert b'"error":"1 of 2 failed","reason":"ItemsFailed"' in said["error"]


async def test_what_a_leader_did_not_come_to_the_next_one_tells(store: Store, runs: Runs) -> None:
    objects, uid = Objects(), await runs.open(items=2, chunk=2)
    replicas = [Replica(store, objects) for _ in range(2)]
    for replica in replicas:
        replica.known.seen(objects.write("a", uid, "Running"))
    async with replicas[0].leading():
        await until(store, "progress")
    ended = objects.write("a", uid, "Succeeded", completionTime=datetime.now(UTC).isoformat())
    long_ago = objects.write("old", "old", "Succeeded", completionTime="2026-01-01T00:00:00Z")
    for body in (ended, long_ago):
        replicas[1].known.seen(body)
    async with replicas[1].leading():
        found = await until(store, "complete")
    assert types(found) == ["started", "progress", "complete"]
    assert {entry.job for entry in found} == {"team.a"}, "nobody waits for what ended long ago"
    third = Replica(store, objects)
    third.known.seen(ended)
    third.known.seen(objects.write("b", "other", "Queued"))
    async with third.leading():
        found = await until(store, "queued")
    assert types(found) == ["started", "progress", "complete", "queued"], "the end is told once"


async def test_two_that_believe_they_lead_and_are_killed_at_any_moment_tell_each_turn_once(
    store: Store, runs: Runs
) -> None:
    """Both see the same turns, of several BatchJobs, and one or the other is stopped in the middle of it."""
    objects = Objects()
    uids = [await runs.open(items=8, chunk=1) for _ in range(3)]
    replicas = [Replica(store, objects) for _ in range(2)]
    tasks = [asyncio.create_task(replica.lead()) for replica in replicas]
    phases = ["Queued", "Running", "Suspended", "Running", "Finalizing", "Succeeded"]
    for step, phase in enumerate(phases):
        for number, uid in enumerate(uids):
            body = objects.write(f"job-{number}", uid, phase, completionTime=datetime.now(UTC).isoformat())
            for replica in replicas:
                replica.known.seen(body)
                replica.live.moved(uid)
            for chunk in await runs.claim(uid, want=1):
                await store.run(uid, "w").exchange([commit(chunk, [Failed(chunk.items[0].position, "refused", "")])], 0)
        victim = step % 2
        tasks[victim].cancel()
        await asyncio.gather(tasks[victim], return_exceptions=True)
        tasks[victim] = asyncio.create_task(replicas[victim].lead())

        async def is_told(phase: str = phase) -> bool | None:
            told = [record.told for record in await store.live.told(uids)]
            return all(turn(one, Phase(phase)) is None for one in told) or None

        await wait_for(is_told, f"{phase} to be told of all")  # else whoever begins next sees a later one
    try:

        async def ends() -> bool | None:
            return types(await heard(store)).count("complete") == len(uids) or None

        await wait_for(ends, "every end to be told")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for number in range(len(uids)):
        mine = [entry for entry in await heard(store) if entry.job == f"team.job-{number}"]
        assert [entry.seq for entry in mine] == list(range(1, len(mine) + 1))
        told = types(mine)
        assert told[-1] == "complete"
        assert told.count("item_failed") == 6
        turns = [kind for kind in told if kind not in {"progress", "item_failed"}]
        assert turns == ["queued", "started", "suspended", "resumed", "complete"]


async def test_what_could_not_be_told_while_the_store_was_away_is_told_when_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob.controller.live.PAUSE_SECONDS", 0.01)
    objects = Objects()
    replica = Replica(store, objects)
    tell: Callable[..., Awaitable[Any]] = store.live.tell
    calls = 0

    async def refuse(tellings: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise StoreUnavailable("away")
        if calls == 3:
            await tell(tellings)
            raise StoreUnavailable("it was done, and the answer was lost")
        return await tell(tellings)

    async def again() -> bool | None:
        return calls >= 4 or None

    monkeypatch.setattr(store.live, "tell", refuse)
    async with replica.leading():
        for phase in ("Queued", "Running", "Suspended", "Cancelled"):
            replica.known.seen(objects.write("a", "u", phase))
        await until(store, "cancelled")
        await wait_for(again, "the leader to try again")
    assert types(await heard(store)) == ["queued", "started", "suspended", "cancelled"]
