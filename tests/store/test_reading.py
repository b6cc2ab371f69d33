"""What the operator reads: snapshots, dead letters, results, and which runs changed."""

import asyncio

import pytest
from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.items import Cancelled, Failed, Outcome, Retried, RunState, Succeeded
from batchjob.errors import LeaseLost, RunGone, StoreDamaged, StoreUnavailable
from batchjob.store import Store
from batchjob.store.keys import run_key
from tests.support.redis_server import RedisServer
from tests.support.store_proxy import How, Spoil, StoreProxy
from tests.support.store_runs import Runs, commit, done


async def test_a_snapshot_shows_the_run_and_its_version_grows_with_each_change(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    first = await store.snapshot(uid)
    assert first
    assert (first.epoch, first.state) == ("one", RunState.OPEN)
    assert (first.counts.waiting, first.counts.total, first.next_due_ms) == (4, 4, None)
    assert await store.snapshot(uid) == first
    [chunk] = await runs.claim(uid)
    second = await store.snapshot(uid)
    assert second
    assert second.version > first.version
    await store.run(uid, "w1").exchange([commit(chunk)], 0)  # a heartbeat is no change
    assert await store.snapshot(uid) == second


async def test_failed_positions_are_sorted_and_the_last_errors_newest_first(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=12, chunk=12)
    [chunk] = await runs.claim(uid)
    for position in (11, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9, 10):
        await store.run(uid, "w1").exchange([commit(chunk, [Failed(position, "refused", f"no {position}")])], 0)
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.failed_positions == list(range(12))
    assert len(snapshot.last_errors) == 10
    assert snapshot.last_errors[0] == ("item-10", "refused", "no 10")


async def test_dead_letters_come_in_pages(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=7, chunk=7)
    [chunk] = await runs.claim(uid)
    outcomes = [Failed(position, "refused", "no") for position in range(1, 7)]
    await store.run(uid, "w1").exchange([commit(chunk, outcomes)], 0)
    pages, cursor = [], 0
    while page := await store.dead_letters(uid, 4, cursor):
        pages.append([letter.position for letter in page])
        cursor = page[-1].position + 1
    assert pages == [[1, 2, 3, 4], [5, 6]]
    await runs.redis.hdel(run_key(uid, "dead"), "2")
    without = [letter.position for letter in await store.dead_letters(uid, 4)]
    assert without == [1, 3, 4, 5], "a record that was lost is no end of the page"


async def test_another_run_reads_dead_letters_page_by_page(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=130, chunk=130)
    [chunk] = await runs.claim(uid, want=130)
    await store.run(uid, "w1").exchange([commit(chunk, [Failed(n, "refused", "no") for n in range(1, 129)])], 0)
    letters = [letter async for letter in store.run(uid, "reader").dead_letters()]
    assert [(letter.position, letter.id) for letter in letters] == [(n, f"item-{n}") for n in range(1, 129)]


async def test_results_come_in_the_order_of_positions_over_many_batches(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1203, chunk=200)
    chunks = await runs.claim(uid, want=2000)
    for chunk in reversed(chunks):
        outcomes = [Succeeded(item.position, b"[%d]" % item.position) for item in chunk.items if item.position % 7]
        await store.run(uid, "w1").exchange([commit(chunk, outcomes)], 0)
    expected = [(n, f"item-{n}", b"[%d]" % n) for n in range(1203) if n % 7]
    assert [tuple(result) async for result in store.results(uid)] == expected


async def test_long_results_come_in_order_too(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=60, chunk=60)
    [chunk] = await runs.claim(uid, want=60)
    texts = {n: b'"' + b"x" * (900_000 if n in {20, 21, 22, 23} else 10) + b'"' for n in range(60)}
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(n, text) for n, text in texts.items()])], 0)
    assert {result.position: result.result async for result in store.results(uid)} == texts


async def test_results_come_from_a_part_of_the_positions(runs: Runs, store: Store) -> None:
    uid = await runs.open(10, chunk=5)
    for chunk in await runs.claim(uid):
        done = [Succeeded(item.position, b"1") for item in chunk.items if item.position != 4]
        await store.run(uid, "w1").exchange([commit(chunk, done)], 0)
    for bounds, expected in (((3, 6), [3, 5]), ((8, 99), [8, 9]), ((0, 2), [0, 1]), ((10, 20), []), ((4, 5), [])):
        assert [result.position async for result in store.results(uid, *bounds)] == expected


