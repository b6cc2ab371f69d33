"""Sketches of durations: what a quantile of one says, and that sums of them say the same."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.core.durations import ACCURACY, LAST, LONGEST_SECONDS, SHORTEST_SECONDS, bucket_of, quantile

durations = st.lists(st.floats(SHORTEST_SECONDS, LONGEST_SECONDS), min_size=1, max_size=200)


def sketch(seconds: list[float]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in seconds:
        found[bucket_of(one)] = found.get(bucket_of(one), 0) + 1
    return found


@given(durations, st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_at_most_5_percent_off(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[ceil(share * len(seconds)) - 1]
    found = quantile(sketch(seconds), share)
    assert found == pytest.approx(exact, rel=ACCURACY + 1e-9)


def test_what_is_shorter_or_longer_than_any_item_has_a_bucket_too() -> None:
    assert [bucket_of(seconds) for seconds in (-1, 0, 1e-9, SHORTEST_SECONDS, LONGEST_SECONDS, 1e12)] == [
        *(0, 0, 0, 0, LAST, LAST)
    ]


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({4: 0}, 0.5) is None
