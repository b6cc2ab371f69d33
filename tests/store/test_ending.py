"""Pause, cancel, abandon, fail, seal, delete: each keeps the counts, and the end is final."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import pytest

from batchjob.core.items import Failed, Outcome, Retried, RunRules, RunState, Succeeded
from batchjob.errors import LeaseLost, RunGone
from batchjob.store import Commit, Snapshot, Store
from batchjob.store.keys import KEYS, run_key
from tests.support.store_runs import Runs, commit, done, positions

COUNTS: Final = dict.fromkeys(("waiting", "delayed", "active", "succeeded", "failed", "cancelled"), 0)


async def look(store: Store, uid: str) -> Snapshot:
    snapshot = await store.snapshot(uid)
    assert snapshot
    return snapshot


async def a_bit_of_everything(runs: Runs, max_losses: int = 3) -> tuple[str, Commit]:
    """A run with an item in every place, and what its worker would commit next."""
    uid = await runs.open(items=12, chunk=4, max_losses=max_losses)
    worker = runs.store.run(uid, "w1")
    [chunk] = await runs.claim(uid, "w1", want=4)
    ended: list[Outcome] = [Succeeded(0, b'{"x":1}'), Failed(1, "refused", "no")]
    await worker.exchange([commit(chunk, [*ended, Retried(2, "upstream", "503", 60_000)])], 0)
    [mine] = await runs.claim(uid, "w1", want=2)
    await worker.ledger_mark(3, chunk.id, chunk.fence, b"sending")
    return uid, commit(mine, [Succeeded(4), Succeeded(5)])


async def test_a_paused_run_grants_nothing_and_costs_nothing(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4)
    [chunk] = await runs.claim(uid, want=4)
    await store.pause(uid)
    worker = store.run(uid, "w1")
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.paused
    told = await worker.exchange([commit(chunk, [Succeeded(0)], started=2)], 8)
    assert (told.paused, told.chunks) == (True, [])
    given_back = await worker.exchange([commit(chunk, [Succeeded(2)], release=True)], 8)
    assert (given_back.paused, given_back.chunks) == (True, [])
    await store.resume(uid)
    again = await worker.exchange([], 8)
    assert [(item.position, item.attempt, item.losses) for chunk in again.chunks for item in chunk.items] == [
        (position, 1, 0) for position in (1, 3, 4, 5, 6, 7)
    ]
    assert (await look(store, uid)).counts.retried_after_loss == 0
    await runs.oracle(uid).check()


async def test_released_items_go_back_to_the_head_in_their_order(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4)
    first, second = await runs.claim(uid, want=8)
    released = [commit(second, release=True), commit(first, [Succeeded(1)], release=True)]
    await store.run(uid, "w1").exchange(released, 0)
    assert positions(await runs.claim(uid, "w2")) == [0, 2, 3, 4, 5, 6, 7]
    assert (await look(store, uid)).counts.retried_after_loss == 0


async def test_what_was_not_started_goes_back_in_one_piece_while_the_rest_is_done(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=8)
    [chunk] = await runs.claim(uid, "w1")
    worker = store.run(uid, "w1")
    news = msgspec.structs.replace(commit(chunk, [Succeeded(1)], started=8), returned=[7, 6, 5, 4, 3, 1])
    for _ in range(2):  # the answer to the first was lost
        assert (await worker.exchange([news], 0)).lost == []
    assert await runs.oracle(uid).check() == COUNTS | {"waiting": 5, "active": 2, "succeeded": 1}
    back = await runs.claim(uid, "w2")
    assert [(positions([chunk]), chunk.items[0].attempt, chunk.items[0].losses) for chunk in back] == [
        ([3, 4, 5, 6, 7], 1, 0)
    ]
    late = await worker.exchange([commit(chunk, [Succeeded(4, b'"late"')])], 0)
    assert late.lost == [], "the rest is in hand still"
    assert (await runs.oracle(uid).check())["succeeded"] == 1
    await store.run(uid, "w2").exchange([done(chunk) for chunk in back], 0)
    await runs.lose_workers(uid)
    left = await runs.claim(uid, "w3")
    assert [(positions([chunk]), chunk.items[0].losses) for chunk in left] == [([0], 1), ([2], 1)]
    assert (await look(store, uid)).counts.retried_after_loss == 2


async def test_a_chunk_that_goes_back_piece_by_piece_ends_with_the_last(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim(uid)
    for some in ([0, 1], [2, 3]):
        news = msgspec.structs.replace(commit(chunk), returned=some)
        assert (await store.run(uid, "w1").exchange([news], 0)).lost == []
    assert await runs.oracle(uid).check() == COUNTS | {"waiting": 4}
    assert (await store.run(uid, "w1").exchange([commit(chunk)], 0)).lost == [chunk.id]


async def test_cancel_ends_every_item_and_refuses_later_commits(runs: Runs, store: Store) -> None:
    uid, late = await a_bit_of_everything(runs)
    for _ in range(2):
        await store.cancel(uid)
        counts = await runs.oracle(uid).check()
        assert counts == {"waiting": 0, "delayed": 0, "active": 0, "succeeded": 1, "failed": 1, "cancelled": 10}
    grant = await store.run(uid, "w1").exchange([late], 10)
    assert (grant.lost, grant.chunks, grant.state) == ([late.chunk], [], RunState.CANCELLED)
    assert (await runs.oracle(uid).check())["succeeded"] == 1
    assert [result.position async for result in store.results(uid)] == [0]


async def test_cancel_while_loading_ends_the_run_without_items(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "w1").claim_load()
    assert lease
    await store.cancel(uid)
    with pytest.raises(LeaseLost):
        await lease.finish(0, None, None)
    assert (await look(store, uid)).state is RunState.CANCELLED


async def test_abandon_dead_letters_what_is_left_with_its_payload(runs: Runs, store: Store) -> None:
    uid, late = await a_bit_of_everything(runs)
    await store.abandon(uid, "3 Jobs ended without progress")
    counts = await runs.oracle(uid).check()
    assert counts == {"waiting": 0, "delayed": 0, "active": 0, "succeeded": 1, "failed": 11, "cancelled": 0}
    snapshot = await look(store, uid)
    assert (snapshot.state, snapshot.reason) == (RunState.CLOSED, "WorkersFailed")
    assert snapshot.failed_positions == list(range(1, 12))
    letters = await store.dead_letters(uid, 5, cursor=2)
    assert [(letter.position, letter.attempts, letter.data) for letter in letters] == [
        (2, 1, b'{"n":2}'), *((position, 0, b'{"n":%d}' % position) for position in (3, 4, 5, 6))
    ]  # fmt: skip
    assert {(letter.error_class, letter.message) for letter in letters} == {
        ("infrastructure", "3 Jobs ended without progress")
    }
    assert (await store.run(uid, "w1").exchange([late], 10)).lost == [late.chunk]
    await store.abandon(uid, "again")
    assert (await look(store, uid)).message == "3 Jobs ended without progress"


async def test_abandon_takes_large_runs_in_steps_that_grant_nothing_in_between(
    runs: Runs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = await runs.open(items=40, chunk=4)
    await runs.claim_started(uid, want=8)
    call, steps = store._call, []

    async def step(*arguments: object) -> object:
        left = await call(*arguments)  # type: ignore[arg-type]
        steps.append(left)
        assert (await store.run(uid, "w2").exchange([], 4)).chunks == []
        await runs.oracle(uid).check()
        return left

    monkeypatch.setattr(store, "_call", step)
    monkeypatch.setattr("batchjob.store.runs.ABANDON_BATCH", 10)
    await store.abandon(uid, "x")
    assert steps == [28, 16, 4, 0]


async def test_abandon_while_loading_fails_the_run(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    await store.abandon(uid, "no pod came up")
    snapshot = await look(store, uid)
    assert (snapshot.state, snapshot.reason, snapshot.message) == (RunState.FAILED, "WorkersFailed", "no pod came up")


async def test_fail_cancels_what_is_left(runs: Runs, store: Store) -> None:
    uid, _ = await a_bit_of_everything(runs)
    await store.fail(uid, "StoreLost", "why")
    assert (await runs.oracle(uid).check())["cancelled"] == 10
    snapshot = await look(store, uid)
    assert (snapshot.state, snapshot.reason, snapshot.message) == (RunState.FAILED, "StoreLost", "why")


Ending = Callable[[Store, str], Awaitable[None]]


async def close(store: Store, uid: str) -> None:
    [chunk] = (await store.run(uid, "w1").exchange([], 9)).chunks
    await store.run(uid, "w1").exchange([done(chunk)], 0)
    lease = await store.run(uid, "w1").claim_seal()
    assert lease
    await lease.finish(None, None)


ENDINGS: dict[str, Ending] = {
    "closed": close,
    "cancelled": Store.cancel,
    "abandoned": lambda store, uid: store.abandon(uid, "crashes"),
    "failed": lambda store, uid: store.fail(uid, "StoreLost", "why"),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
async def test_a_run_that_has_ended_stays_as_it_is(runs: Runs, store: Store, end: Ending) -> None:
    uid = await runs.open(items=4)
    await end(store, uid)
    before = await store.snapshot(uid)
    await store.cancel(uid)
    await store.abandon(uid, "later")
    await store.fail(uid, "Later", "later")
    await store.pause(uid)
    assert await store.snapshot(uid) == before
    assert await store.run(uid, "w2").claim_seal() is None


async def test_one_worker_seals_and_closes_the_run(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1)
    assert await store.run(uid, "w1").claim_seal() is None  # an item is not terminal yet
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([done(chunk)], 0)
    lease = await store.run(uid, "w1").claim_seal()
    assert lease
    assert await store.run(uid, "w2").claim_seal() is None
    await lease.renew()
    for _ in range(2):  # the second is a repetition after a lost answer
        await lease.finish("s3://bucket/run/manifest.json", "a" * 64)
    snapshot = await look(store, uid)
    assert (snapshot.state, snapshot.results_uri) == (RunState.CLOSED, "s3://bucket/run/manifest.json")
    assert snapshot.manifest_sha256 == "a" * 64
    assert await store.run(uid, "w2").claim_seal() is None


async def test_a_silent_sealer_is_taken_over(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=0, lease_ms=30)
    old = await store.run(uid, "w1").claim_seal()
    assert old
    new = None
    while new is None:  # until the lease of 30 ms is over
        new = await store.run(uid, "w2").claim_seal()
    with pytest.raises(LeaseLost):
        await old.finish(None, None)
    await new.release()
    third = await store.run(uid, "w3").claim_seal()
    assert third
    await third.fail("ResultsFailed", "the bucket is gone")
    snapshot = await look(store, uid)
    assert (snapshot.state, snapshot.reason) == (RunState.FAILED, "ResultsFailed")


async def test_waiting_workers_wake_when_the_state_changes(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    await runs.claim(uid, "w1")
    idle = store.run(uid, "w2")
    for change in (store.pause, store.resume, store.cancel):
        await idle.exchange([], 1)
        await runs.redis.delete(run_key(uid, "wake"))
        await change(uid)
        assert await runs.oracle(uid).read("LLEN", "wake") == 64


async def test_delete_leaves_no_key_and_workers_learn_that_the_run_is_gone(runs: Runs, store: Store) -> None:
    uid, late = await a_bit_of_everything(runs)
    assert await runs.redis.keys("*") != []
    for _ in range(2):
        await store.delete_run(uid)
        assert await runs.redis.keys("*") == []
    with pytest.raises(RunGone):
        await store.run(uid, "w1").exchange([late], 10)
    assert set(await runs.redis.keys("*")) <= {b"bj:dirty"}
    assert await store.changed(0) == [uid]
    assert await runs.redis.keys("*") == []


async def test_every_key_of_a_run_is_in_the_list_with_its_type_and_without_a_ttl(runs: Runs, store: Store) -> None:
    uid, news = await a_bit_of_everything(runs)
    worker = store.run(uid, "w1")
    await store.set_breaker(uid, "99/100/20")
    await worker.exchange([Commit(news.chunk, news.fence, news.outcomes[:1], {"n": 1}, parts={"p": b"{}"})], 0)
    await worker.note("columns", b"a")
    other = await runs.open(items=4, chunk=1)
    for name in ("a", "b"):
        await runs.claim_started(other, name)
        await runs.lose_workers(other)
    await runs.claim(other, "c", want=1)
    assert await store.run(await runs.open_empty(), "w1").claim_load()
    leaving = await runs.open(rules=RunRules(have_destination=True))
    [chunk, _] = await runs.claim(leaving)
    for position in (0, 1):
        await store.run(leaving, "w1").exchange([commit(chunk, [Succeeded(position, b"1")])], 0)
    seal = await store.run(leaving, "w1").claim_seal()
    assert seal
    await seal.record("part-0", b"{}", await seal.take(1))
    listed = {key.name: key.type for key in KEYS}
    keys = [str(key, "ascii") for key in await runs.redis.keys("{bj:*}:*") if isinstance(key, bytes)]
    assert {key.rpartition(":")[2] for key in keys} == set(listed)
    for key in keys:
        assert await runs.redis.type(key) == listed[key.rpartition(":")[2]].encode()
        assert await runs.redis.ttl(key) == -1
    assert uid in await store.runs()
