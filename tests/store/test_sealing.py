"""The seal lease while a run is open: what is taken, recorded and refused; and the bound of results in the store."""

import json
from pathlib import Path

import pytest

from batchjob.core.items import Before, Chunk, Item, RunRules, RunState, Succeeded
from batchjob.errors import LeaseLost, StoreError, StoreFull
from batchjob.local.output import Output, read_letters
from batchjob.store import SealLease, Store, Taken
from batchjob.store import seal as seal_module
from batchjob.store.keys import run_key
from tests.support.store_runs import Runs, commit, done, positions

LEAVE = RunRules(have_destination=True)
RESULT = b'"123456789012345678"'  # with the id of an item, 26 bytes


def results_of(chunk: Chunk, *which: int) -> list[Succeeded]:
    return [Succeeded(item.position, RESULT) for item in chunk.items if not which or item.position in which]


async def finish_some(runs: Runs, uid: str, *which: int) -> None:
    """These items end with a result, each chunk's in one commit."""
    chunks = await runs.claim(uid)
    commits = [commit(chunk, results_of(chunk, *which), release=True) for chunk in chunks]
    await runs.store.run(uid, "w1").exchange(commits, 0)


async def claim(runs: Runs, uid: str, worker: str = "s1") -> SealLease:
    lease = await runs.store.run(uid, worker).claim_seal()
    assert lease
    return lease


async def record(lease: SealLease, name: str, taken: Taken) -> None:
    where = ",".join(str(found.position) for found in taken.results)
    await lease.record(name, json.dumps({"positions": where}).encode(), taken)


async def in_store(store: Store, uid: str) -> list[int]:
    return [found.position async for found in store.results(uid)]


async def test_an_open_run_may_be_sealed_only_where_its_results_have_a_destination(runs: Runs, store: Store) -> None:
    stay, leave = await runs.open(), await runs.open(rules=LEAVE)
    assert await store.run(stay, "s1").claim_seal() is None
    lease = await claim(runs, leave)
    assert await store.run(leave, "s2").claim_seal() is None
    with pytest.raises(StoreError, match="the run is open: its results cannot be complete yet"):
        await lease.finish(None, None)


async def test_what_was_committed_first_is_taken_first_and_leaves_with_its_record(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=12, chunk=4, rules=LEAVE)
    await finish_some(runs, uid, 8, 9)
    await finish_some(runs, uid, 0, 1, 5)
    lease = await claim(runs, uid)
    assert (await lease.unsealed()).bytes == 5 * 26
    taken = await lease.take(60)
    assert [(found.position, found.id, found.result) for found in taken.results] == [
        (8, "item-8", RESULT), (9, "item-9", RESULT)
    ]  # fmt: skip
    assert await in_store(store, uid) == [0, 1, 5, 8, 9], "nothing leaves before it is recorded"
    for _ in range(2):  # the second is a repetition after a lost answer
        await record(lease, "part-0", taken)
    assert await in_store(store, uid) == [0, 1, 5]
    assert [found.position for found in (await lease.take(10**6)).results] == [0, 1, 5]
    assert (await lease.unsealed()).bytes == 3 * 26
    await runs.oracle(uid).check()


async def test_a_commit_is_taken_whole_and_so_are_results_that_others_have_left_in_its_range(
    runs: Runs, store: Store
) -> None:
    uid = await runs.open(items=8, chunk=8, rules=LEAVE)
    [chunk] = await runs.claim(uid)
    for some in ((0, 7), (2, 3), (1,)):
        await store.run(uid, "w1").exchange([commit(chunk, results_of(chunk, *some))], 0)
    lease = await claim(runs, uid)
    await record(lease, "part-0", await lease.take(1))
    assert await in_store(store, uid) == [], "all of them are between the first and the last of the first commit"
    assert (await lease.take(1)).results == []
    await store.run(uid, "w1").exchange([commit(chunk, results_of(chunk, 4))], 0)
    taken = await lease.take(1)
    assert [found.position for found in taken.results] == [4], "commits whose results are gone stop nothing"
    await record(lease, "part-1", taken)
    await runs.oracle(uid).check()


async def test_more_results_than_one_call_can_drop_are_taken_in_parts(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "MOST_ROWS", 8)
    uid = await runs.open(items=40, chunk=4, rules=LEAVE)
    await finish_some(runs, uid)
    lease = await claim(runs, uid)
    sizes: list[int] = []
    while (taken := await lease.take(10**6)).results:
        await record(lease, f"part-{len(sizes)}", taken)
        sizes.append(len(taken.results))
    assert sizes == [8] * 5


async def test_a_sealer_that_was_taken_over_records_nothing(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, rules=LEAVE)
    await finish_some(runs, uid, 0, 1, 2)
    old = await claim(runs, uid, "s1")
    late = await old.take(100)
    await runs.redis.hset(run_key(uid, "duty"), "deadline", 1)
    new = await claim(runs, uid, "s2")
    with pytest.raises(LeaseLost):
        await record(old, "part-of-a-ghost", late)
    await record(new, "part-0", await new.take(100))
    assert list(await store.run(uid, "s2").sealed()) == ["part-0"]
    await runs.oracle(uid).check()


