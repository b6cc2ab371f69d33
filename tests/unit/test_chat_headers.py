"""What the headers of a chat endpoint say about its limits."""

import pytest

from batchjob_processors.chat_headers import duration, hold_seconds, retry_after

NOON = "Thu, 26 Nov 2026 12:00:00 GMT"
LATER = "Thu, 26 Nov 2026 12:01:30 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("17ms", 0.017),
        ("2m59.56s", 179.56),
        ("12", 12),
        ("soon", 0),
        ("", 0),
    ],
)
def test_a_duration_is_read_as_endpoints_write_it(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": LATER, "date": NOON}, 90),
        ({"retry-after": NOON, "date": LATER}, 0),
        ({"retry-after": NOON}, 0),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date_by_the_servers_clock(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_only_a_limit_that_is_used_up_is_waited_for() -> None:
    used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
    left = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "1h"}
    assert hold_seconds(used_up | left) == 360
    assert hold_seconds(left) == 0
    assert hold_seconds({"x-ratelimit-remaining-requests": "0"}) == 0
