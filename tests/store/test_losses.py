"""Workers die: their items come back exactly once, are counted, and a poison item takes nobody with it."""

import pytest

from batchjob.core.items import RunState, Succeeded
from batchjob.store import Store
from tests.support.store_runs import Runs, commit, done, positions


async def retried_after_loss(store: Store, uid: str) -> int:
    snapshot = await store.snapshot(uid)
    assert snapshot
    return snapshot.counts.retried_after_loss


async def test_an_expired_lease_returns_its_items_to_another_worker(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4, lease_ms=30)
    await runs.claim_started(uid, "w1")
    other = store.run(uid, "w2")
    grant = await other.exchange([], 4)
    while not grant.chunks:  # until the lease of 30 ms is over
        assert 0 <= grant.next_ms <= 30
        await other.wait(grant.next_ms)
        grant = await other.exchange([], 4)
    assert sorted(positions(grant.chunks)) == [0, 1, 2, 3]
    assert [item.losses for chunk in grant.chunks for item in chunk.items] == [1, 1, 1, 1]
    assert [item.attempt for chunk in grant.chunks for item in chunk.items] == [1, 1, 1, 1]
    assert await retried_after_loss(store, uid) == 4


async def test_items_that_were_not_started_come_back_as_one_chunk_without_a_loss(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=8)
    [chunk] = await runs.claim(uid, "w1")
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(1)], started=3)], 0)
    await runs.lose_workers(uid)
    back = await runs.claim(uid, "w2")
    assert [(positions([chunk]), chunk.items[0].losses) for chunk in back] == [([3, 4, 5, 6, 7], 0), ([0], 1), ([2], 1)]
    assert await retried_after_loss(store, uid) == 2
    await runs.oracle(uid).check()


async def test_lost_items_stay_together_at_their_first_loss_and_come_one_by_one_later(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4, max_losses=4)
    seen = []
    for worker in ("w1", "w2", "w3"):
        chunks = await runs.claim_started(uid, worker)
        seen.append([(positions([chunk]), chunk.items[0].losses) for chunk in chunks])
        await runs.lose_workers(uid)
    assert seen == [[([0, 1, 2, 3], 0)], [([0, 1, 2, 3], 1)], [([n], 2) for n in range(4)]]
    chunks = await runs.claim(uid, "w4")
    await store.run(uid, "w4").exchange([done(chunk) for chunk in chunks], 0)
    assert await retried_after_loss(store, uid) == 12


async def test_a_chunk_that_was_never_started_is_not_lost(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4, max_losses=1)
    for worker in ("w1", "w2", "w3"):
        assert positions(await runs.claim(uid, worker)) == [0, 1, 2, 3]
        await runs.lose_workers(uid)
    assert await retried_after_loss(store, uid) == 0
    assert (await runs.oracle(uid).check())["failed"] == 0