async def test_the_lease_of_an_open_run_is_good_until_it_is_closed(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, rules=LEAVE)
    lease = await claim(runs, uid)
    await finish_some(runs, uid)
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.state is RunState.SEALING
    await lease.finish("s3://b/manifest.json", "a" * 64)
    assert await runs.oracle(uid).read("EXISTS", "unsealed") == 0


async def test_a_store_whose_memory_is_full_lets_results_leave(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, rules=LEAVE)
    await finish_some(runs, uid, 0, 1, 2)
    lease = await claim(runs, uid)
    taken = await lease.take(10**6)
    await runs.redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StoreFull):
            await runs.open_empty()
        await record(lease, "part-0", taken)
    finally:
        await runs.redis.config_set("maxmemory", "0")
    assert await in_store(store, uid) == []
    await runs.oracle(uid).check()


async def test_an_item_whose_result_has_left_is_no_dead_letter_of_a_run_that_was_stopped(
    runs: Runs, store: Store, tmp_path: Path
) -> None:
    uid = await runs.open(items=4, rules=LEAVE)
    await finish_some(runs, uid, 0, 1)
    lease = await claim(runs, uid)
    await record(lease, "part-0", await lease.take(10**6))
    await store.abandon(uid, "stopped")
    await Output(store, uid, tmp_path).write(set(), results=False)
    assert [letter.id for letter in read_letters(tmp_path)] == ["item-2", "item-3"]


async def test_nothing_is_granted_above_the_bound_until_some_results_have_left(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=12, chunk=4, rules=RunRules(have_destination=True, limit_bytes=60))
    [chunk] = await runs.claim(uid, want=4)
    worker = store.run(uid, "w1")
    told = await worker.exchange([commit(chunk, results_of(chunk, 0, 1))], 4)
    assert positions(told.chunks) == [4, 5, 6, 7], "52 bytes are not above it"
    held = await worker.exchange([commit(chunk, results_of(chunk, 2))], 4)
    assert (held.state, held.chunks) == (RunState.OPEN, [])
    lease = await claim(runs, uid)
    assert (await lease.unsealed()).is_over_limit
    await runs.redis.delete(run_key(uid, "wake"))
    await record(lease, "part-0", await lease.take(100))
    assert await runs.oracle(uid).read("LLEN", "wake") == 64, "workers that wait are told"
    assert positions((await worker.exchange([], 4)).chunks) == [8, 9, 10, 11]


async def test_a_run_whose_results_stay_and_are_too_large_ends_with_the_way_out(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=12, chunk=4, rules=RunRules(limit_bytes=60))
    first, second = await runs.claim(uid, want=8)
    worker = store.run(uid, "w1")
    assert (await worker.exchange([commit(first, results_of(first, 0, 1))], 0)).state is RunState.OPEN
    told = await worker.exchange([commit(first, results_of(first, 2)), commit(second, started=1)], 4)
    assert (told.state, told.chunks) == (RunState.FAILED, [])
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.reason == "ResultsTooLarge"
    assert snapshot.message == (
        "the results in the store have 78 bytes, and a BatchJob may keep 60 bytes there. Set spec.results.destination "
        "in a new BatchJob: then they are written to a bucket or a claim as they come. What is there stays in the "
        "store until status.results.expiresAt"
    )
    assert (snapshot.counts.succeeded, snapshot.counts.cancelled) == (3, 9)
    assert await in_store(store, uid) == [0, 1, 2], "they may be read"
    assert (await worker.exchange([done(second)], 4)).lost == [second.id]
    await runs.oracle(uid).check()


async def test_a_large_bound_is_said_in_mebibytes(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1, rules=RunRules(limit_bytes=2**20))
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(0, b'"%s"' % (b"x" * 2**21))])], 0)
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert "have 2.0 MiB, and a BatchJob may keep 1.0 MiB there" in (snapshot.message or "")


async def test_parts_that_outlived_the_store_count_once_however_often_the_load_begins(runs: Runs, store: Store) -> None:
    before = Before("0-1", cancelled=1, repeats=5)
    await store.open_run("again", epoch="two", max_losses=3, created_for="a/b", before=before, rules=LEAVE)
    for worker in ("first", "second"):
        lease = await store.run("again", worker).claim_load()
        assert lease
        assert await lease.is_rebuilt()
        await lease.keep({"part-of-first": b"{}"} if worker == "first" else {"part-0": b'{"positions":"1-3"}'}, 2)
        await runs.redis.hset(run_key("again", "duty"), "deadline", 1)
    assert lease
    await lease.put([[Item(position, f"item-{position}", {}) for position in (4, 5)]])
    await lease.finish(6, None, None)
    assert list(await store.run("again", "second").sealed()) == ["part-0"]
    snapshot = await store.snapshot("again")
    assert snapshot
    counts = snapshot.counts
    assert (counts.waiting, counts.succeeded, counts.cancelled, counts.retried_after_loss) == (2, 3, 1, 3)
