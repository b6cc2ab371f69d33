"""Rates: what a limit a minute means for each unit."""

from hypothesis import given
from hypothesis import strategies as st

from batchjob.core.rates import Rate

MINUTE_US = 60_000_000


@given(limit=st.integers(1, 100_000))
def test_no_minute_holds_more_than_the_limit(limit: int) -> None:
    rate = Rate.per_minute(limit)
    # A burst at the beginning of the minute, and whatever comes one by one until its end.
    assert rate.burst + (MINUTE_US - 1) // rate.interval_us <= limit


@given(limit=st.integers(1, 100_000))
def test_hardly_any_of_the_limit_is_given_away(limit: int) -> None:
    rate = Rate.per_minute(limit)
    assert MINUTE_US / rate.interval_us >= 0.95 * (limit - rate.burst)
