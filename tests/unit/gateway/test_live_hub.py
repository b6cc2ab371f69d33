"""The hub with hundreds of watchers: each sees what is theirs once, in order, and who is stuck costs a full queue."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjob.errors import StoreUnavailable
from batchjob.gateway import live_hub
from batchjob.gateway.live_frames import Frame
from batchjob.gateway.live_hub import FROM_BEGINNING, QUEUE, Ear, GoingAway, Hub, TooManyWatchers, TooSlow, Watcher
from batchjob.gateway.live_stream import Expired, stream
from batchjob.gateway.problems import UNAUTHENTICATED, Problem
from batchjob.store import LiveEntry
from batchjob.store.events import PAGE


class Streams:
    """The store's streams in memory; `pause` is what happens between a question and its answer."""

    def __init__(self) -> None:
        self.entries: dict[str, list[LiveEntry]] = {}
        self.reads = 0
        self.away = False
        self.between: Callable[[], Awaitable[None]] | None = None  # happens before the answer of the next `read`
        self._rings: list[str] = []
        self._rung = asyncio.Condition()
        self._numbers = count(1)

    async def tell(self, owner: str, job: str = "team.a", times: int = 1) -> None:
        mine = self.entries.setdefault(owner, [])
        for _ in range(times):
            number = next(self._numbers)
            mine.append(LiveEntry(f"{1000 + number}-0", job, "batch:progress", 5, number, b'{"n":1}'))
        async with self._rung:
            self._rings.append(owner)
            self._rung.notify_all()

    async def pause(self) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await asyncio.sleep(0)

    async def last(self, owner: str) -> str:
        await self.pause()
        mine = self.entries.get(owner)
        return mine[-1].id if mine else "0"

    async def read(self, owner: str, after: str) -> list[LiveEntry]:
        [found] = await self.read_many([(owner, after)])
        between, self.between = self.between, None
        if between is not None:
            await between()
        return found

    async def read_many(self, cursors: Sequence[tuple[str, str]]) -> list[list[LiveEntry]]:
        self.reads += 1
        await self.pause()
        found = [
            [entry for entry in self.entries.get(owner, ()) if self._id(entry.id) > self._id(after)][:PAGE]
            for owner, after in cursors
        ]
        await self.pause()
        return found

    async def read_from(self, owner: str, first: str) -> list[LiveEntry]:
        await self.pause()
        return [entry for entry in self.entries.get(owner, ()) if self._id(entry.id) >= self._id(first)][:PAGE]

    async def last_ring(self) -> str:
        await self.pause()
        return str(len(self._rings))

    async def wait(self, after: str, _: float = 5.0) -> tuple[str, set[str] | None]:
        await self.pause()
        async with self._rung:
            await self._rung.wait_for(lambda: len(self._rings) > int(after))
        return str(len(self._rings)), set(self._rings[int(after) :])

    @staticmethod
    def _id(text: str) -> int:
        return int(text.partition("-")[0])


@asynccontextmanager
async def a_hub(streams: Any) -> AsyncIterator[Hub]:
    hub = Hub(streams)
    reader = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_hub, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(live_hub, "RETRY_SECONDS", 0)


async def take(watcher: Watcher, most: int) -> list[int]:
    """The numbers of so many events."""
    found: list[int] = []
    while len(found) < most:
        frames = await watcher.take(5)
        assert frames, "nothing more came"
        found += [json.loads(frame.text)["seq"] for frame in frames]
    return found


async def test_hundreds_watch_and_each_sees_what_is_theirs_once_and_in_order() -> None:
    streams = Streams()
    async with a_hub(streams) as hub:

        async def watch(owner: str) -> list[int]:
            async with hub.watch(owner) as watcher:
                assert await watcher.take(0) == []
                ready.release()
                return await take(watcher, 100)

        ready = asyncio.Semaphore(0)
        owners = [f"owner-{number % 10}" for number in range(500)]
        tasks = [asyncio.create_task(watch(owner)) for owner in owners]
        for _ in owners:
            await ready.acquire()
        before = streams.reads
        for number in range(1000):
            await streams.tell(f"owner-{number % 10}")
        seen = await asyncio.gather(*tasks)
    for owner, numbers in zip(owners, seen, strict=True):
        assert numbers == [entry.seq for entry in streams.entries[owner]]
    assert streams.reads - before <= 1000, "read once, however many watch"


