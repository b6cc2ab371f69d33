"""The circuit breaker: it trips at the very item, for all workers at once, and never for a run that did not ask."""

import pytest

from batchjob.core.breaker import Spent, Trip
from batchjob.core.items import Cancelled, Chunk, Failed, Outcome, RunState, Succeeded
from batchjob.errors import StoreDamaged
from batchjob.store import Commit, Grant, Snapshot, Store
from batchjob.store.keys import run_key
from tests.support.store_runs import Runs, commit


async def look(store: Store, uid: str) -> Snapshot:
    snapshot = await store.snapshot(uid)
    assert snapshot
    return snapshot


class Story:
    """A run with a breaker whose items end one call after the other."""

    def __init__(self, runs: Runs, uid: str) -> None:
        self.runs, self.uid = runs, uid
        self._chunks: list[Chunk] = []

    @classmethod
    async def begin(cls, runs: Runs, breaker: str, items: int = 60) -> "Story":
        story = cls(runs, await runs.open(items=items, chunk=1))
        await runs.store.set_breaker(story.uid, breaker)
        return story

    async def end(self, *ways: str, worker: str = "w1", together: bool = False) -> Grant:
        """Claim as many items, then end them: `.` succeeds, `x` fails, `-` is cancelled."""
        letters = "".join(ways)
        held = await self.runs.claim(self.uid, worker, want=len(letters))
        news = [commit(chunk, [_outcome(way, chunk)]) for way, chunk in zip(letters, held, strict=True)]
        batches: list[list[Commit]] = [news] if together else [[one] for one in news]
        for batch in batches:
            grant = await self.runs.store.run(self.uid, worker).exchange(batch, 0)
        return grant

    async def tripped(self) -> tuple[int, int] | None:
        """(failed, items) once it has."""
        trip = (await look(self.runs.store, self.uid)).tripped
        return (trip.failed, trip.items) if isinstance(trip, Trip) else None


def _outcome(way: str, chunk: Chunk) -> Outcome:
    (item,) = chunk.items
    if way == "x":
        return Failed(item.position, "upstream", "HTTP 503")
    return Succeeded(item.position) if way == "." else Cancelled(item.position, "no more")


@pytest.mark.parametrize(
    ("breaker", "quiet", "one_more", "trip"),
    [
        ("20/10/5", "x....", "x", (2, 6)),
        ("50/4/1", ".x.x.x.x", "x", (3, 4)),  # what left the window counts no more
        ("0/10/3", "x.", ".", (1, 3)),  # not before so many have ended
        ("99/5/5", "xxxx", "x", (5, 5)),
        ("25/4/4", "x-..x", "x", (2, 4)),  # what is cancelled has ended and not failed
        ("100/5/1", "xxxxx", "xxxxx", None),
        ("", "xxxxx", "xxxxx", None),
    ],
)
async def test_it_trips_with_the_item_that_is_one_too_many(
    runs: Runs, breaker: str, quiet: str, one_more: str, trip: tuple[int, int] | None
) -> None:
    story = await Story.begin(runs, breaker)
    await story.end(quiet)
    assert await story.tripped() is None
    await story.end(one_more)
    assert await story.tripped() == trip
    assert (await look(runs.store, story.uid)).paused == (trip is not None)
    await runs.oracle(story.uid).check()


async def test_items_that_end_in_one_call_count_as_evenly_mixed(runs: Runs) -> None:
    story = await Story.begin(runs, "25/4/2")
    await story.end("xx......", together=True)
    assert await story.tripped() is None, "of the last four of them, one"
    await story.end(".", together=True)
    await story.end("xx", together=True)
    assert await story.tripped() == (3, 4), "two and a quarter, rounded up"


async def test_it_stops_all_workers_at_once_and_what_is_in_flight_ends_and_counts(runs: Runs, store: Store) -> None:
    story = await Story.begin(runs, "50/10/2")
    theirs = await runs.claim(story.uid, "w2", want=3)
    grant = await story.end("x", "x")
    assert (grant.paused, grant.chunks) == (True, [])
    ended, open_one, waiting = theirs
    news = [
        commit(ended, [Succeeded(ended.items[0].position)]),
        commit(open_one, started=1),
        commit(waiting, release=True),
    ]
    grant = await store.run(story.uid, "w2").exchange(news, 10)
    assert (grant.paused, grant.chunks, grant.lost) == (True, [], [])
    assert await runs.claim(story.uid, "w3") == []
    counts = await runs.oracle(story.uid).check()
    assert (counts["failed"], counts["succeeded"], counts["active"]) == (2, 1, 1)
    assert [event.kind for event in await store.events(story.uid)].count("tripped") == 1


