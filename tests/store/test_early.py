"""A run that was opened early: its items are claimed while its source is still being loaded."""

from collections.abc import Awaitable, Callable

import pytest

from batchjob.core.items import Before, Failed, Item, Outcome, Retried, RunRules, RunState, Succeeded
from batchjob.core.progress import format_percent, format_progress
from batchjob.errors import LeaseLost, StoreError
from batchjob.store import Commit, LoadLease, Snapshot, Store
from batchjob.store.keys import run_key
from tests.support.store_runs import Runs, commit, done, positions

EARLY = RunRules(early=True)


def items(first: int, count: int) -> list[Item]:
    return [Item(position, f"i{position}", {"n": position}) for position in range(first, first + count)]


async def look(store: Store, uid: str) -> Snapshot:
    snapshot = await store.snapshot(uid)
    assert snapshot
    return snapshot


async def begin(runs: Runs, *chunks: list[Item]) -> tuple[str, LoadLease]:
    """A run in mid-load, with these chunks in the store."""
    uid = await runs.open_empty(rules=EARLY)
    lease = await runs.store.run(uid, "loader").claim_load()
    assert lease
    if chunks:
        await lease.put(chunks, "mark")
    return uid, lease


async def a_bit_of_everything(runs: Runs) -> tuple[str, Commit]:
    """A run in mid-load with an item in every place, and what its worker would commit next."""
    uid, _ = await begin(runs, items(0, 4), items(4, 4))
    [chunk] = await runs.claim(uid, "w1", want=4)
    ended: list[Outcome] = [Succeeded(0, b'{"x":1}'), Failed(1, "refused", "no")]
    await runs.store.run(uid, "w1").exchange([commit(chunk, [*ended, Retried(2, "upstream", "503", 60_000)])], 0)
    [mine] = await runs.claim(uid, "w1", want=2)
    return uid, commit(mine, [Succeeded(4), Succeeded(5)])


async def test_items_are_done_while_the_rest_is_loaded_and_the_total_stays_unknown(runs: Runs, store: Store) -> None:
    uid, lease = await begin(runs, items(0, 4))
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(0, b"1"), Succeeded(1)])], 0)
    found = await look(store, uid)
    assert (found.state, found.total, found.counts.succeeded, found.counts.active) == (RunState.LOADING, None, 2, 2)
    assert (format_progress(found.counts, found.total), format_percent(found.counts, found.total)) == ("2/?", "")
    assert [result.position async for result in store.results(uid)] == [0]
    await lease.put([items(4, 2)], "mark 2")
    await lease.finish(6, None, None)
    found = await look(store, uid)
    assert (found.state, found.total, found.counts.waiting) == (RunState.OPEN, 6, 2)
    await runs.oracle(uid).check()


async def test_a_run_whose_items_are_all_done_does_not_end_before_its_source_does(runs: Runs, store: Store) -> None:
    uid, lease = await begin(runs, items(0, 4))
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim(uid)
    for commits in ([done(chunk)], []):
        grant = await worker.exchange(commits, 4)
        assert grant.state is RunState.LOADING
    assert await worker.claim_seal() is None
    await lease.finish(4, None, None)
    assert (await look(store, uid)).state is RunState.SEALING


async def test_a_loader_that_takes_over_keeps_what_is_there_and_learns_how_far_it_goes(
    runs: Runs, store: Store
) -> None:
    uid, first = await begin(runs)
    assert await first.reached() == (0, "")
    await first.put([items(0, 4), items(4, 4)], "mark of eight")
    [chunk, _] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([done(chunk)], 0)
    await runs.lose_loader(uid)
    second = await store.run(uid, "heir").claim_load()
    assert second
    for late in (first.put([items(8, 4)], "late"), first.finish(8, None, None), first.fail("X", "y")):
        with pytest.raises(LeaseLost):
            await late
    assert await second.reached() == (8, "mark of eight")
    await second.put([items(8, 2)], "mark of ten")
    with pytest.raises(StoreError, match="the source has 11 items, but 10 arrived"):
        await second.finish(11, None, None)
    await second.finish(10, None, None)
    counts = await runs.oracle(uid).check()
    assert (counts["succeeded"], counts["active"], counts["waiting"]) == (4, 4, 2)


async def test_items_that_are_sent_again_after_they_were_done_are_not_there_twice(runs: Runs, store: Store) -> None:
    uid, lease = await begin(runs, items(0, 4))
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([done(chunk)], 0)
    lease._next_position = 0  # the answer was lost, so the loader says it again, with a chunk more
    await lease.put([items(0, 4), items(4, 1)], "mark of five")
    assert positions(await runs.claim(uid)) == [4]
    await lease.finish(5, None, None)
    assert (await runs.oracle(uid).check())["succeeded"] == 4


async def test_workers_that_wait_are_woken_by_each_chunk_that_arrives(runs: Runs) -> None:
    uid, lease = await begin(runs)
    assert (await runs.claim(uid)) == []
    assert not await runs.redis.exists(run_key(uid, "wake"))
    await lease.put([items(0, 4), items(4, 4), items(8, 4)], "mark")
    assert await runs.oracle(uid).read("LLEN", "wake") == 3


