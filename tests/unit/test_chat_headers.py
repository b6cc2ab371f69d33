"""What the headers of a chat endpoint say about its limits."""

from pathlib import Path

import pytest

from batchjob.worker import ConfigurationError
from batchjob_processors.chat_headers import duration, hold_seconds, retry_after, secret_value

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
        ("nan", 0),
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
        ({"retry-after": "Thu, 26 Nov 99999999999999999999 12:00:00 GMT"}, None),
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


def test_a_limit_may_also_say_the_moment_at_which_it_is_whole_again() -> None:
    used_up = {"x-ratelimit-remaining-requests": "0", "date": NOON}
    assert hold_seconds(used_up | {"x-ratelimit-reset-requests": "1795694490"}) == 90
    assert hold_seconds(used_up | {"x-ratelimit-reset-requests": "1795694300"}) == 0


@pytest.mark.parametrize("body", [b"sk-SECRET\nsecond line", b"sk-\rSECRET", "schlüssel-SECRET".encode(), b"", b"\x01"])
def test_a_secret_that_cannot_be_a_header_is_refused_before_anybody_quotes_it(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b" sk-SECRET\n")
    assert secret_value(tmp_path / "key", "the key") == "sk-SECRET"
    (tmp_path / "key").write_bytes(body)
    with pytest.raises(ConfigurationError, match="the key cannot be a header: write its value as one line") as error:
        secret_value(tmp_path / "key", "the key")
    assert "SECRET" not in str(error.value)