async def test_a_call_that_trips_grants_nothing_either(runs: Runs, store: Store) -> None:
    story = await Story.begin(runs, "0/10/1")
    [chunk] = await runs.claim(story.uid, want=1)
    grant = await store.run(story.uid, "w1").exchange([commit(chunk, [_outcome("x", chunk)])], 10)
    assert (grant.paused, grant.chunks) == (True, [])


async def test_items_that_lost_their_last_worker_count_as_failed(runs: Runs, store: Store) -> None:
    uid = await runs.open(items=8, chunk=4, max_losses=1)
    await store.set_breaker(uid, "50/10/4")
    await runs.claim_started(uid, want=4)
    await runs.lose_workers(uid)
    assert await runs.claim(uid, "w2") == []
    assert (await look(store, uid)).tripped is not None


async def test_a_resume_needs_a_token_and_empties_the_window(runs: Runs, store: Store) -> None:
    story = await Story.begin(runs, "50/10/2")
    await story.end("xx")
    await store.resume(story.uid)
    assert (await look(store, story.uid)).paused, "the end of a pause decides nothing"
    for _ in range(2):
        await store.resume(story.uid, "go")
    snapshot = await look(store, story.uid)
    assert (snapshot.paused, snapshot.tripped, snapshot.resumed_by) == (False, None, "go")
    await story.end("x")
    assert await story.tripped() is None, "one of one, and two are needed"
    await story.end("x")
    assert await story.tripped() == (2, 2)


async def test_a_pause_keeps_the_window(runs: Runs, store: Store) -> None:
    story = await Story.begin(runs, "50/10/3")
    await story.end("xx")
    await store.pause(story.uid)
    await store.resume(story.uid, "a token that nothing waits for")
    assert (await look(store, story.uid)).resumed_by is None
    await story.end("x")
    assert await story.tripped() == (3, 3)


async def test_a_breaker_may_be_changed_taken_away_and_set_again(runs: Runs, store: Store) -> None:
    story = await Story.begin(runs, "90/10/2")
    await story.end("x.x")
    await store.set_breaker(story.uid, "70/10/2")
    await story.end("x")
    assert await story.tripped() == (3, 4)
    await store.set_breaker(story.uid, "")
    assert (await look(store, story.uid)).tripped is not None, "what has tripped stays tripped"
    await store.resume(story.uid, "go")
    await story.end("xxxx")
    await store.set_breaker(story.uid, "70/10/2")
    await story.end(".x")
    assert await story.tripped() is None, "what ended without a breaker counts for none"


async def test_with_nothing_left_to_stop_it_does_not_trip(runs: Runs) -> None:
    story = await Story.begin(runs, "0/10/1", items=2)
    await story.end("xx", together=True)
    snapshot = await look(runs.store, story.uid)
    assert (snapshot.state, snapshot.tripped, snapshot.paused) == (RunState.SEALING, None, False)


async def test_when_all_in_flight_have_ended_nothing_is_held(runs: Runs) -> None:
    story = await Story.begin(runs, "0/10/1", items=3)
    await story.end("x..")
    snapshot = await look(runs.store, story.uid)
    assert (snapshot.state, snapshot.tripped, snapshot.paused) == (RunState.SEALING, None, False)
    assert await runs.redis.exists(run_key(story.uid, "window")) == 0


async def test_a_run_without_a_breaker_keeps_no_window(runs: Runs) -> None:
    story = await Story.begin(runs, "")
    await story.end("x.x.")
    assert await runs.redis.exists(run_key(story.uid, "window")) == 0


async def commands_of_a_commit(runs: Runs, breaker: str, size: int) -> int:
    """Redis commands in the call that ends so many items of one chunk."""
    uid = await runs.open(items=2 * size, chunk=size)
    await runs.redis.hset(run_key(uid, "meta"), "told_ms", 2**52)  # no event of progress, which is due by the clock
    await runs.store.set_breaker(uid, breaker)
    for _ in range(2):  # the first one finds an empty window
        [chunk] = await runs.claim(uid, want=size)
        await runs.redis.config_resetstat()
        news = commit(chunk, [Succeeded(item.position) for item in chunk.items[1:]])
        await runs.store.run(uid, "w1").exchange([news], 0)
    stats = await runs.redis.info("commandstats")
    return sum(facts["calls"] for facts in stats.values())


async def test_its_work_does_not_grow_with_the_items_that_end(runs: Runs) -> None:
    cost = {
        size: await commands_of_a_commit(runs, "20/9999/20", size) - await commands_of_a_commit(runs, "", size)
        for size in (10, 200)
    }
    assert cost[10] == cost[200] < 10