async def test_one_who_is_stuck_is_let_go_and_the_others_miss_nothing() -> None:
    streams = Streams()
    async with a_hub(streams) as hub, hub.watch("alice") as stuck, hub.watch("alice") as quick:
        assert await stuck.take(0) == await quick.take(0) == []
        seen: list[int] = []
        for _ in range(QUEUE // 100 + 2):
            await streams.tell("alice", times=100)
            seen += await take(quick, 100)
        assert seen == [entry.seq for entry in streams.entries["alice"]]
        with pytest.raises(TooSlow):
            await stuck.take(1)
        assert len(stuck._queue) == 0


async def test_who_watches_one_batchjob_sees_nothing_of_the_others() -> None:
    streams = Streams()
    async with a_hub(streams) as hub, hub.watch("alice", "team.b", FROM_BEGINNING) as watcher:
        await streams.tell("alice", "team.a", times=PAGE + 5)
        await streams.tell("alice", "team.b", times=2)
        assert await take(watcher, 2) == [PAGE + 6, PAGE + 7]
        await streams.tell("alice", "team.a")
        await streams.tell("alice", "team.b")
        assert await take(watcher, 1) == [PAGE + 9]


async def test_who_comes_back_goes_on_where_they_were_and_is_told_of_what_is_gone() -> None:
    streams = Streams()
    await streams.tell("alice", times=PAGE * 2)
    async with a_hub(streams) as hub:
        async with hub.watch("alice", after="1010-0") as watcher:
            assert await take(watcher, PAGE * 2 - 10) == list(range(11, PAGE * 2 + 1))
        del streams.entries["alice"][:50]
        for after, first in (("1010-0", 51), ("1050-0", 51)):
            async with hub.watch("alice", after=after) as watcher:
                gap, event, *_ = await watcher.take(0)
                assert (gap.type, gap.id, json.loads(gap.text)["data"]["after"]) == ("gap", "", after)
                assert json.loads(event.text)["seq"] == first
        async with hub.watch("alice", after="9999999-0") as watcher:
            [gap] = await watcher.take(0)
            assert gap.type == "gap", "the store has lost its memory"
            await streams.tell("alice")
            assert await take(watcher, 1) == [PAGE * 2 + 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.randoms(use_true_random=True))
async def test_however_they_come_and_go_nobody_misses_or_repeats_an_event(total: int, luck: random.Random) -> None:
    """Each of some watchers comes back again and again with the last id, while events go on, in any turns."""
    streams = Streams()

    async def shuffled() -> None:
        for _ in range(luck.randint(0, 3)):
            await asyncio.sleep(0)

    streams.pause = shuffled  # type: ignore[method-assign]

    async def watch(hub: Hub) -> list[int]:
        last, seen = FROM_BEGINNING, list[int]()
        while len(seen) < total:
            async with hub.watch("alice", after=last) as watcher:
                frames = await watcher.take(5)
                assert frames, "one was missed"
                for frame in frames:
                    assert frame.type != "gap"
                    last = frame.id
                    seen.append(json.loads(frame.text)["seq"])
        return seen

    async with a_hub(streams) as hub:
        tasks = [asyncio.create_task(watch(hub)) for _ in range(3)]
        for _ in range(total):
            await streams.tell("alice")
            await shuffled()
        assert await asyncio.gather(*tasks) == [list(range(1, total + 1))] * 3


@pytest.mark.parametrize("others", [0, 1])
async def test_what_is_told_while_somebody_joins_is_not_missed(others: int) -> None:
    """The bell has rung, and the reader did not know yet that anybody watches; or it has read it for others alone."""
    streams = Streams()
    async with a_hub(streams) as hub, AsyncExitStack() as stack:
        for _ in range(others):
            assert await (await stack.enter_async_context(hub.watch("alice"))).take(0) == []

        async def tell() -> None:
            await streams.tell("alice")
            for _ in range(30):
                await asyncio.sleep(0)

        streams.between = tell
        async with hub.watch("alice", after=FROM_BEGINNING) as watcher:
            assert await take(watcher, 1) == [1]
            assert await watcher.take(0) == []


async def test_nothing_is_missed_of_what_is_told_once_somebody_watches() -> None:
    """They were told that they do, and have taken nothing yet."""
    streams = Streams()
    await streams.tell("alice")
    async with a_hub(streams) as hub, hub.watch("alice") as watcher:
        await streams.tell("alice")
        assert await take(watcher, 1) == [2]


async def test_the_store_may_be_away_for_a_while_and_nothing_is_missed() -> None:
    streams = Streams()
    async with a_hub(streams) as hub, hub.watch("alice") as watcher:
        assert await watcher.take(0) == []
        streams.away = True
        await streams.tell("alice", times=3)
        for _ in range(50):
            await asyncio.sleep(0)
        streams.away = False
        assert await take(watcher, 3) == [1, 2, 3]


async def test_one_owner_has_no_more_connections_than_is_sensible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_hub, "MOST_OF_OWNER", 2)
    async with a_hub(Streams()) as hub:
        async with hub.watch("alice"), hub.watch("alice"), hub.watch("bob"):
            with pytest.raises(TooManyWatchers):
                async with hub.watch("alice"):
                    pass
        async with hub.watch("alice"):
            assert hub._watchers.keys() == {"alice"}
        assert (hub._watchers, hub._channels) == ({}, {}), "nothing is kept of who is gone"