async def test_requests_are_counted_in_a_window_that_ends_by_itself(redis: Redis, store: Store) -> None:
    assert [(await store.count("a", 60))[0] for _ in range(3)] == [1, 2, 3]
    number, left = await store.count("b", 60)
    assert number == 1
    assert 59 < left <= 60
    await redis.pexpire("bj:limit:a", 5_000)
    number, left = await store.count("a", 60)
    assert (number, left <= 5) == (4, True), "its first request began the window, and no later one prolongs it"


async def test_results_of_a_run_that_vanishes_do_not_end_silently(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=600, chunk=600)
    [chunk] = await runs.claim(uid, want=600)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(n, b"1") for n in range(600)])], 0)
    seen = 0
    with pytest.raises(RunGone):  # noqa: PT012 - the loop is what raises
        async for _ in store.results(uid):
            seen += 1
            await store.delete_run(uid)
    assert seen == 50
    with pytest.raises(RunGone):
        _ = [result async for result in store.results("nobody")]


async def test_changed_runs_are_told_once_and_the_oldest_first(runs: Runs, store: Store) -> None:
    first, second = await runs.open(items=1), await runs.open(items=1)
    assert set(await store.changed(1)) == {first, second}
    assert await store.changed(0) == []
    [chunk] = await runs.claim(second)  # a grant is a change
    assert await store.changed(0) == [second]
    await store.run(second, "w1").exchange([commit(chunk)], 0)  # a heartbeat is not
    assert await store.changed(0) == []
    waiting = asyncio.create_task(store.changed(5))
    await store.run(second, "w1").exchange([done(chunk)], 0)
    assert await waiting == [second]


async def test_changes_whose_answer_was_lost_are_not_asked_for_again(runs: Runs, redis_server: RedisServer) -> None:
    await runs.open(items=1)
    spoil = Spoil("BZPOPMIN", 1, How.LOSE_REPLY)
    async with (
        StoreProxy(redis_server.port, spoil) as proxy,
        Store.connect(StoreAccess(url=proxy.url), name="operator") as store,
    ):
        with pytest.raises(StoreUnavailable):
            await store.changed(1)
        assert spoil.hit
        assert await store.changed(0) == [], "the first took it with it, so whoever asked has to look at everything"


async def test_what_a_tenant_wrote_by_hand_is_called_damage(runs: Runs, store: Store) -> None:
    damaged, wrong = [await runs.open(items=1) for _ in range(2)]
    await runs.redis.hset(run_key(damaged, "meta"), "version", "much")
    await runs.redis.set(run_key(wrong, "failed"), "a string")
    for uid in (damaged, wrong):
        with pytest.raises(StoreDamaged):
            await store.snapshot(uid)
    uid = await runs.open(items=2)
    await runs.redis.hset(run_key(uid, "meta"), "result_bytes", "5")
    await runs.redis.hset(run_key(uid, "results"), "0", b"\xff\xff")
    await runs.redis.zadd(run_key(uid, "failed"), {"1": 1})
    await runs.redis.hset(run_key(uid, "dead"), "1", b"\xff\xff")
    with pytest.raises(StoreDamaged, match="result of item 0"):
        await anext(store.results(uid))
    with pytest.raises(StoreDamaged, match="failed item 1"):
        await store.dead_letters(uid, 1)


async def test_a_snapshot_is_bounded_whatever_a_tenant_wrote(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1)
    await runs.redis.hset(run_key(uid, "usage"), mapping={f"n{n}": 1 for n in range(2000)})
    await runs.redis.hset(run_key(uid, "meta"), "message", "ä" * 1_000_000)
    await runs.redis.lpush(run_key(uid, "errors"), b"x" * 1_000_000)
    found = await store.snapshot(uid)
    assert found
    assert (found.usage, found.last_errors) == ({}, [])
    assert len(found.message or "") <= 8192


@pytest.mark.parametrize("chunk", ["0+1/0-1000000000000", "0+1000000000000/0-1000000000000", "5+2/0-1", "nonsense"])
async def test_a_chunk_that_is_none_stops_the_script_at_once(chunk: str, runs: Runs, store: Store) -> None:
    """A tenant may write into its own run, and must not keep the server from serving others."""
    uid = await runs.open(items=1)
    await runs.redis.lpush(run_key(uid, "pending"), chunk)
    with pytest.raises(StoreDamaged, match="is no chunk"):
        await store.run(uid, "w1").exchange([], 2**40)


