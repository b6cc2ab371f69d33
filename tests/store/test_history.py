"""The records of runs that ended: there once each, in bounds, and out of reach of every worker."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from batchjob.core.items import Failed, Outcome, Retried, Succeeded
from batchjob.core.records import KEPT_SECONDS, RECORD_BYTES, RunRecord, owner_key
from batchjob.store import Store, history
from batchjob.store.keys import history_keys
from tests.support.manifests import inline, noop
from tests.support.store_runs import Runs, commit
from tests.support.workers import Workers


def record(uid: str, ended: float, owner: str | None = "alice", **fields: Any) -> RunRecord:
    known = {"namespace": "team", "name": f"job-{uid}", "type": "custom", "queue": "custom", "phase": "Succeeded"}
    return RunRecord(uid=uid, owner=owner, created=ended - 9, ended=ended, **known | fields)


async def uids(store: Store, since: float, until: float, owner: str | None = None) -> list[str]:
    return [found.uid async for found in store.history.read(since, until, owner)]


async def test_a_run_is_remembered_once_however_often_its_end_is_told(store: Store) -> None:
    now = time.time()
    await store.history.put(record("a", now - 5, succeeded=1))
    await store.history.put(record("a", now - 3, succeeded=2))
    [found] = [one async for one in store.history.read(0, now)]
    assert (found.ended, found.succeeded) == (now - 3, 2)
    assert await uids(store, 0, now, owner_key("team", "alice")) == ["a"]


async def test_records_come_by_the_end_of_their_runs_and_by_owner(store: Store) -> None:
    now = time.time()
    for number, owner in enumerate(("alice", "bob", None, "alice")):
        await store.history.put(record(str(number), now - 100 + number, owner))
    assert await uids(store, now - 99.5, now - 97) == ["1", "2"]
    assert await uids(store, 0, now, owner_key("team", "alice")) == ["0", "3"]
    assert await uids(store, 0, now, owner_key("team", None)) == ["2"]
    assert await uids(store, 0, now, owner_key("other", "alice")) == [], "where nobody checks it, a name is a claim"
    begins = await store.history.begins()
    assert begins is not None
    assert abs(begins - (now - 100)) < 0.01


async def test_what_is_older_than_90_days_goes_with_the_next_that_comes(store: Store, redis: Redis) -> None:
    now = time.time()
    await store.history.put(record("old", now - KEPT_SECONDS - 1))
    await store.history.put(record("kept", now - KEPT_SECONDS + 3600))
    await store.history.put(record("new", now))
    assert await uids(store, 0, now + 1) == ["kept", "new"]
    records, ended, of_alice = history_keys(owner_key("team", "alice"))
    assert (await redis.hlen(records), await redis.zcard(ended), await redis.zcard(of_alice)) == (2, 2, 2)
    assert 0 < await redis.pttl(records) <= KEPT_SECONDS * 1000


async def test_of_too_many_the_oldest_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RECORDS_KEPT", 3)
    now = time.time()
    for number in range(5):
        await store.history.put(record(str(number), now - 100 + number))
    assert await uids(store, 0, now) == ["2", "3", "4"]
    assert await uids(store, 0, now, owner_key("team", "alice")) == ["2", "3", "4"]


async def test_a_record_that_a_worker_blew_up_keeps_its_bound(store: Store, redis: Redis) -> None:
    now = time.time()
    usage = {f"{n:02d}" + "ü" * 62: 2**53 for n in range(32)}
    huge = record("a", now - 1, failures=usage, usage=usage, durations=dict.fromkeys(range(185), 2**53), failed=7)
    await store.history.put(huge)
    records, _, _ = history_keys("")
    assert len(await redis.hget(records, "a") or b"") <= RECORD_BYTES
    [found] = [one async for one in store.history.read(0, now)]
    assert (found.failed, found.usage) == (7, {})


async def test_records_outlive_the_runs_that_they_are_about(store: Store, runs: Runs) -> None:
    uid = await runs.open()
    await store.history.put(record(uid, time.time() - 1))
    await store.delete_run(uid)
    assert await store.runs() == {}
    assert await uids(store, 0, time.time()) == [uid]


async def test_ends_are_counted_once_each_for_ever_by_queue_and_phase(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "RECORDS_KEPT", 2)
    now = time.time()
    for number in range(4):
        await store.history.put(record(str(number), now - 9 + number))
    await store.history.put(record("3", now, phase="Failed"))  # its end is told again
    await store.history.put(record("5", now, queue="nightly", phase="Failed"))
    wanted = {("custom", "Succeeded"): 4, ("nightly", "Failed"): 1}
    assert await store.history.totals() == wanted
    monkeypatch.setattr(history, "TOTALS_KEPT", 2)
    await store.history.put(record("6", now, queue="never-made", phase="Failed"))
    await store.history.put(record("7", now))
    assert await store.history.totals() == wanted | {("custom", "Succeeded"): 5}, "names of queues fill no memory"


async def test_no_worker_can_read_or_write_a_record(workers: Workers) -> None:
    run = await workers.open(noop("n", inline(1))["spec"])
    await workers.store.history.put(record("a", time.time()))
    name, access = next(iter(history_keys(""))), workers.access(run)
    async with Redis.from_url(access.url, username=access.username, password=access.password) as worker:
        for command in (("HGETALL", name), ("HSET", name, "a", "b"), ("ZRANGE", history_keys("")[1], 0, -1)):
            with pytest.raises(NoPermissionError):
                await worker.execute_command(*command)  # type: ignore[no-untyped-call]  # the client's


async def test_a_run_counts_its_retries_its_failures_by_class_and_how_long_attempts_took(
    store: Store, runs: Runs
) -> None:
    uid = await runs.open(4, 4)
    [chunk] = await runs.claim_started(uid)
    outcomes: list[Outcome] = [Retried(0, "timeout", "late", 0), Retried(1, "rate-limited", "busy", 0, counts=False)]
    ended: list[Outcome] = [Failed(2, "refused", "no"), Succeeded(3)]
    first = commit(chunk, [*outcomes, *ended])
    told = type(first)(first.chunk, first.fence, first.outcomes, durations={0: 3, 40: 1})
    await store.run(uid, "w1").exchange([told], 0)
    await store.run(uid, "w1").exchange([told], 0)  # its answer was lost: counted once
    await store.abandon(uid, "no workers")
    tally = await store.tally(uid)
    assert (tally.retried, tally.failures) == (1, {"infrastructure": 2, "refused": 1})
    assert tally.durations == {0: 3, 40: 1}


async def test_nonsense_that_a_tenant_wrote_into_its_tally_is_left_out(store: Store, runs: Runs, redis: Redis) -> None:
    uid = await runs.open()
    key = f"{{bj:{uid}}}:tally"
    await redis.hset(key, mapping={"retried": "-4", "took:x": "1", "took:-1": "2", "failed:a": "1e9", "x": "y"})
    await redis.hset(key, mapping={"failed:" + "c" * 500: "3", "took:9999": "7"})
    tally = await store.tally(uid)
    assert (tally.retried, tally.failures, tally.durations) == (0, {}, {})