async def test_what_was_declared_started_stays_declared(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim(uid, "w1")
    for started in (3, 0):
        await store.run(uid, "w1").exchange([commit(chunk, started=started)], 0)
    await runs.lose_workers(uid)
    assert positions(await runs.claim(uid, "w2")) == [3, 0, 1, 2]


@pytest.mark.parametrize("max_losses", [2, 3, 5])
async def test_a_poison_item_ends_as_a_dead_letter_and_its_neighbours_succeed(
    runs: Runs, store: Store, max_losses: int
) -> None:
    uid = await runs.open(items=12, chunk=6, max_losses=max_losses)
    poison, crashes = 4, 0
    for life in range(60):
        worker = store.run(uid, f"w{life}")
        grant = await worker.exchange([], 6, 6)
        while grant.chunks and poison not in positions(grant.chunks):
            grant = await worker.exchange([done(chunk) for chunk in grant.chunks], 6, 6)
        await runs.oracle(uid).check()
        if grant.state is not RunState.OPEN:
            break
        if grant.chunks:  # the poison is among the items: all of them start, and the worker dies
            await worker.exchange([commit(chunk, started=len(chunk.items)) for chunk in grant.chunks], 0)
            crashes += 1
        await runs.lose_workers(uid)
    [letter] = await store.dead_letters(uid, 10)
    assert (letter.position, letter.error_class, letter.losses) == (poison, "infrastructure", max_losses)
    assert letter.message == f"its worker was lost {max_losses} times while it ran (maxLosses {max_losses})"
    assert crashes == max_losses
    assert (await runs.oracle(uid).check())["succeeded"] == 11


async def test_an_item_that_may_be_lost_once_is_given_up_then(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1, max_losses=1)
    worker = store.run(uid, "w")
    grant = await worker.exchange([], 1, 1)
    await worker.exchange([commit(chunk, started=1) for chunk in grant.chunks], 0)
    await runs.lose_workers(uid)
    await worker.exchange([], 1, 1)
    [letter] = await store.dead_letters(uid, 10)
    assert letter.message == "its worker was lost once while it ran (maxLosses 1)"


async def lose_twice(runs: Runs, uid: str) -> None:
    for worker in ("a", "b"):
        await runs.claim_started(uid, worker)
        await runs.lose_workers(uid)


async def test_a_suspect_is_granted_alone_and_only_to_a_worker_with_empty_hands(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=3, chunk=1)
    busy = store.run(uid, "busy")
    [innocent] = (await busy.exchange([], 1)).chunks
    for worker in ("a", "b"):
        await runs.claim_started(uid, worker)
        for chunk in await runs.oracle(uid).read("ZRANGE", "lease", 0, -1):
            if chunk != innocent.id:
                await runs.redis.zadd(f"{{bj:{uid}}}:lease", {chunk: 1})
    assert (await busy.exchange([commit(innocent)], 10)).chunks == []  # it holds something, so it gets no suspect
    [first] = (await store.run(uid, "free").exchange([], 10)).chunks
    assert len(first.items) == 1
    assert first.items[0].losses == 2
    assert (await store.run(uid, "free").exchange([commit(first, started=1)], 10)).chunks == []
    [second] = (await busy.exchange([done(innocent)], 10)).chunks
    assert second.id != first.id
    await runs.oracle(uid).check()


async def test_a_suspect_keeps_its_quarantine_through_release_and_retry(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    await lose_twice(runs, uid)
    worker = store.run(uid, "c")
    for _ in range(3):
        [suspect] = (await worker.exchange([], 10)).chunks
        await worker.exchange([commit(suspect, release=True)], 0)
    assert sorted(await runs.oracle(uid).read("LRANGE", "suspects", 0, -1)) == [f"0+4/{n}-{n}" for n in range(4)]
    assert (await runs.oracle(uid).check())["waiting"] == 4


async def test_with_one_life_the_first_loss_ends_an_item(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4, max_losses=1)
    [chunk] = await runs.claim(uid, "w1")
    await store.run(uid, "w1").exchange([commit(chunk, started=1)], 0)
    await runs.lose_workers(uid)
    assert positions(await runs.claim(uid, "w2")) == [1, 2, 3]
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.failed_positions == [0]
    assert snapshot.counts.retried_after_loss == 0


async def test_a_dead_letter_at_the_end_finishes_the_run(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1, chunk=1, max_losses=1)
    await runs.claim_started(uid, "w1")
    await runs.lose_workers(uid)
    assert (await store.run(uid, "w2").exchange([], 1)).state is RunState.SEALING


async def test_many_expired_leases_are_taken_back_in_steps(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=100, chunk=1)
    await runs.claim_started(uid, "w1")
    await runs.lose_workers(uid)
    sizes: list[int] = []
    while sum(sizes) < 100:
        grant = await store.run(uid, "w2").exchange([], 100, 100)
        sizes.append(len(positions(grant.chunks)))
        await runs.oracle(uid).check()
    assert sizes == [32, 32, 32, 4]
