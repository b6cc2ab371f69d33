"""How numbers are told to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import Counts
from batchjob.core.progress import format_duration, format_percent, format_progress, format_ranges, format_rate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m0s"),
        (192, "3m12s"),
        (3599, "59m59s"),
        (7500, "2h5m"),
        (86399, "23h59m"),
        (273600, "3d4h"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(None, ""), (0, "0.00/s"), (0.256, "0.26/s"), (41.23, "41.2/s"), (2345.6, "2346/s")]
)
def test_rates_have_fewer_digits_the_faster(rate: float | None, text: str) -> None:
    assert format_rate(rate) == text


def test_progress_counts_everything_that_is_terminal() -> None:
    counts = Counts(total=30, waiting=4, active=2, succeeded=20, failed=3, cancelled=1)
    assert (format_progress(counts, 30), format_percent(counts, 30)) == ("24/30", "80%")
    assert (format_progress(Counts(), None), format_percent(Counts(), None)) == ("0/?", "")


@given(total=st.integers(1, 10**9), left=st.integers(0, 10**9))
def test_a_hundred_percent_means_that_nothing_is_left(total: int, left: int) -> None:
    done = max(0, total - left)
    assert (format_percent(Counts(succeeded=done), total) == "100%") == (done == total)


@given(st.sets(st.integers(0, 500)))
def test_ranges_name_exactly_the_positions(positions: set[int]) -> None:
    text = format_ranges(sorted(positions), limit=10_000)
    named: list[int] = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(positions)
    assert text.count(",") + 1 == 1 + sum(p + 1 not in positions for p in positions) - bool(positions)


@given(count=st.integers(10, 400), step=st.integers(2, 10**6), limit=st.integers(10, 64))
def test_ranges_stay_within_their_limit_and_say_when_more_is_left(count: int, step: int, limit: int) -> None:
    whole = format_ranges(range(0, count * step, step), limit=10**6)
    text = format_ranges(range(0, count * step, step), limit=limit)
    assert len(text) <= limit
    assert text.endswith(",…") == (text != whole)


def test_what_is_not_known_completely_is_said() -> None:
    assert format_ranges([1, 2, 3, 7], complete=False) == "1-3,7,…"
    assert format_ranges([], complete=False) == ""
