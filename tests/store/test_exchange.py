"""Claim and commit: outcomes count once, tokens fence, retries come back when they are due."""

from batchjob.core.items import Cancelled, Failed, Item, Outcome, Retried, RunState, Succeeded
from batchjob.store import Commit, Store
from tests.support.store_runs import Runs, commit, done, positions


async def test_an_exchange_grants_no_more_items_than_wanted(runs: Runs) -> None:
    uid = await runs.open(items=10, chunk=4)
    assert positions(await runs.claim(uid, "w1", want=6)) == [0, 1, 2, 3, 4, 5]
    assert positions(await runs.claim(uid, "w1", want=0)) == []
    assert positions(await runs.claim(uid, "w1", want=1)) == [6]
    assert (await runs.oracle(uid).check())["active"] == 7


async def test_the_last_items_spread_over_the_workers(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=40, chunk=40)
    first = await store.run(uid, "w1").exchange([], 20, 2)
    second = await store.run(uid, "w2").exchange([], 20, 2)
    third = await store.run(uid, "w3").exchange([], 20, 6)
    assert [len(positions(grant.chunks)) for grant in (first, second, third)] == [20, 6, 6]


async def test_heavy_items_are_granted_a_few_megabytes_at_a_time(runs: Runs, store: Store) -> None:
    uid = await runs.open_empty()
    lease = await store.run(uid, "loader").claim_load()
    assert lease
    heavy = [Item(position, f"i{position}", {"text": "x" * 2**20}) for position in range(20)]
    for first in range(0, 20, 2):
        await lease.put([heavy[first : first + 2]])
    await lease.finish(20, "0" * 64, None)
    assert positions(await runs.claim(uid, "w1")) == [0, 1, 2, 3]
    assert positions(await runs.claim(uid, "w1")) == [4, 5, 6, 7]
    await runs.oracle(uid).check()


async def test_one_call_commits_and_grants_the_next_chunk(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4)
    worker = store.run(uid, "w1")
    [first] = (await worker.exchange([], 4)).chunks
    grant = await worker.exchange([done(first)], 4)
    assert (positions(grant.chunks), grant.lost, grant.state) == ([4, 5, 6, 7], [], RunState.OPEN)
    last = await worker.exchange([done(grant.chunks[0])], 4)
    assert (last.chunks, last.state, last.next_ms) == ([], RunState.SEALING, -1)
    assert (await runs.oracle(uid).check())["succeeded"] == 8


async def test_a_chunk_may_be_committed_in_parts(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim(uid)
    for expected, position in enumerate((2, 0, 3), start=1):
        await worker.exchange([commit(chunk, [Succeeded(position)])], 0)
        counts = await runs.oracle(uid).check()
        assert (counts["succeeded"], counts["active"]) == (expected, 4 - expected)


async def test_outcomes_usage_and_parts_are_written_together(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim(uid)
    outcomes: list[Outcome] = [
        Succeeded(0, b'{"ok":true}'),
        Failed(1, "refused", "no"),
        Retried(2, "upstream", "503", 60_000),
    ]
    news = Commit(chunk.id, chunk.fence, [*outcomes, Cancelled(3, "gone")], {"promptTokens": 7}, parts={"p": b"{}"})
    grant = await worker.exchange([news], 4)
    counts = await runs.oracle(uid).check()
    assert counts == {"waiting": 0, "delayed": 1, "active": 0, "succeeded": 1, "failed": 1, "cancelled": 1}
    assert 50_000 < grant.next_ms <= 60_000
    assert await worker.parts() == {"p": b"{}"}
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.usage == {"promptTokens": 7}
    assert snapshot.next_due_ms
    assert [tuple(result) async for result in worker.results()] == [(0, "item-0", b'{"ok":true}')]


async def test_a_commit_that_is_sent_twice_counts_once(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    worker = store.run(uid, "w1")
    [chunk] = await runs.claim(uid)
    news = Commit(chunk.id, chunk.fence, [Succeeded(0), Succeeded(0), Failed(1, "internal", "x")], {"tokens": 5})
    for _ in range(2):
        assert (await worker.exchange([news], 0)).lost == []
    await worker.exchange([commit(chunk, [Succeeded(1)])], 0)  # item 1 has ended already
    counts = await runs.oracle(uid).check()
    assert (counts["succeeded"], counts["failed"], counts["active"]) == (1, 1, 2)
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.usage == {"tokens": 5}


async def test_an_outcome_of_an_item_outside_the_chunk_changes_nothing(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4)
    [chunk] = await runs.claim(uid, want=4)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(4), Succeeded(99, b"1"), Failed(7, "x", "y")])], 0)
    assert (await runs.oracle(uid).check())["succeeded"] == 0


