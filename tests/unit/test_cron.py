"""The times of cron strings, as Kubernetes counts them; the expected ones were computed by its own library."""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.schedule import _cron_pattern
from batchjob.core.cron import Cron
from batchjob.core.zones import find_zone

BERLIN = ZoneInfo("Europe/Berlin")


def times(text: str, zone: str, after: str, count: int = 3) -> list[str]:
    """The next times, on the zone's own clock."""
    start = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    found = islice(Cron(text, find_zone(zone)).times(start), count)
    return [time.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for time in found]


def test_each_monday_at_nine_is_at_nine_in_winter_and_in_summer() -> None:
    assert times("0 9 * * 1", "Europe/Berlin", "2026-03-17T00:00") == [
        *("2026-03-23T09:00+01:00", "2026-03-30T09:00+02:00", "2026-04-06T09:00+02:00")
    ]


def test_a_time_that_the_clock_skips_in_spring_is_skipped() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00") == [
        *("2026-03-28T02:30+01:00", "2026-03-30T02:30+02:00", "2026-03-31T02:30+02:00")
    ]
    assert times("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:00") == [
        *("2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00")
    ]


def test_a_time_that_the_clock_shows_twice_in_autumn_comes_twice() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00") == [
        *("2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-26T02:30+01:00")
    ]


def test_between_the_two_the_second_one_is_next() -> None:
    first = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN)
    assert Cron("30 2 * * *", BERLIN).next(first) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_the_last_second_before_the_clock_is_set_knows_the_new_clock() -> None:
    before = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    assert Cron("0 3 * * *", BERLIN).next(before) == before + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("5-5/2 * * * *", ["00:05", "01:05", "02:05"]),
        ("5-05/2 * * * *", ["00:05", "01:05", "02:05"]),
        ("5-9/2 * * * *", ["00:05", "00:07", "00:09"]),
        ("0 0 * * mon-1/2", ["2026-01-05", "2026-01-12", "2026-01-19"]),
        ("0 0 1 Jan-01/2 *", ["2027-01-01", "2028-01-01", "2029-01-01"]),
    ],
)
def test_a_step_over_a_range_of_one_is_that_one_however_its_ends_are_written(text: str, first: list[str]) -> None:
    found = times(text, "UTC", "2026-01-01T00:00")
    assert all(part in time for part, time in zip(first, found, strict=True)), found


def test_the_twenty_ninth_of_february_comes_in_leap_years() -> None:
    assert times("0 0 29 2 *", "UTC", "2026-01-01T00:00", 2) == ["2028-02-29T00:00+00:00"], "five years are looked at"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 15 * 1", ["2026-03-02", "2026-03-09", "2026-03-15"]),  # either day
        ("0 9 15 * *", ["2026-03-15", "2026-04-15", "2026-05-15"]),
        ("0 9 */10 * 1", ["2026-03-02", "2026-03-09", "2026-03-11"]),  # a step restricts: either day
        ("0 9 20-20/5 * *", ["2026-03-20", "2026-04-20", "2026-05-20"]),  # a step over one day is that day
        ("0 9 * * sun", ["2026-03-08", "2026-03-15", "2026-03-22"]),
        ("@weekly", ["2026-03-08", "2026-03-15", "2026-03-22"]),
        ("@yearly", ["2027-01-01", "2028-01-01", "2029-01-01"]),
    ],
)
def test_days_are_chosen_as_kubernetes_does(text: str, expected: list[str]) -> None:
    assert [time[:10] for time in times(text, "UTC", "2026-03-01T12:00")] == expected


@pytest.mark.parametrize("text", ["0 0 30 2 *", "61 * * * *", "* * * *", "0 5-3 * * *", "TZ=UTC * * * * *"])
def test_a_string_without_times_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bad|wrong number"):
        Cron(text, UTC)


@pytest.mark.parametrize("name", ["Europe/Berln", "Europe", "../etc/passwd", "Mars"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        find_zone(name)


@pytest.mark.parametrize(
    "text", ["0 9 * * 1", "*/15 0-6/2 1,15 jan-MAR Mon-Fri", "@daily", "59 23 31 12 6", "0  9 * * *"]
)
def test_what_kubernetes_takes_is_let_through(text: str) -> None:
    assert re.search(_cron_pattern(), text)
    assert Cron(text, UTC).next(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        *("", "0 9 * *", "0 9 * * 1 2026", " 0 9 * * 1", "TZ=UTC 0 9 * * *", "@every 1h"),
        *("60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *"),
        *("0 9 L * *", "0 9 * * 1#2", "? * * * *", "*,3 * * * *"),
    ],
)
def test_what_kubernetes_refuses_or_we_read_otherwise_is_not_let_through(text: str) -> None:
    assert not re.search(_cron_pattern(), text)


fields = st.tuples(
    st.sampled_from(["0", "*/20", "5-59/7", "30,31"]),
    st.sampled_from(["2", "*", "1-3", "*/5"]),
    st.sampled_from(["*", "25-31", "*/9", "15"]),
    st.sampled_from(["*", "3,10", "*/4"]),
    st.sampled_from(["*", "0", "mon-fri"]),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis' own
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Africa/Casablanca", "Australia/Lord_Howe", "UTC"])


@given(fields, moments, zones)
def test_times_come_in_order_and_the_zones_clock_shows_what_the_string_says(
    parts: tuple[str, ...], after: datetime, zone: str
) -> None:
    cron = Cron(" ".join(parts), ZoneInfo(zone))
    found = list(islice(cron.times(after), 5))
    assert found == sorted(set(found))
    minutes = {int(text) for text in ["0"]} if parts[0] == "0" else None
    for time in found:
        assert time > after
        assert cron.next(time - timedelta(seconds=1)) == time
        assert minutes is None or time.astimezone(ZoneInfo(zone)).minute in minutes
