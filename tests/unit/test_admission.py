"""Which BatchJobs of a queue may run: tables for what people ask, and a random life that never breaks a limit."""

from collections import Counter
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchjob.core.admission import Claim, Line, Rules
from batchjob.core.reasons import Reason


def claim(uid: str, *, owner: str = "a", priority: int = 5, at: int = 0, workers: int = 1) -> Claim:
    return Claim(priority, f"2026-01-01T00:00:{at:02d}Z", uid, owner, workers)


def line(*claims: Claim, **rules: Any) -> Line:
    found = Line(Rules(**rules), clock=iter(range(1_000_000)).__next__)
    for one in claims:
        found.ask(one)
    return found


def order(found: Line) -> list[str]:
    """In which order they start where one runs at a time."""
    started = []
    while admitted := found.admit():
        [uid] = admitted
        started.append(uid)
        found.leave(uid)
    return started


def test_the_more_urgent_start_first_and_then_the_older() -> None:
    found = line(
        claim("low", priority=3), claim("late", priority=1, at=2), claim("early", priority=1, at=1), max_active=1
    )
    assert order(found) == ["early", "late", "low"]


def test_an_owner_who_comes_after_two_hundred_of_another_is_next() -> None:
    found = line(*(claim(f"a{n:03}", at=n % 60) for n in range(200)), max_active=1)
    for _ in range(10):
        [uid] = found.admit()
        found.leave(uid)
    found.ask(claim("b", owner="b", at=59))
    assert found.admit() == ["b"]


def test_who_was_away_saves_up_no_turns() -> None:
    found = line(claim("b0", owner="b"), *(claim(f"a{n}", at=n + 1) for n in range(20)), max_active=1)
    order_so_far = [uid for _ in range(10) for uid in found.admit() if found.leave(uid)]
    assert "b0" in order_so_far
    for n in range(1, 6):
        found.ask(claim(f"b{n}", owner="b", at=50))
    assert Counter(uid[0] for uid in order(found)[:6]) == {"a": 3, "b": 3}


def test_shares_follow_the_weights() -> None:
    claims = [claim(f"{owner}{n:02}", owner=owner, at=n) for owner in "ab" for n in range(40)]
    started = order(line(*claims, max_active=1, weights={"a": 3}))
    assert Counter(uid[0] for uid in started[:40]) == {"a": 30, "b": 10}


def test_fair_shares_come_after_priority() -> None:
    found = line(claim("a1", priority=1), claim("a2", priority=1), claim("b", owner="b", priority=2), max_active=1)
    assert order(found) == ["a1", "a2", "b"]


def test_a_paused_queue_starts_nothing_and_says_so() -> None:
    found = line(claim("x"), paused=True)
    assert found.admit() == []
    place = found.place("x")
    assert place is not None
    assert (place.workers, place.reason, place.position) == (0, Reason.QUEUE_PAUSED, 1)
    found.rules = Rules()
    assert found.admit() == ["x"]


def test_who_waits_is_told_which_limit_it_is_and_the_place_in_line() -> None:
    found = line(claim("x"), claim("y", at=1), claim("z", at=2), max_active=1)
    assert found.admit() == ["x"]
    places = [found.place(uid) for uid in ("x", "y", "z")]
    assert [(p.reason, p.position) for p in places if p] == [
        (None, 0),
        (Reason.CONCURRENCY_LIMIT, 1),
        (Reason.CONCURRENCY_LIMIT, 2),
    ]
    assert found.place("stranger") is None


def test_an_owner_at_the_limit_lets_the_others_pass() -> None:
    found = line(claim("a1"), claim("a2", at=1), claim("b", owner="b", at=2), max_active_per_owner=1)
    assert found.admit() == ["a1", "b"]
    place = found.place("a2")
    assert place is not None
    assert place.reason is Reason.OWNER_LIMIT


@given(st.lists(st.tuples(st.integers(1, 2), st.sampled_from("abcde"), st.integers(0, 9)), max_size=30))
def test_all_at_once_start_in_the_order_in_which_they_would_one_by_one(asked: list[tuple[int, str, int]]) -> None:
    claims = [claim(str(n), owner=owner, priority=rank, at=at) for n, (rank, owner, at) in enumerate(asked)]
    limits: dict[str, Any] = {"max_active_per_owner": 4, "weights": {"a": 3, "b": 2}}
    one_by_one, started = line(*claims, max_active=0, **limits), list[str]()
    for most in range(1, len(claims) + 1):
        one_by_one.rules = Rules(max_active=most, **limits)
        started += one_by_one.admit()
    assert line(*claims, **limits).admit() == started


