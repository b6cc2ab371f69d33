"""What a run tells its watchers."""

import asyncio
from itertools import pairwise

import pytest

from batchjob.core.items import Failed, RunState, Succeeded
from batchjob.errors import RunGone
from batchjob.store import Commit, Progress, RunEvent, Store
from batchjob.store.keys import run_key
from tests.support.store_runs import Runs, commit
from tests.support.workers import wait_for


async def test_the_life_of_a_run_is_told_in_order_with_the_numbers_of_each_moment(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=2, chunk=2)
    await store.pause(uid)
    await store.resume(uid)
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(0), Failed(1, "refused", "no such mail")])], 0)
    lease = await store.run(uid, "w1").claim_seal()
    assert lease
    await lease.finish("s3://bucket/run/manifest.json", "0" * 64)
    told = [(event.kind, event.fields) for event in await store.events(uid) if event.kind != "progress"]
    assert [kind for kind, _ in told] == ["open", "paused", "resumed", "item_failed", "sealing", "closed"]
    assert told[0][1] == {"waiting": "2"}
    assert told[3][1] == {"position": "1", "id": "item-1", "class": "refused", "message": "no such mail"}
    assert told[5][1] == {"waiting": "0", "active": "0", "succeeded": "1", "failed": "1"}


async def test_progress_is_told_four_times_a_second_at_most_and_the_last_of_it_with_the_next_exchange(
    runs: Runs, store: Store
) -> None:
    uid = await runs.open(items=100, chunk=100)
    [chunk] = await runs.claim(uid)

    async def told_ms() -> int:
        return int(await runs.redis.hget(run_key(uid, "meta"), "told_ms") or 0)

    moments = {await told_ms()}  # when the store told: an event's id is made later by what the server is held up

    async def exchange(*outcomes: Succeeded) -> None:
        await store.run(uid, "w1").exchange([commit(chunk, outcomes)], 0)
        moments.add(await told_ms())

    for item in chunk.items[:50]:
        await exchange(Succeeded(item.position))

    async def told() -> list[RunEvent] | None:
        await exchange()  # a heartbeat
        found = [event for event in await store.events(uid) if event.kind == "progress"]
        return found if found[-1].fields.get("succeeded") == "50" else None

    progress = await wait_for(told, "the last of the progress")
    assert progress[0].fields == {"waiting": "0", "active": "100"}
    began, said = sorted(moments), [int(event.id.partition("-")[0]) for event in progress]
    assert all(later - earlier >= 250 for earlier, later in pairwise(began))
    assert sorted([*began, *said]) == [at for pair in zip(began, said, strict=True) for at in pair], "each is told once"
    await exchange()
    assert await store.events(uid, progress[-1].id) == [], "nothing is new"


async def test_how_far_long_items_are_is_told_and_does_not_fall_where_one_begins_anew(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=2, chunk=2)
    [chunk] = await runs.claim_started(uid)

    async def reached(thousandths: int, said: str) -> tuple[str | None, ...]:
        news = Commit(chunk.id, chunk.fence, progress=Progress(thousandths, "item-0", said))
        await store.run(uid, "w1").exchange([news, news], 0)
        await runs.oracle(uid).check()
        return await last()

    async def last() -> tuple[str | None, ...]:
        async def look() -> RunEvent | None:
            await store.run(uid, "w2").exchange([], 0)
            found = [event for event in await store.events(uid) if event.kind == "progress"]
            meta = await runs.redis.hmget(run_key(uid, "meta"), "version", "told_version")
            return found[-1] if meta[0] == meta[1] else None

        fields = (await wait_for(look, "the last progress to be told")).fields
        return tuple(fields.get(name) for name in ("reached", "item", "message"))

    assert await last() == (None, None, None)
    assert await reached(400, "a page") == ("400", "item-0", "a page")
    assert await reached(1300, "") == ("1300", "item-0", "")
    assert await reached(700, "again") == ("1300", "item-0", "again")
    await runs.lose_workers(uid)
    await store.run(uid, "w2").exchange([], 0)
    await runs.oracle(uid).check()
    found = await store.snapshot(uid)
    assert found
    assert (found.reached, found.counts.retried_after_loss) == (1300, 2)
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Succeeded(0)])], 0)
    assert await reached(500, "") == ("1500", "item-0", "")


async def test_of_many_items_that_fail_together_ten_have_an_event_each(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=30, chunk=30)
    [chunk] = await runs.claim(uid)
    await store.run(uid, "w1").exchange([commit(chunk, [Failed(n, "refused", "no") for n in range(30)])], 0)
    told = await store.events(uid)
    assert [event.fields["position"] for event in told if event.kind == "item_failed"] == [str(n) for n in range(10)]
    assert told[-1].fields["failed"] == "30"


async def test_a_watcher_waits_for_the_next_event_and_goes_on_where_it_was(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=2, chunk=2)
    seen = await store.events(uid)
    watcher = asyncio.create_task(store.events(uid, seen[-1].id, wait_seconds=5))

    async def waits() -> bool | None:
        return bool((await runs.redis.info("clients"))["blocked_clients"]) or None

    await wait_for(waits, "the watcher to wait")
    await store.cancel(uid)
    assert [event.kind for event in await watcher] == [RunState.CANCELLED]
    assert await store.events(uid, seen[-1].id, wait_seconds=5) == await watcher


async def test_a_long_run_keeps_about_its_last_thousand_events(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    for _ in range(1500):
        await store.pause(uid)
        await store.resume(uid)
    first = await store.events(uid)
    assert len(first) == 500, "a page"
    assert first[0].kind != RunState.OPEN, "the beginning is forgotten"
    kept = await runs.redis.xlen(run_key(uid, "events"))
    assert 1000 <= kept <= 1200


async def test_a_watcher_of_a_run_that_is_gone_is_told(runs: Runs, store: Store) -> None:
    uid = await runs.open()
    last = (await store.events(uid))[-1]
    await store.delete_run(uid)
    with pytest.raises(RunGone):
        await store.events(uid, last.id)
