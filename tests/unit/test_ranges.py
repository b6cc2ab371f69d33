"""Positions as ranges."""

from hypothesis import given
from hypothesis import strategies as st

from batchjob.core.ranges import Ranges, format_positions


@given(st.sets(st.integers(0, 500)))
def test_ranges_name_exactly_the_positions(positions: set[int]) -> None:
    text = format_positions(sorted(positions), limit=10_000)
    named: list[int] = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(positions)
    assert text.count(",") + 1 == 1 + sum(p + 1 not in positions for p in positions) - bool(positions)


@given(count=st.integers(10, 400), step=st.integers(2, 10**6), limit=st.integers(10, 64))
def test_ranges_stay_within_their_limit_and_say_when_more_is_left(count: int, step: int, limit: int) -> None:
    whole = format_positions(range(0, count * step, step), limit=10**6)
    text = format_positions(range(0, count * step, step), limit=limit)
    assert len(text) <= limit
    assert text.endswith(",…") == (text != whole)


def test_what_is_not_known_completely_is_said() -> None:
    assert format_positions([1, 2, 3, 7], complete=False) == "1-3,7,…"
    assert format_positions([], complete=False) == ""


@given(some=st.sets(st.integers(0, 60)), others=st.sets(st.integers(0, 60)))
def test_ranges_join_and_subtract_as_sets_of_positions_do(some: set[int], others: set[int]) -> None:
    first, second = (Ranges(format_positions(sorted(positions), limit=10_000)) for positions in (some, others))
    assert str(first | second) == format_positions(sorted(some | others), limit=10_000)
    assert str(first - second) == format_positions(sorted(some - others), limit=10_000)


@given(positions=st.sets(st.integers(0, 300)), limit=st.integers(10, 2000))
def test_what_a_text_names_is_read_back_and_nothing_more(positions: set[int], limit: int) -> None:
    ranges = Ranges(format_positions(sorted(positions), limit=limit))
    found = {position for position in range(302) if position in ranges}
    assert found <= positions
    assert len(ranges) == len(found)
    if limit == 2000:
        assert found == positions
