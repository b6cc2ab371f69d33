"""What a worker holds: nothing starts undeclared, nothing is told twice or forgotten."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchjob.core.items import Chunk, Item, Succeeded
from batchjob.store import Progress
from batchjob.worker.holding import Holding, Holdings
from batchjob.worker.told import Told


def chunk(first: int, count: int) -> Chunk:
    return Chunk(f"{first}+{count}/{first}", 1, tuple(Item(n, f"i{n}", {}) for n in range(first, first + count)))


def test_nothing_starts_before_its_declaration_arrived() -> None:
    holdings = Holdings()
    holdings.add([chunk(0, 4)])
    assert holdings.take(1) is None
    holdings.announce(3, 1)
    [news] = [holding.commit() for holding in holdings]
    assert news.started == 3
    assert holdings.take(1) is None, "the commit is on its way"
    holdings.confirm(list(holdings))
    taken = holdings.take(8)
    assert taken is not None
    assert [item.position for item in taken[1]] == [0, 1, 2]
    assert holdings.take(1) is None


class InHand:
    """What a holding looks at of an attempt."""

    def __init__(self) -> None:
        self.context = self
        self.told: dict[int, Told] = {}


def test_progress_goes_along_where_it_is_news_and_falls_with_the_end_of_an_attempt() -> None:
    holding = Holding(chunk(0, 3))
    first: Any = InHand()
    second: Any = InHand()
    holding.attempts |= {first, second}
    assert holding.commit().progress is None
    first.told[0] = Told(0.25, "i0", "older", 1.0)
    second.told[1] = Told(0.5, "i1", "newer", 2.0)
    assert not holding.has_news, "it causes no commit"
    assert holding.commit().progress == Progress(750, "i1", "newer")
    assert holding.commit().progress is None
    holding.attempts.discard(second)
    assert holding.commit().progress == Progress(250, "i0", "older")
    holding.attempts.discard(first)
    assert holding.commit().progress == Progress(0, "", "")
    assert holding.commit().progress is None


def test_items_are_declared_by_the_unit_as_long_as_there_is_room() -> None:
    holdings = Holdings()
    holdings.add([chunk(0, 4), chunk(4, 4), chunk(8, 4)])
    holdings.announce(5, 4)
    assert [holding.commit().started for holding in holdings] == [4, 4, 0]


def test_what_was_not_started_goes_back_once_and_without_an_outcome() -> None:
    holding = Holding(chunk(0, 4))
    holding.announce(2)
    holding.commit()
    holding.confirm()
    first, second = holding.take(1), holding.take(1)
    holding.give_back_rest()
    holding.give_back(second)
    assert (holding.has_news, holding.open) == (True, 1)
    news = holding.commit()
    assert (news.outcomes, sorted(news.returned)) == ([], [1, 2, 3])
    assert (holding.has_news, holding.open) == (False, 1)
    holding.record([Succeeded(first[0].position)], {}, {})
    assert not holding.commit().returned
    assert holding.is_done


def test_a_release_says_nothing_of_what_goes_back_anyway() -> None:
    holding = Holding(chunk(0, 4))
    holding.give_back_rest()
    news = holding.commit(release=True)
    assert (news.release, news.returned) == (True, [])


def test_items_that_were_taken_and_not_started_are_taken_again_as_long_as_they_are_the_last() -> None:
    holdings = Holdings()
    holdings.add([chunk(0, 4)])
    holdings.announce(4, 1)
    [holding] = holdings
    holding.commit()
    holdings.confirm([holding])
    first, second = holdings.take(2), holdings.take(2)
    assert first
    assert second
    assert not holdings.untake(holding, first[1]), "others were taken since"
    assert holdings.untake(holding, second[1])
    assert holdings.take(4) == second
    assert holdings.untake(holding, second[1])
    assert holdings.untake(holding, first[1])
    assert holdings.take(4) == (holding, (*first[1], *second[1]))


def test_a_chunk_that_was_lost_and_comes_again_is_worked_on_once() -> None:
    holdings = Holdings()
    holdings.add([chunk(0, 2)])
    holdings.announce(2, 1)
    told = list(holdings)
    told[0].commit()
    holdings.drop(told[0].id)
    holdings.confirm(told)
    holdings.add([chunk(0, 2)])
    assert holdings.take(2) is None, "the first is not ours any more, and the second not declared"


class Worker(RuleBasedStateMachine):
    """A worker's bookkeeping against a store that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.holdings = Holdings()
        self.first = 0
        self.in_flight: list[tuple[Holding, Item]] = []
        self.declared: dict[str, int] = {}
        self.told: list[int] = []
        self.granted = 0

    @rule(count=st.integers(1, 6))
    def grant(self, count: int) -> None:
        self.holdings.add([chunk(self.first, count)])
        self.first += count

    @rule(limit=st.integers(0, 12), unit=st.integers(1, 4), lost=st.integers(-9, 9))
    def exchange(self, limit: int, unit: int, lost: int = -1) -> None:
        """`lost`: the number of a chunk that another worker had meanwhile, and gave back whole."""
        self.holdings.announce(limit, unit)
        told = list(self.holdings)
        again = told[lost : lost + 1] if lost >= 0 else []
        for holding in told:
            news = holding.commit()
            assert news.started >= self.declared.get(news.chunk, 0), "a declaration is never taken back"
            if holding not in again:
                self.declared[news.chunk] = news.started
                self.told += [outcome.position for outcome in news.outcomes]
        for holding in again:
            self.holdings.drop(holding.id)
            self.in_flight = [(of, item) for of, item in self.in_flight if of is not holding]
        self.holdings.confirm(told)
        self.holdings.drop_done()
        for holding in again:
            self.declared[holding.id] = 0
            left = [item for item in holding.items if item.position not in self.told]
            self.holdings.add([Chunk(holding.id, holding.fence + 1, tuple(left))] if left else [])

    @rule()
    def start(self) -> None:
        taken = self.holdings.take(1)
        if taken is not None:
            holding, [item] = taken
            assert item in holding.items[: self.declared[holding.id]]
            assert (holding.id, item) not in [(of.id, started) for of, started in self.in_flight], "started twice"
            assert holding in self.holdings, "nobody waits for it any more"
            self.in_flight.append((holding, item))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        holding, item = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        holding.record([Succeeded(item.position)], {"n": 1}, {})

    @invariant()
    def nothing_is_told_twice(self) -> None:
        assert len(self.told) == len(set(self.told))

    def teardown(self) -> None:
        for _ in range(self.first + 2):  # each turn finishes an item at least
            self.exchange(1000, 1)
            for _ in range(self.first):
                self.start()
            for holding, item in self.in_flight:
                holding.record([Succeeded(item.position)], {}, {})
            self.in_flight.clear()
        assert sorted(self.told) == list(range(self.first))


TestWorker = Worker.TestCase
