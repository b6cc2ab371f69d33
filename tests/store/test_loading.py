"""One worker loads the source; nothing may be claimed before all of it is there."""

import pytest

from batchjob.core.items import Before, Item, RunState
from batchjob.errors import LeaseLost, RunGone, StoreError
from batchjob.store import Store
from tests.support.store_runs import Runs, positions


def items(first: int, count: int, data: str = "x") -> list[Item]:
    return [Item(position, f"i{position}", {"data": data}) for position in range(first, first + count)]


async def test_a_run_that_exists_keeps_its_epoch(store: Store) -> None:
    assert await store.open_run("u", epoch="one", max_losses=3, created_for="a/b") == "one"
    assert await store.open_run("u", epoch="two", max_losses=3, created_for="a/b") == "one"


async def test_a_lost_store_shows_as_another_epoch(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    await runs.redis.flushdb()
    assert await store.open_run(uid, epoch="two", max_losses=3, created_for="a/b") == "two"


async def test_nothing_is_granted_before_the_source_is_loaded(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    worker = store.run(uid, "w1")
    lease = await worker.claim_load()
    assert lease
    await lease.put([items(0, 4), items(4, 3)])
    grant = await worker.exchange([], 10)
    assert (grant.chunks, grant.state) == ([], RunState.LOADING)
    await lease.finish(7, "f" * 64, '"etag"')
    assert await worker.state() == await store.run(uid, "w2").state()
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.total == 7
    assert positions((await worker.exchange([], 10)).chunks) == list(range(7))


async def test_items_come_back_exactly_as_they_were_loaded(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    data = {"big": 2**60 + 1, "empty": [], "none": None, "text": "Grüße \x00 \U0001f600", "deep": {"x": [1.5, {}]}}
    await lease.put([[Item(0, "ä", data), Item(1, "b", {})]])
    await lease.finish(2, None, None)
    whole = await store.run(uid, "w1").exchange([], 2)
    assert [(item.id, item.data, item.attempt) for item in whole.chunks[0].items] == [("ä", data, 1), ("b", {}, 1)]
    await runs.lose_workers(uid)
    part = await store.run(uid, "w2").exchange([], 1)
    assert part.chunks[0].items == (Item(0, "ä", data),)


async def test_loading_a_chunk_twice_changes_nothing(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    await lease.put([items(0, 4)])
    lease._next_position = 0  # the answer was lost, so the loader says it again
    await lease.put([items(0, 4)])
    await lease.finish(4, None, None)
    await lease.finish(4, None, None)
    assert (await runs.oracle(uid).check())["waiting"] == 4


async def test_a_run_does_not_open_with_items_missing(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    await lease.put([items(0, 4)])
    with pytest.raises(StoreError, match="the source has 5 items, but 4 arrived"):
        await lease.finish(5, None, None)
    assert (await store.run(uid, "w1").state()).state is RunState.LOADING


async def test_chunks_with_gaps_or_without_items_are_refused(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    with pytest.raises(ValueError, match="'i5' is at position 5, but 4 comes next"):
        await lease.put([[*items(3, 1), *items(5, 2)]])
    with pytest.raises(ValueError, match="1 to 10000 items, not 0"):
        await lease.put([[]])


async def test_only_one_worker_loads(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    assert await store.run(uid, "w2").claim_load() is None
    await lease.release()
    assert await store.run(uid, "w2").claim_load() is not None


async def test_a_loader_whose_claim_went_unanswered_may_claim_again(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    assert await store.run(uid, "w1").claim_load()
    assert await store.run(uid, "w1").claim_load()


async def test_a_silent_loader_is_taken_over_and_what_it_loaded_is_discarded(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty(lease_ms=30)
    first = await store.run(uid, "w1").claim_load()
    assert first
    await first.put([items(0, 4, "old"), items(4, 4, "old")])
    second = None
    while second is None:  # until the lease of 30 ms is over
        second = await store.run(uid, "w2").claim_load()
    for late in (first.put([items(8, 4)]), first.finish(8, None, None), first.renew(), first.fail("X", "y")):
        with pytest.raises(LeaseLost):
            await late
    await second.put([items(0, 3, "new")])
    await second.finish(3, None, None)
    chunks = await runs.claim(uid)
    assert [item.data["data"] for chunk in chunks for item in chunk.items] == ["new"] * 3
    await runs.oracle(uid).check()


async def test_trouble_with_the_source_is_shown_until_it_is_loaded(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    await lease.trouble("SourceUnreachable", "https://x answers 503")
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.load_error == ("SourceUnreachable", "https://x answers 503")
    await lease.put([items(0, 1)])
    await lease.finish(1, "a" * 64, "etag", 3, ["line 2: wrong", "line 4: wrong"])
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert (snapshot.load_error, snapshot.source_sha256, snapshot.source_etag) == (None, "a" * 64, "etag")
    assert (snapshot.bad_items, snapshot.bad_item_messages) == (3, ["line 2: wrong", "line 4: wrong"])


async def test_a_wrong_source_ends_the_run(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    await lease.put([items(0, 4)])
    await lease.fail("InvalidSource", "line 17: no id")
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert (snapshot.state, snapshot.reason, snapshot.message) == (RunState.FAILED, "InvalidSource", "line 17: no id")
    assert snapshot.counts.waiting == 0
    assert await store.run(uid, "w2").claim_load() is None
    assert await runs.claim(uid) == []


async def test_an_empty_source_goes_straight_to_sealing(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=0)
    assert (await store.run(uid, "w1").state()).state is RunState.SEALING
    assert (await store.run(uid, "w1").exchange([], 5)).state is RunState.SEALING


async def test_a_run_that_was_never_opened_is_gone(store: Store) -> None:
    worker = store.run("nobody", "w1")
    for call in (worker.state(), worker.claim_load(), worker.exchange([], 1), worker.ledger_mark(0, "c", 1, b"x")):
        with pytest.raises(RunGone):
            await call
    assert await store.snapshot("nobody") is None


async def test_a_run_that_begins_again_counts_what_was_done_before_and_loads_the_rest(runs: Runs, store: Store) -> None:
    before = Before("0-2,5", cancelled=1, repeats=3, sha256="f" * 64)
    await store.open_run("again", epoch="two", max_losses=3, created_for="a/b", before=before)
    lease = await store.run("again", "w1").claim_load()
    assert lease
    done, sha256 = await lease.before()
    assert ([position for position in range(8) if position in done], sha256) == ([0, 1, 2, 5], "f" * 64)
    lost_again = await store.snapshot("again")
    assert lost_again
    assert (lost_again.counts.retried_after_loss, lost_again.counts.cancelled) == (3, 1), "or a second loss forgets it"
    await lease.put([items(3, 2), items(6, 2)])
    with pytest.raises(StoreError, match="9 items, but 4 arrived in the store, and 4 were done before"):
        await lease.finish(9, None, None)
    await lease.finish(8, None, None)
    found = await store.snapshot("again")
    assert found
    counts = found.counts
    assert (counts.total, counts.waiting, counts.succeeded, counts.cancelled) == (8, 4, 3, 1)
    assert counts.retried_after_loss == 3
    assert positions(await runs.claim("again")) == [3, 4, 6, 7]


async def test_a_run_of_which_everything_was_done_before_has_only_to_be_sealed(store: Store) -> None:
    await store.open_run("all", epoch="two", max_losses=3, created_for="a/b", before=Before("0-3"))
    lease = await store.run("all", "w1").claim_load()
    assert lease
    await lease.finish(4, None, None)
    found = await store.snapshot("all")
    assert found
    assert (found.state, found.counts.succeeded) == (RunState.SEALING, 4)


async def test_positions_never_go_back(runs: Runs, store: Store) -> None:
    lease = await store.run(await runs.open_empty(), "w1").claim_load()
    assert lease
    await lease.put([items(4, 2)])
    with pytest.raises(ValueError, match="'i3' is at position 3, but 6 or more comes next"):
        await lease.put([items(3, 2)])