# ---- the budget


async def use(story: Story, tokens: int, worker: str = "w1", want: int = 0) -> Grant:
    """An item that took so many tokens, half of them for the answer, ends; the worker wants more."""
    [chunk] = await story.runs.claim(story.uid, worker, want=1)
    usage = {"promptTokens": tokens - tokens // 2, "completionTokens": tokens // 2, "requests": 10**6}
    ended = Commit(chunk.id, chunk.fence, [Succeeded(chunk.items[0].position)], usage=usage)
    return await story.runs.store.run(story.uid, worker).exchange([ended], want)


async def test_the_item_that_uses_up_the_budget_is_the_last_that_is_granted_to_anybody(runs: Runs) -> None:
    story = await Story.begin(runs, "100/100/20/1000")
    [in_flight] = await runs.claim(story.uid, "w2", want=1)
    assert (await use(story, 999)).paused is False
    grant = await use(story, 1, want=5)
    assert (grant.paused, grant.chunks) == (True, [])
    found = await look(runs.store, story.uid)
    assert isinstance(found.tripped, Spent)
    assert found.tripped[:2] == (1000, 1000)
    outcome = Succeeded(in_flight.items[0].position)
    ended = Commit(in_flight.id, in_flight.fence, [outcome], usage={"promptTokens": 7})
    grant = await runs.store.run(story.uid, "w2").exchange([ended], 5)
    assert (grant.paused, grant.chunks, grant.lost) == (True, [], [])
    found = await look(runs.store, story.uid)
    assert (found.counts.succeeded, found.usage["promptTokens"], found.usage["completionTokens"]) == (3, 508, 499)


async def test_a_run_goes_on_within_a_larger_budget_and_trips_at_once_within_the_same(runs: Runs) -> None:
    story = await Story.begin(runs, "100/100/20/1000")
    await use(story, 1200)
    await runs.store.set_breaker(story.uid, "100/100/20/2000")
    assert (await runs.store.run(story.uid, "w1").exchange([], 1)).paused, "a larger budget alone decides nothing"
    await runs.store.resume(story.uid)
    assert (await look(runs.store, story.uid)).paused, "the end of a pause decides nothing either"
    await runs.store.resume(story.uid, "more")
    assert (await use(story, 799)).paused is False
    assert (await use(story, 5)).paused
    await runs.store.resume(story.uid, "and on")
    grant = await runs.store.run(story.uid, "w1").exchange([], 1)
    assert (grant.paused, grant.chunks) == (True, [])


async def test_more_budget_forgives_no_failures(runs: Runs) -> None:
    story = await Story.begin(runs, "50/10/4/1000")
    await story.end("xx")
    assert (await use(story, 1000)).paused
    await runs.store.set_breaker(story.uid, "50/10/4/2000")
    await runs.store.resume(story.uid, "more")
    assert await story.tripped() is None
    await story.end("x")
    assert await story.tripped() == (3, 4)


async def test_a_budget_that_the_last_item_uses_up_holds_nothing(runs: Runs) -> None:
    story = await Story.begin(runs, "100/100/20/1000", items=1)
    grant = await use(story, 5000)
    assert (grant.state, grant.paused) == (RunState.SEALING, False)


async def test_a_large_budget_is_told_to_the_token(runs: Runs) -> None:
    story = await Story.begin(runs, f"100/100/20/{10**12}")
    await use(story, 3 * 10**15 + 1)
    found = await look(runs.store, story.uid)
    assert found.tripped
    assert found.tripped[:2] == (3 * 10**15 + 1, 10**12)


async def test_all_items_may_fail_within_a_budget(runs: Runs) -> None:
    story = await Story.begin(runs, "100/1/1/1000")
    assert (await story.end("x", "x", "x")).paused is False


@pytest.mark.parametrize("name", ["breaker", "window", "endless window", "usage"])
async def test_nonsense_that_a_tenant_wrote_is_damage(runs: Runs, name: str) -> None:
    story = await Story.begin(runs, "20/1/1")
    await story.end(".")
    if name == "breaker":
        await runs.redis.hset(run_key(story.uid, "meta"), "breaker", "none of ours")
    elif name == "usage":
        await runs.store.set_breaker(story.uid, "20/1/1/5")
        await runs.redis.hset(run_key(story.uid, "usage"), "promptTokens", "none of ours")
    elif name == "window":
        await runs.redis.lset(run_key(story.uid, "window"), 0, "none of ours")
    else:
        await runs.redis.lpush(run_key(story.uid, "window"), *["0/0"] * 20_000)
    with pytest.raises(StoreDamaged, match="circuit breaker"):
        await story.end(".")