async def test_one_user_has_no_more_connections_over_all_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_hub, "MOST_OF_USER", 2)
    async with a_hub(Streams()) as hub:
        async with hub.watch("a/alice", who="alice"), hub.listen("alice", Ear(None)), hub.watch("b/alice", who="bob"):
            with pytest.raises(TooManyWatchers):
                async with hub.watch("b/alice", who="alice"):
                    pass
            with pytest.raises(TooManyWatchers):
                async with hub.listen("alice", Ear(None)):
                    pass
        async with hub.watch("b/alice", who="alice"):
            assert hub._users == {"alice": 1}
        assert (hub._watchers, hub._users) == ({}, {}), "nothing is kept of who is gone"


async def test_all_go_where_the_process_ends_and_who_still_comes_too() -> None:
    async with a_hub(Streams()) as hub, hub.watch("alice") as watcher:
        waiting = asyncio.create_task(watcher.take(5))
        await asyncio.sleep(0)
        hub.leave()
        with pytest.raises(GoingAway):
            await waiting
        async with hub.watch("bob") as late:
            with pytest.raises(GoingAway):
                await late.take(5)


@pytest.mark.parametrize(
    ("listens_to", "told_of", "hears"),
    [
        (None, set(), False),
        (None, {"bob"}, True),
        (None, None, True),
        ({"alice"}, set(), False),
        ({"alice"}, {"bob"}, False),
        ({"alice"}, {"alice", "bob"}, True),
        ({"alice"}, None, True),
    ],
)
async def test_an_ear_hears_only_where_something_was_told(
    listens_to: set[str] | None, told_of: set[str] | None, hears: bool
) -> None:
    ear = Ear(None if listens_to is None else frozenset(listens_to))
    ear.ring(told_of)
    assert [frame.type for frame in await ear.take(0)] == ["changed"] * hears


async def test_a_silent_stream_beats_and_ends_with_the_right_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.gateway.live_stream.CHECK_SECONDS", 0)
    sent: list[Frame] = []
    refused = Problem(UNAUTHENTICATED, "the token has expired")
    answers: list[Exception | None] = [None, StoreUnavailable("nobody can tell now"), refused]

    async def look() -> None:
        if answer := answers.pop(0):
            raise answer

    async def send(frames: list[Frame]) -> bool:
        sent.extend(frames)
        return True

    async with a_hub(Streams()) as hub, hub.watch("alice") as watcher:
        with pytest.raises(Expired):
            await stream(watcher, send, look, heartbeat_seconds=0.01)
    assert [frame.type for frame in sent] == ["heartbeat", "heartbeat"]
    assert json.loads(sent[0].text).keys() == {"type", "time", "data"}


async def test_a_client_whose_buffers_stay_full_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.gateway.live_stream.SEND_SECONDS", 0.01)

    async def send(_: list[Frame]) -> bool:
        await asyncio.Event().wait()
        return True

    async def look() -> None:
        pass

    async with a_hub(Streams()) as hub:
        with pytest.raises(TooSlow):
            async with hub.watch("alice") as watcher:
                await stream(watcher, send, look, heartbeat_seconds=0)