async def test_an_old_token_changes_nothing(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [old] = await runs.claim(uid, "w1")
    await runs.lose_workers(uid)
    [new] = await runs.claim(uid, "w2")
    assert (new.id, new.items) == (old.id, old.items)
    assert new.fence > old.fence
    before = await store.snapshot(uid)
    late = Commit(old.id, old.fence, [Succeeded(0, b"1"), Failed(1, "x", "y")], {"n": 1}, True, 4, {"p": b"1"})
    assert (await store.run(uid, "w1").exchange([late], 0)).lost == [old.id]
    assert await store.snapshot(uid) == before
    assert await store.run(uid, "w1").parts() == {}
    assert (await store.run(uid, "w2").exchange([done(new)], 0)).lost == []


async def test_a_commit_renews_its_lease_even_after_the_deadline_if_nobody_took_over(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim_started(uid)
    await runs.lose_workers(uid)
    grant = await store.run(uid, "w1").exchange([commit(chunk, started=4)], 0)
    assert grant.lost == []
    assert grant.next_ms > 9_000
    snapshot = await store.snapshot(uid)
    assert snapshot
    assert snapshot.counts.retried_after_loss == 0


async def test_a_retried_item_comes_back_alone_when_it_is_due(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim(uid)
    retried = Retried(1, "upstream", "503", delay_ms=40)
    rest = [Succeeded(0), Succeeded(2), Succeeded(3)]
    grant = await store.run(uid, "w1").exchange([commit(chunk, [retried, *rest])], 4)
    assert grant.chunks == []
    assert 0 < grant.next_ms <= 40
    while not grant.chunks:
        await store.run(uid, "w1").wait(grant.next_ms)
        grant = await store.run(uid, "w1").exchange([], 4)
    [item] = grant.chunks[0].items
    assert (item.position, item.id, item.data, item.attempt, item.losses) == (1, "item-1", {"n": 1}, 2, 0)


async def test_a_retry_that_does_not_count_spends_no_attempt(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=1, chunk=1)
    attempts = []
    for counts in (True, False, True):
        [chunk] = await runs.claim(uid)
        attempts.append(chunk.items[0].attempt)
        await store.run(uid, "w1").exchange([commit(chunk, [Retried(0, "rate-limited", "429", 0, counts=counts)])], 0)
    [chunk] = await runs.claim(uid)
    assert [*attempts, chunk.items[0].attempt] == [1, 2, 2, 3]


async def test_due_retries_go_before_what_waits(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=2)
    [chunk] = await runs.claim(uid, want=2)
    outcomes: list[Outcome] = [Succeeded(0), Retried(1, "timeout", "slow", 60_000)]
    await store.run(uid, "w1").exchange([commit(chunk, outcomes)], 0)
    await runs.let_retries_fall_due(uid)
    assert positions(await runs.claim(uid, want=3)) == [1, 2, 3]


async def test_a_dead_letter_keeps_what_is_needed_to_run_it_again(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim(uid)
    retried, failed = Retried(2, "upstream", "503", 0), Failed(2, "invalid-input", "too long: " + "x" * 2000)
    await store.run(uid, "w1").exchange([commit(chunk, [retried])], 0)
    [again] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(again, [failed])], 0)
    [letter] = await store.dead_letters(uid, 10)
    assert (letter.position, letter.id, letter.error_class, letter.data) == (2, "item-2", "invalid-input", b'{"n":2}')
    assert (letter.attempts, letter.losses, len(letter.message)) == (2, 0, 1024)
    assert letter.message.startswith("too long: x")


async def test_packed_items_go_when_the_last_of_them_is_terminal(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4)
    worker = store.run(uid, "w1")
    first, second = await runs.claim(uid)
    outcomes: list[Outcome] = [Succeeded(0), Succeeded(1), Succeeded(2), Retried(3, "upstream", "x", 0)]
    await worker.exchange([commit(first, outcomes), done(second)], 0)
    assert await runs.oracle(uid).read("HKEYS", "data") == ["0+4"]
    [again] = await runs.claim(uid)
    await worker.exchange([done(again)], 0)
    assert await runs.oracle(uid).read("HKEYS", "data") == []
    assert await runs.oracle(uid).read("HGETALL", "attempts") == {}


async def test_a_waiting_worker_wakes_when_a_chunk_comes_back(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=4, chunk=4)
    [chunk] = await runs.claim(uid, "w1")
    idle = store.run(uid, "w2")
    assert (await idle.exchange([], 4)).chunks == []
    await idle.wait(1)  # nobody woke it
    await store.run(uid, "w1").exchange([commit(chunk, release=True)], 0)
    await idle.wait(-1)
    assert positions((await idle.exchange([], 4)).chunks) == [0, 1, 2, 3]
    assert await runs.oracle(uid).read("LLEN", "wake") == 0


async def test_workers_share_what_waits_in_whole_chunks(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=68, chunk=10)
    assert len(await runs.claim(uid, "w1", want=10)) == 1
    grant = await store.run(uid, "w2").exchange([], 20, 10)
    assert [len(chunk.items) for chunk in grant.chunks] == [10, 10], "its share of 58 is 15"
