"""How much of each cache stays where all of them together have too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.core.cache import shares

SIZES = st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=8)


@pytest.mark.parametrize(
    ("sizes", "limit", "cut"),
    [
        ({}, 10, {}),
        ({"a": 10}, 10, {}),
        ({"a": 11}, 10, {"a": 10}),
        ({"a": 9, "b": 2}, 10, {"a": 8}),
        ({"a": 9, "b": 9, "c": 1}, 10, {"a": 4, "b": 4}),
        ({"a": 9, "b": 9}, 0, {"a": 0, "b": 0}),
    ],
)
def test_the_largest_are_cut_to_one_level(sizes: dict[str, int], limit: int, cut: dict[str, int]) -> None:
    assert shares(sizes, limit) == cut


@given(sizes=SIZES, limit=st.integers(0, 3000))
def test_together_they_have_the_limit_at_most_and_nobody_loses_who_has_less_than_a_fair_share(
    sizes: dict[str, int], limit: int
) -> None:
    cut = shares(sizes, limit)
    left = sum((sizes | cut).values())
    assert left <= limit
    assert bool(cut) == (sum(sizes.values()) > limit)
    assert all(share < sizes[name] and share >= limit // len(sizes) for name, share in cut.items())
    assert left > limit - len(sizes) or not cut, "what is there is used"
