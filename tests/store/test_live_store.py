"""Events for people in the store: told once by whoever tells, in order, in bounds, and out of reach of every worker."""

import asyncio
import itertools
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from batchjob.api.run import StoreAccess
from batchjob.core.events import LiveEvent, LiveType, Told
from batchjob.core.items import Succeeded
from batchjob.store import Store, Telling, live
from batchjob.store.keys import LIVE_BELL, live_events_key, live_told_key
from batchjob.store.live import NOTHING, Record
from tests.support.manifests import inline, noop
from tests.support.store_runs import Runs, commit
from tests.support.topologies import a_cluster
from tests.support.workers import Workers, wait_for


def telling(before: Record = NOTHING, count: int = 1, uid: str = "u", owner: str = "alice") -> Telling:
    numbers = range(before.told.seq + 1, before.told.seq + count + 1)
    events = [LiveEvent(LiveType.PROGRESS, 1000 + n, n, {"jobId": f"team.{uid}", "processed": n}) for n in numbers]
    return Telling(uid, owner, f"team.{uid}", before, Told(seq=before.told.seq + count), events)


async def seqs(store: Store, owner: str = "alice", after: str = "0") -> list[int]:
    return [entry.seq for entry in await store.live.read(owner, after)]


async def test_of_two_who_tell_the_same_one_is_heard_and_the_other_learns_what_was_told(store: Store) -> None:
    answers = await asyncio.gather(*(store.live.tell([telling(count=n)]) for n in (1, 2)))
    [[first], [second]] = answers
    assert first == second
    assert await seqs(store) == list(range(1, first.told.seq + 1))
    assert await store.live.told(["u", "other"]) == [first, NOTHING]
    await store.live.tell([telling(first)])
    assert await seqs(store) == list(range(1, first.told.seq + 2))


async def test_what_is_told_twice_because_its_answer_was_lost_is_heard_once(store: Store) -> None:
    [first] = await store.live.tell([telling()])
    assert [first] == await store.live.tell([telling()])
    assert await seqs(store) == [1]


async def test_an_event_comes_back_as_it_was_told(store: Store) -> None:
    await store.live.tell([telling()])
    [entry] = await store.live.read("alice", "0")
    assert entry[1:] == ("team.u", "batch:progress", 1001, 1, b'{"jobId":"team.u","processed":1}', "u")
    assert entry.id == await store.live.last("alice")
    assert await store.live.last("bob") == "0"
    assert await store.live.read_from("alice", entry.id) == [entry]


async def test_the_bell_says_of_whom_something_was_told(store: Store, redis: Redis) -> None:
    assert await store.live.wait(await store.live.last_ring(), 0.001) == ("0", set())
    waiting = asyncio.create_task(store.live.wait("0"))

    async def waits() -> bool | None:
        return bool((await redis.info("clients"))["blocked_clients"]) or None

    await wait_for(waits, "the gateway to wait at the bell")
    await store.live.tell([telling(), telling(uid="v", owner="bob")])
    last, owners = await waiting
    while owners != {"alice", "bob"}:
        last, more = await store.live.wait(last)
        owners = (owners or set()) | (more or set())
    assert last == await store.live.last_ring()


async def test_who_missed_too_many_rings_is_told_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RINGS_KEPT", 3)
    known = NOTHING
    for _ in range(5):
        [known] = await store.live.tell([telling(known)])
    last, owners = await store.live.wait("0")
    assert owners is None
    while owners is None:
        last, owners = await store.live.wait(last, 0.001)


async def test_an_owner_keeps_about_the_last_events_and_all_of_it_goes_by_itself(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVENTS_KEPT", 200)
    known = NOTHING
    for _ in range(20):
        [known] = await store.live.tell([telling(known, count=50)])
    kept = await redis.xlen(live_events_key("alice"))
    assert 200 <= kept <= 400
    assert 0 < await redis.pttl(live_events_key("alice")) <= live.EVENTS_KEPT_MS
    assert 0 < await redis.pttl(LIVE_BELL) <= live.EVENTS_KEPT_MS
    assert 0 < await redis.pttl(live_told_key("u")) <= live.TOLD_KEPT_MS


async def test_events_of_many_runs_are_read_at_once_and_one_that_a_tenant_spoilt_costs_the_others_nothing(
    store: Store, runs: Runs, redis: Redis
) -> None:
    good, spoilt = await runs.open(), await runs.open()
    await redis.delete(f"{{bj:{spoilt}}}:events")
    await redis.set(f"{{bj:{spoilt}}}:events", "x")
    found = await store.live.run_events([(spoilt, "0"), (good, "0"), ("unknown", "0")])
    assert [[event.kind for event in events] for events in found] == [[], ["open"], []]
    assert await store.live.run_events([(good, found[1][-1].id)]) == [[]]


async def test_who_carries_events_on_hears_of_the_last_progress_though_a_heartbeat_brought_it(
    store: Store, runs: Runs
) -> None:
    uid = await runs.open(items=100, chunk=100)
    [chunk] = await runs.claim(uid)
    worker = store.run(uid, "w1")
    for item in chunk.items[:20]:
        await worker.exchange([commit(chunk, [Succeeded(item.position)])], 0)
    while await store.changed(0):
        pass
    cursor = "0"

    async def heard() -> bool | None:
        nonlocal cursor
        await worker.exchange([commit(chunk)], 0)
        if uid not in await store.changed(0):
            return None
        [events] = await store.live.run_events([(uid, cursor)])
        cursor = events[-1].id
        return events[-1].fields.get("succeeded") == "20"

    await wait_for(heard, "the operator to hear of the last progress")


async def test_no_worker_can_read_or_write_an_event(workers: Workers) -> None:
    run = await workers.open(noop("n", inline(1))["spec"])
    [known] = await workers.store.live.tell([telling(uid=run.uid)])
    access = workers.access(run)
    async with Redis.from_url(access.url, username=access.username, password=access.password) as worker:
        for command in (
            ("XRANGE", live_events_key("alice"), "-", "+"),
            ("XADD", live_events_key("alice"), "*", "a", "b"),
            ("XADD", LIVE_BELL, "*", "owner", "alice"),
            ("GET", live_told_key(run.uid)),
        ):
            with pytest.raises(NoPermissionError):
                await worker.execute_command(*command)  # type: ignore[no-untyped-call]  # the client's
    assert await workers.store.live.told([run.uid]) == [known]


async def test_in_a_cluster_all_events_are_on_one_server_and_runs_where_they_are(tmp_path: Path) -> None:
    async with a_cluster(tmp_path) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        async with (
            Store.connect(StoreAccess(url=url), name="operator") as store,
            Redis.from_url(servers[0].url) as redis,
        ):
            await store.load_scripts()
            runs = Runs(store, redis)
            uids = [await runs.open() for _ in range(6)]
            found = await store.live.run_events([(uid, "0") for uid in uids])
            assert [[event.kind for event in events] for events in found] == [["open"]] * 6
            assert [len(await store.events(uid)) for uid in uids] == [1] * 6
            await store.live.tell([telling(uid=uid, owner=owner) for uid, owner in zip(uids, itertools.cycle("ab"))])
            _, owners = await store.live.wait("0")
            assert owners
            assert owners <= {"a", "b"}
            assert await seqs(store, "a") == [1, 1, 1]