def test_ten_thousand_owners_are_ranked_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come in turn without a look at all of them for each start: that took minutes, and the Lease was over."""
    found = line(*(claim(str(n), owner=str(n)) for n in range(10_000)))
    rank = Mock(side_effect=found._rank)
    monkeypatch.setattr(found, "_rank", rank)
    assert len(found.admit()) == rank.call_count == 10_000


def test_workers_are_shared_out_as_they_are_there_and_more_come_when_others_leave() -> None:
    found = line(claim("x", workers=6), claim("y", workers=6, at=1), claim("z", at=2), max_workers=8)
    assert found.admit() == ["x", "y"]
    assert [p.workers for uid in "xyz" if (p := found.place(uid))] == [6, 2, 0]
    found.leave("x")
    assert found.admit() == ["z", "y"], "who waits goes first"
    assert [p.workers for uid in "yz" if (p := found.place(uid))] == [6, 1]


def test_a_run_that_wants_fewer_workers_gives_them_back_at_once() -> None:
    found = line(claim("x", workers=4), claim("y", at=1, workers=4), max_workers=4)
    assert found.admit() == ["x"]
    found.ask(claim("x", workers=1))
    assert found.admit() == ["x", "y"]
    assert [p.workers for uid in "xy" if (p := found.place(uid))] == [1, 3]


def test_nothing_that_runs_is_stopped_for_a_smaller_limit() -> None:
    found = line(claim("x", workers=4), claim("y", workers=4, at=1))
    assert found.admit() == ["x", "y"]
    found.rules = Rules(max_active=1, max_workers=2)
    assert found.admit() == []
    assert (found.active, found.workers) == (2, 8)


def test_what_ran_under_an_earlier_leader_counts_even_above_the_limit() -> None:
    found = line(claim("y", at=1), max_active=1, max_workers=2)
    found.run(claim("x", workers=4), 4)
    assert found.admit() == []
    found.leave("x")
    assert found.admit() == ["y"]


class Life(RuleBasedStateMachine):
    """Claims come, change and go; rules change; a plain model says what may be."""

    def __init__(self) -> None:
        super().__init__()
        self.line = line()
        self.claims: dict[str, Claim] = {}
        self.workers: dict[str, int] = {}
        self.number = 0

    @rule(owner=st.sampled_from("abc"), priority=st.integers(1, 3), workers=st.integers(1, 5))
    def arrives(self, owner: str, priority: int, workers: int) -> None:
        uid = f"u{self.number:03}"
        self.number += 1
        self.claims[uid] = claim(uid, owner=owner, priority=priority, at=self.number % 60, workers=workers)
        self.line.ask(self.claims[uid])

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), priority=st.integers(1, 3), workers=st.integers(1, 5))
    def changes(self, data: st.DataObject, priority: int, workers: int) -> None:
        uid = data.draw(st.sampled_from(sorted(self.claims)))
        self.claims[uid] = self.claims[uid]._replace(priority=priority, workers=workers)
        self.line.ask(self.claims[uid])
        if uid in self.workers:
            self.workers[uid] = min(self.workers[uid], workers)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.claims)))
        assert self.line.leave(uid)
        assert not self.line.leave(uid)
        del self.claims[uid]
        self.workers.pop(uid, None)

    @rule(
        paused=st.sampled_from([False, False, True]),
        active=st.integers(1, 6),
        workers=st.integers(1, 12),
        per_owner=st.integers(1, 4),
    )
    def the_rules_change(self, paused: bool, active: int, workers: int, per_owner: int) -> None:
        self.line.rules = Rules(paused, active, workers, per_owner, {"a": 2})

    @rule()
    def admits(self) -> None:
        before = dict(self.workers)
        rules = self.line.rules
        for uid in self.line.admit():
            place = self.line.place(uid)
            assert place is not None
            self.workers[uid] = place.workers
        started = self.workers.keys() - before.keys()
        owners = Counter(self.claims[uid].owner for uid in self.workers)
        if started:
            assert not rules.paused
            assert len(self.workers) <= rules.max_active
            assert all(owners[self.claims[uid].owner] <= rules.max_active_per_owner for uid in started)
        if sum(self.workers.values()) > sum(before.values()):
            assert sum(self.workers.values()) <= rules.max_workers
        waiting = [self.claims[uid] for uid in self.claims.keys() - self.workers.keys()]
        fits = [one for one in waiting if owners[one.owner] < rules.max_active_per_owner]
        full = len(self.workers) >= rules.max_active or sum(self.workers.values()) >= rules.max_workers
        assert rules.paused or full or not fits, "somebody waits who could run"
        for uid in started:
            passed = [one for one in fits if one.priority < self.claims[uid].priority]
            assert not passed, "a less urgent one started first"

    @invariant()
    def the_numbers_agree(self) -> None:
        assert self.line.active == len(self.workers)
        assert self.line.workers == sum(self.workers.values())
        assert self.line.waiting == len(self.claims) - len(self.workers)
        places = [self.line.place(uid) for uid in self.claims.keys() - self.workers.keys()]
        assert sorted(place.position for place in places if place) == list(range(1, len(places) + 1))
        assert all(place.reason for place in places if place)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