async def test_runs_that_nobody_owns_can_be_found(runs: Runs, store: Store) -> None:
    uids = {await runs.open(items=1) for _ in range(3)}
    await runs.redis.set("{bj:orphan}:data", "left over")
    await runs.redis.set("unrelated", "x")
    found = await store.runs()
    assert found.keys() == uids | {"orphan"}
    assert found["orphan"] == {b"{bj:orphan}:data"}
    await store.delete_run("orphan", {*found["orphan"], b"{bj:orphan}:of-the-tenant"})
    assert (await store.runs()).keys() == uids
    await runs.redis.delete("unrelated")


async def test_the_first_note_of_a_name_is_in_force_for_all(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    assert await store.run(uid, "w1").note("columns", b"a,b") == b"a,b"
    assert await store.run(uid, "w2").note("columns", b"b,a") == b"a,b"


async def test_the_ledger_keeps_notes_apart_from_outcomes(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    worker = store.run(uid, "w1")
    [chunk, *_] = await runs.claim(uid)
    assert await worker.ledger_get(3) is None
    await worker.ledger_mark(3, chunk.id, chunk.fence, b"\x00sending")
    assert await worker.ledger_get(3) == b"\x00sending"
    await worker.ledger_clear(3, chunk.id, chunk.fence)
    assert await worker.ledger_get(3) is None


async def test_a_worker_that_was_taken_for_lost_notes_nothing_over_what_its_heir_noted(
    runs: Runs, store: Store
) -> None:
    uid = await runs.open(items=1)
    late, heir = store.run(uid, "late"), store.run(uid, "heir")
    [before] = await runs.claim(uid, "late")
    await late.ledger_mark(0, before.id, before.fence, b"sending")
    await runs.lose_workers(uid)
    [now] = await runs.claim(uid, "heir")
    await heir.ledger_mark(0, now.id, now.fence, b"sent")
    for write in (
        late.ledger_mark(0, before.id, before.fence, b"sending"),
        late.ledger_clear(0, before.id, before.fence),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert await heir.ledger_get(0) == b"sent"


async def test_a_note_outlives_a_retry_and_a_loss_and_goes_when_its_item_ends(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=8)
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim_started(uid)
    for position in range(8):
        await worker.ledger_mark(position, chunk.id, chunk.fence, b"page 3")
    again = [Retried(n, "upstream", "503", 0) for n in (4, 5)]
    ended: list[Outcome] = [Succeeded(0), Succeeded(1, b"1"), Failed(2, "refused", "no"), Cancelled(3, "no more")]
    await worker.exchange([commit(chunk, [*ended, *again])], 0)
    await runs.lose_workers(uid)
    [*_, retried] = await runs.claim(uid, "w2", want=1)
    assert await runs.redis.hkeys(run_key(uid, "ledger")) == [b"4", b"5", b"6", b"7"]
    assert await worker.ledger_get(retried.items[0].position) == b"page 3"
    await store.abandon(uid, "enough")
    with pytest.raises(LeaseLost):
        await worker.ledger_mark(7, chunk.id, chunk.fence, b"late")
    assert not await runs.redis.exists(run_key(uid, "ledger"))


async def test_what_is_done_for_good_is_neither_open_nor_a_dead_letter(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=20, chunk=5)
    assert await store.finished(uid) == []
    first, second = await runs.claim(uid, want=10)
    outcomes: list[Outcome] = [Succeeded(position) for position in (0, 1, 3)]
    outcomes += [Failed(2, "refused", "no"), Retried(4, "upstream", "503", 60_000)]
    await store.run(uid, "w1").exchange([commit(first, outcomes), commit(second, [Cancelled(7, "no more")])], 0)
    assert await store.finished(uid) == [(0, 1), (3, 3), (7, 7)]
    await store.cancel(uid)
    assert await store.finished(uid) is None, "what was broken off says nothing of what was done"


async def test_nothing_is_said_to_be_done_before_the_source_is_loaded(runs: Runs, store: Store) -> None:
    assert await store.finished(await runs.open_empty()) is None


async def test_leases_that_were_written_by_hand_are_not_looked_through_for_long(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    forged = {f"0+10000/0-{n}": 1.0 for n in range(9000, 9100)}
    await runs.redis.zadd(run_key(uid, "lease"), forged)
    with pytest.raises(StoreDamaged, match="has no owner"):
        await store.finished(uid)
    await runs.redis.hset(run_key(uid, "owner"), mapping=dict.fromkeys(forged, "1/0/0/0/w"))
    assert await store.finished(uid) is None