async def test_items_of_a_lost_worker_and_due_retries_come_back_while_the_rest_is_loaded(runs: Runs) -> None:
    uid, _ = await begin(runs, items(0, 4))
    [chunk] = await runs.claim_started(uid, "w1")
    await runs.store.run(uid, "w1").exchange([commit(chunk, [Retried(0, "upstream", "503", 60_000)], started=4)], 0)
    await runs.lose_workers(uid)
    await runs.let_retries_fall_due(uid)
    assert sorted(positions(await runs.claim(uid, "w2"))) == [0, 1, 2, 3]
    await runs.oracle(uid).check()


async def test_a_paused_run_grants_nothing_while_it_is_loaded(runs: Runs, store: Store) -> None:
    uid, lease = await begin(runs, items(0, 4))
    await store.pause(uid)
    assert await runs.claim(uid) == []
    await lease.put([items(4, 4)], "mark 2")
    await store.resume(uid)
    assert positions(await runs.claim(uid)) == list(range(8))


async def cancel(store: Store, uid: str) -> None:
    await store.cancel(uid)


async def fail(store: Store, uid: str) -> None:
    await store.fail(uid, "WorkerMisconfigured", "why")


async def abandon(store: Store, uid: str) -> None:
    await store.abandon(uid, "no worker left")


async def give_up_the_source(store: Store, uid: str) -> None:
    lease = await store.run(uid, "loader").claim_load()
    assert lease
    await lease.fail("SourceUnreachable", "it does not answer any more")


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (cancel, RunState.CANCELLED, None),
        (fail, RunState.FAILED, "WorkerMisconfigured"),
        (abandon, RunState.FAILED, "WorkersFailed"),
        (give_up_the_source, RunState.FAILED, "SourceUnreachable"),
    ],
)
async def test_an_end_in_mid_load_keeps_what_is_done_and_cancels_what_else_was_accepted(
    runs: Runs, store: Store, end: Callable[[Store, str], Awaitable[None]], state: RunState, reason: str | None
) -> None:
    uid, late = await a_bit_of_everything(runs)
    await end(store, uid)
    counts = await runs.oracle(uid).check()
    assert counts == {"waiting": 0, "delayed": 0, "active": 0, "succeeded": 1, "failed": 1, "cancelled": 6}
    found = await look(store, uid)
    assert (found.state, found.reason, found.total, found.counts.total) == (state, reason, 8, 8)
    grant = await store.run(uid, "w1").exchange([late], 10)
    assert (grant.lost, grant.chunks) == ([late.chunk], [])
    assert [result.position async for result in store.results(uid)] == [0]
    assert [letter.position for letter in await store.dead_letters(uid, 10)] == [1]
    assert await store.run(uid, "heir").claim_load() is None


async def test_nothing_is_certain_of_a_store_that_is_lost_in_mid_load(runs: Runs, store: Store) -> None:
    uid, lease = await begin(runs, items(0, 4))
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([done(chunk)], 0)
    assert await store.finished(uid) is None
    await lease.finish(4, "f" * 64, None)
    assert await store.finished(uid) == [(0, 3)]


async def test_a_run_that_begins_again_behind_items_that_are_done_is_loaded_whole_first(
    runs: Runs, store: Store
) -> None:
    before = Before("0-1", sha256="f" * 64)
    await store.open_run("again", epoch="two", max_losses=3, created_for="a/b", before=before, rules=EARLY)
    lease = await store.run("again", "loader").claim_load()
    assert lease
    assert await lease.reached() is None
    await lease.put([items(2, 4)])
    assert await runs.claim("again") == []
    await store.cancel("again")
    assert (await look(store, "again")).counts.cancelled == 0


async def test_a_run_that_tripped_and_has_nothing_left_is_not_held_once_its_source_ends(
    runs: Runs, store: Store
) -> None:
    uid, lease = await begin(runs, items(0, 2))
    await store.set_breaker(uid, "0/10/1")
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Failed(0, "refused", "no"), Succeeded(1)])], 0)
    assert (await look(store, uid)).tripped
    await lease.finish(2, None, None)
    found = await look(store, uid)
    assert (found.state, found.tripped, found.paused) == (RunState.SEALING, None, False)
    assert await runs.redis.exists(run_key(uid, "window")) == 0


async def test_results_above_the_bound_wait_for_the_end_of_the_source_and_then_leave(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty(rules=RunRules(have_destination=True, limit_bytes=1, early=True))
    worker = store.run(uid, "w1")
    lease = await store.run(uid, "loader").claim_load()
    assert lease
    await lease.put([items(0, 2), items(2, 2)], "mark")
    [chunk] = await runs.claim(uid, want=2)
    outcomes = [Succeeded(item.position, b'"result"') for item in chunk.items]
    held = await worker.exchange([commit(chunk, outcomes)], 4)
    assert (held.state, held.chunks) == (RunState.LOADING, []), "it has not failed, and nothing new starts"
    assert await worker.claim_seal() is None
    await lease.finish(4, None, None)
    seal = await worker.claim_seal()
    assert seal
    await seal.record("part", b'{"positions": "0-1"}', await seal.take(1000))
    assert positions((await worker.exchange([], 4)).chunks) == [2, 3]
    await runs.oracle(uid).check()
