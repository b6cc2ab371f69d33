"""A random walk through the life of a run, with a model that knows what must be true after every step.

Workers claim, commit, fall silent and come back as ghosts with old tokens; answers get lost; time passes; the run is
paused, cancelled, abandoned; the store is lost and the run begins again. To a run that was opened early all this
happens while a loader puts one chunk after the other, is lost, and is taken over. The model keeps only what the
outside may know: which token each item was last granted under, which results were accepted, what ended. The oracle
looks into the keys.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable
from fractions import Fraction
from typing import ClassVar, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis.asyncio import Redis

from batchjob.api.run import StoreAccess
from batchjob.core.items import (
    Before,
    Cancelled,
    Chunk,
    Failed,
    Item,
    Outcome,
    Retried,
    RunRules,
    RunState,
    Succeeded,
)
from batchjob.core.ranges import format_pairs, format_positions
from batchjob.errors import LeaseLost
from batchjob.store import Commit, Grant, LoadLease, Progress, SealLease, Store
from batchjob.store.keys import run_key
from tests.support.store_oracle import Oracle, check, chunk_range

T = TypeVar("T")
UID = "machine"
TOKEN = re.compile(r"token (\d+)")  # each result and error names the token it was written under
PAST = 1.0  # a deadline that is over
WORKERS = st.sampled_from(["a", "b", "c"])
ENDINGS = st.sampled_from(["succeeded", "retried", "retried", "failed", "cancelled", *["unfinished"] * 4])
RETURNS = st.sampled_from([(0, 0)] * 5 + [(0, 8), (1, 8), (0, 2), (2, 4)])  # a slice of a chunk that was not started
Breaker = tuple[int, int, int]
BREAKERS: list[Breaker | None] = [None, (0, 4, 1), (30, 3, 3), (50, 5, 2), (60, 2, 1)]
EARLY = st.sampled_from([False, False, True])
LOADER = st.sampled_from(["waits", "goes on", "goes on", "repeats"])
SELDOM = st.sampled_from([False] * 5 + [True])


class StoreMachine(RuleBasedStateMachine):
    """One run, three workers."""

    url: ClassVar[str]
    steps: ClassVar[int] = 0  # taken by all machines of the class

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Redis = Redis.from_url(self.url)
        self.store = Store.connect(StoreAccess(url=self.url), name="machine")
        self.oracle = Oracle(self.redis, UID)
        self.hands: dict[str, dict[str, Chunk]] = {"a": {}, "b": {}, "c": {}}
        self.ghosts: list[tuple[str, Chunk]] = []
        self.token: dict[int, int] = {}  # position → fence it was last granted under
        self.falls: Counter[int] = Counter()  # position → how often its holder fell silent
        self.results: dict[str, str] = {}
        self.sealed: dict[str, str] = {}  # results that went into a part
        self.sealers: list[SealLease] = []  # who may think that it seals
        self.failed: set[int] = set()
        self.counted: set[int] = set()  # commits that were accepted
        self.sent: list[tuple[str, Commit]] = []
        self.paused = self.ended = self.tripped = False
        self.breaker: Breaker | None = None  # percent, window, least
        self.window: list[Fraction] = []  # of each of the items that ended last, how likely it is that it failed
        self.before = (0, 0)  # items that had ended and failed at the last look
        self.max_losses = self.items = self.chunk = 0
        self.cancelled_before = 0
        self.certain: set[int] = set()  # done before the store was lost
        self.early = False
        self.lease: LoadLease | None = None  # while the source is loaded
        self.loaded = 0  # items that the store has accepted, or knows to be done

    def do(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    # ---- the outside's view of an exchange ---------------------------------------------------------------

    def exchange(self, worker: str, commits: list[Commit], want: int) -> Grant:
        grant = self.do(self.store.run(UID, worker).exchange(commits, want, want))
        for news in commits:
            if news.chunk not in grant.lost:
                self.counted.add(news.number)
        self.watch_failures()
        assert not (self.tripped and grant.chunks), "a run that tripped granted a chunk"
        terminal = {int(position) for position in self.results | self.sealed} | self.failed | self.certain
        for chunk in grant.chunks:
            assert not self.paused, "a paused run granted a chunk"
            assert not self.ended, "a run that has ended granted a chunk"
            for item in chunk.items:
                assert item.position not in terminal, f"item {item.position} was granted after its end"
                assert item.losses <= self.falls[item.position], f"item {item.position} lost a life for nothing"
                assert item.losses < self.max_losses
                self.token[item.position] = chunk.fence
        for lost in grant.lost:
            self.hands[worker].pop(lost, None)
        self.hands[worker] |= {chunk.id: chunk for chunk in grant.chunks}
        self.check_quarantine(worker, grant.chunks)
        return grant

    def watch_failures(self) -> None:
        """The circuit breaker item by item; who ended first within a call is not known, so all are equally likely."""
        counts = {name: int(n) for name, n in self.do(self.oracle.read("HGETALL", "counters")).items()}
        now = sum(counts.get(name, 0) for name in ("succeeded", "failed", "cancelled")), counts.get("failed", 0)
        done, failed = now[0] - self.before[0], now[1] - self.before[1]
        if not self.breaker or self.ended:
            return
        self.before = now
        percent, window, least = self.breaker
        self.window = [*self.window, *[Fraction(failed, done)] * done][-window:] if done else self.window
        left = self.lease is not None or any(counts.get(name, 0) for name in ("waiting", "delayed", "active"))
        if self.paused:
            return
        if done and left and len(self.window) >= least and 100 * sum(self.window) > percent * len(self.window):
            self.tripped = self.paused = True
        has_tripped, is_paused = self.do(self.oracle.read("HMGET", "meta", "tripped", "paused"))
        assert (has_tripped is not None) == self.tripped, "the circuit breaker tripped at the wrong item"
        assert (is_paused == "1") == self.paused

    def check_quarantine(self, worker: str, granted: list[Chunk]) -> None:
        suspects = [chunk for chunk in granted if 0 < chunk.items[0].losses == self.max_losses - 1]
        if suspects:
            assert len(granted) == len(granted[0].items) == 1, "a suspect was granted with neighbours"
            owners = self.do(self.oracle.read("HGETALL", "owner"))
            assert [owner.rpartition("/")[2] for owner in owners.values()].count(worker) == 1

    # ---- what happens ------------------------------------------------------------------------------------

    @initialize(
        items=st.integers(4, 16),
        chunk=st.integers(1, 8),
        max_losses=st.integers(1, 4),
        early=EARLY,
        breaker=st.sampled_from(BREAKERS),
    )
    def load(self, items: int, chunk: int, max_losses: int, early: bool, breaker: Breaker | None) -> None:
        self.items, self.chunk, self.max_losses, self.early, self.breaker = items, chunk, max_losses, early, breaker
        self.begin(Before())

    def begin(self, before: Before) -> None:
        """An empty store, and the run in it anew."""
        self.do(self.redis.flushall())
        self.do(self.store.load_scripts())
        opened = self.store.open_run(
            UID,
            epoch="e",
            max_losses=self.max_losses,
            created_for="a/b",
            before=before,
            rules=RunRules(have_destination=True, early=self.early),
        )
        self.do(opened)
        self.do(self.store.set_breaker(UID, "/".join(map(str, self.breaker or ()))))
        self.tripped, self.window, self.before = False, [], (len(self.certain), 0)
        self.lease = self.do(self.store.run(UID, "loader").claim_load())
        assert self.lease
        self.loaded = 0
        while self.lease is not None:
            self.load_on(again=False)
            if self.early and not before.done:
                return

    def load_on(self, *, again: bool) -> None:
        """The next items, or the end of the source; `again`: the answer to the last call was lost."""
        assert self.lease
        first = max(self.loaded - self.chunk, 0) if again else self.loaded
        if first < self.items:
            self.loaded = min(first + self.chunk, self.items)
            self.put(self.lease, first)
        else:
            self.do(self.lease.finish(self.items, None, None))
            self.lease = None

    def put(self, lease: LoadLease, first: int) -> None:
        done, _ = self.do(lease.before())
        items = [Item(n, f"i{n}", {}) for n in range(first, self.loaded) if n not in done]
        whole = not items or len(items) == items[-1].position - items[0].position + 1
        lease._next_position = first
        self.do(lease.put([items] if items and whole else [[item] for item in items], f"mark {self.loaded}"))

    @precondition(lambda self: self.lease)
    @rule(heir=WORKERS)
    def the_loader_is_lost(self, heir: str) -> None:
        """Another one takes over, finds everything as it was, and the first is not heard any more."""
        lost = self.lease
        assert lost
        self.do(self.redis.hset(run_key(UID, "duty"), "deadline", 1))
        self.lease = self.do(self.store.run(UID, heir).claim_load())
        assert self.lease
        assert self.do(self.lease.reached()) == (self.loaded, f"mark {self.loaded}" if self.loaded else "")
        with pytest.raises(LeaseLost):
            self.do(lost.put([[Item(self.loaded, "late", {})]], "late"))

    @rule(worker=WORKERS, want=st.integers(1, 10), loader=LOADER)
    def claim(self, worker: str, want: int, loader: str) -> None:
        if self.lease and loader != "waits":
            self.load_on(again=loader == "repeats")
        self.exchange(worker, [], want)

    @rule(worker=WORKERS, data=st.data(), want=st.integers(0, 4), release=SELDOM)
    def commit(self, worker: str, data: st.DataObject, want: int, release: bool) -> None:
        commits = []
        for chunk in list(self.hands[worker].values()):
            if release:
                del self.hands[worker][chunk.id]
            outcomes = [self.outcome(data, chunk, item) for item in chunk.items]
            started = data.draw(st.integers(0, len(chunk.items)))
            said = [outcome for outcome in outcomes if outcome]
            progress = Progress(300 * started, "", "") if started else None
            returned = [item.position for item in chunk.items[slice(*data.draw(RETURNS))]]
            news = Commit(chunk.id, chunk.fence, said, {"n": 1}, release, started, {}, progress, returned)
            commits.append(news)
        self.sent += [(worker, news) for news in commits]
        self.exchange(worker, commits, want)

    def outcome(self, data: st.DataObject, chunk: Chunk, item: Item) -> Outcome | None:
        match data.draw(ENDINGS):
            case "succeeded":
                return Succeeded(item.position, b'"token %d"' % chunk.fence)
            case "retried":
                return Retried(item.position, "upstream", "503", data.draw(st.sampled_from([0, 60_000])))
            case "failed":
                return Failed(item.position, "refused", f"token {chunk.fence}")
            case "cancelled":
                return Cancelled(item.position, "no more")
        return None

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def an_answer_was_lost(self, data: st.DataObject) -> None:
        """The worker says the same again; whatever became of it before, it counts once."""
        worker, news = data.draw(st.sampled_from(self.sent[-6:]))
        self.exchange(worker, [news], 0)

    @rule(worker=WORKERS)
    def fall_silent(self, worker: str) -> None:
        """The worker hangs for longer than its lease; what it holds becomes a ghost's."""
        for chunk, owner in self.do(self.oracle.read("HGETALL", "owner")).items():
            if owner.rpartition("/")[2] == worker and self.do(self.redis.zscore(run_key(UID, "lease"), chunk)) != PAST:
                self.do(self.redis.zadd(run_key(UID, "lease"), {chunk: PAST}))
                self.falls.update(chunk_range(chunk))
        self.ghosts += [(worker, chunk) for chunk in self.hands[worker].values()]
        self.hands[worker] = {}

    @rule(worker=WORKERS, other=WORKERS)
    def crash(self, worker: str, other: str) -> None:
        """The worker dies with everything in flight, and another one takes over."""
        held = self.hands[worker].values()
        self.exchange(worker, [Commit(c.id, c.fence, (), {"n": 1}, started=len(c.items)) for c in held], 0)
        self.fall_silent(worker)
        self.exchange(other, [], 10)

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def a_ghost_commits(self, data: st.DataObject) -> None:
        worker, chunk = data.draw(st.sampled_from(self.ghosts))
        outcomes = [Succeeded(item.position, b'"token %d"' % chunk.fence) for item in chunk.items]
        self.exchange(worker, [Commit(chunk.id, chunk.fence, outcomes, {"n": 1})], 0)

    @rule(worker=WORKERS)
    def claim_the_seal(self, worker: str) -> None:
        """The one that had it fell silent, and does not know that it is over."""
        self.do(self.redis.hset(run_key(UID, "duty"), "deadline", 1))
        if lease := self.do(self.store.run(UID, worker).claim_seal()):
            self.sealers.append(lease)

    @precondition(lambda self: self.sealers)
    @rule(data=st.data(), most=st.integers(1, 200), twice=st.booleans())
    def seal_a_part(self, data: st.DataObject, most: int, twice: bool) -> None:
        lease = data.draw(st.sampled_from(self.sealers[-3:]))
        taken = self.do(lease.take(most))
        if not taken.results:
            return
        positions = format_positions(found.position for found in taken.results)
        name, part = f"part-{len(self.sealed)}-{positions}", json.dumps({"positions": positions}).encode()
        before = self.do(self.oracle.read("HGETALL", "results"))
        try:
            for _ in range(1 + twice):  # the answer to the first was lost
                self.do(lease.record(name, part, taken))
        except LeaseLost:
            assert lease is not self.sealers[-1] or self.ended, "the sealer was refused"
            return
        assert lease is self.sealers[-1], "an old token sealed a part"
        self.sealed |= {str(found.position): before[str(found.position)] for found in taken.results}
        self.results = {position: result for position, result in self.results.items() if position not in self.sealed}

    @precondition(lambda self: self.max_losses and not self.ended)
    @rule(lost=st.integers(0, 15))
    def the_store_is_lost(self, lost: int) -> None:
        """The run begins again with all that is not certain to be done, as the operator has it from the status."""
        if lost:
            return  # it is seldom: most of a life has to lie between two
        found, pairs = self.do(self.store.snapshot(UID)), self.do(self.store.finished(UID))
        assert found
        assert (pairs is None) == (self.lease is not None), "what is done can be said once all is loaded, and only then"
        pairs = pairs or []
        self.certain = {position for first, last in pairs for position in range(first, last + 1)}
        assert not self.certain & self.failed, "a dead letter counts as done"
        cancelled = 0 if self.lease else found.counts.cancelled
        assert self.lease or len(self.certain) == found.counts.succeeded + cancelled
        for worker, hand in self.hands.items():
            self.ghosts += [(worker, chunk) for chunk in hand.values()]
        self.hands = {worker: {} for worker in self.hands}
        self.sealed, self.sealers = {}, []
        self.token, self.results, self.failed, self.counted, self.paused = {}, {}, set(), set(), False
        self.cancelled_before = cancelled
        self.begin(Before(format_pairs(pairs), cancelled))

    @rule()
    def retries_fall_due(self) -> None:
        for chunk in self.do(self.oracle.read("ZRANGE", "retry", 0, -1)):
            self.do(self.redis.zadd(run_key(UID, "retry"), {chunk: 1}))

    @rule(paused=SELDOM, token=st.sampled_from([None, "go"]))
    def pause_or_resume(self, paused: bool, token: str | None) -> None:
        self.do(self.store.pause(UID) if paused else self.store.resume(UID, token))
        if self.tripped and token and not paused:
            self.tripped, self.window = False, []
            counts = self.do(self.oracle.read("HGETALL", "counters"))
            ended = [int(counts.get(name, 0)) for name in ("failed", "succeeded", "cancelled")]
            self.before = sum(ended), ended[0]
        self.paused = paused or self.tripped

    @rule(how=st.sampled_from(["cancel", "abandon", *["no"] * 14]))
    def end(self, how: str) -> None:
        if how != "no":
            self.do(self.store.cancel(UID) if how == "cancel" else self.store.abandon(UID, "no worker left"))
            self.ended, self.lease = True, None

    # ---- what must be true after every step ----------------------------------------------------------------

    @invariant()
    def everything_is_accounted_for(self) -> None:
        if not self.max_losses:
            return  # not loaded yet
        type(self).steps += 1
        seen = self.do(self.oracle.look())
        counts = check(seen)
        assert sum(counts.values()) == self.loaded, "an item was accepted twice, or not at all"
        assert (seen["meta"]["state"] == "loading") == (self.lease is not None), "a run ended before its source did"
        assert seen["meta"]["state"] != "sealing" or "tripped" not in seen["meta"], "a run is held after its last item"
        results, failed = seen["results"], {int(position) for position in seen["failed"]}
        assert results.items() >= self.results.items(), "a result was changed or lost"
        assert failed >= self.failed, "a dead letter came back"
        assert not failed & {int(position) for position in results}, "an item ended twice"
        assert not results.keys() & self.sealed.keys(), "a result came back from a part"
        assert counts["succeeded"] == len(results) + len(self.sealed) + len(self.certain) - self.cancelled_before
        for position, written in [*results.items(), *self.sealed.items(), *seen["dead"].items()]:
            if token := TOKEN.search(written):
                assert self.token[int(position)] == int(token[1]), f"an old token wrote item {position}"
        assert int(seen["usage"].get("n", 0)) == len(self.counted), "usage was counted twice or not at all"
        self.results, self.failed = results, failed

    def check_events(self) -> None:
        """What watchers were told since the store began anew: progress never goes back, and the end comes last."""
        ended, before = False, 0
        for _, kind, fields in self.do(self.store.events(UID)):
            if kind in {*RunState, "progress"}:
                now = sum(int(fields.get(name, 0)) for name in ("succeeded", "failed", "cancelled"))
                assert now >= before, "progress went back"
                before = now
            assert not ended, f"{kind} was told after the end"
            ended = kind in {RunState.CLOSED, RunState.FAILED, RunState.CANCELLED}
        found = self.do(self.store.run(UID, "watcher").state())
        assert ended == (found.state in {RunState.CLOSED, RunState.FAILED, RunState.CANCELLED})

    def teardown(self) -> None:
        try:
            if self.max_losses:
                self.check_events()
            self.do(self.store.delete_run(UID))
            self.do(self.redis.delete("bj:dirty"))
            assert self.do(self.redis.keys("*")) == []
        finally:
            self.do(self.store.close())
            self.do(self.redis.aclose())
            self.runner.close()
