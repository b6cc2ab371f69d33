"""What is read of a run's tally, which its own user may write."""

import pytest

from batchjob.core.records import Tally, read_tally


def test_a_tally_is_read() -> None:
    assert read_tally({"retried": "3", "failed:timeout": "2", "took:7": "5"}) == Tally(3, {"timeout": 2}, {7: 5})


@pytest.mark.parametrize("name", ["failed:a\x01", "failed:", "failed:no-class-of-ours", "took:x", "other:1", ""])
def test_what_is_no_name_of_ours_is_left_out(name: str) -> None:
    """It would go into the reports of others."""
    assert read_tally({name: "1"}) == Tally()


@pytest.mark.parametrize("number", ["-1", "1.5", "many", "9" * 40, ""])
def test_what_is_no_number_counts_nothing(number: str) -> None:
    assert read_tally({"retried": number, "failed:timeout": number, "took:7": number}) == Tally()
