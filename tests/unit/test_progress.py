"""How numbers are told to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import Counts
from batchjob.core.items import RunState
from batchjob.core.progress import format_duration, format_percent, format_progress, format_rate, listed, reckoned
from tests.support.plan_world import snapshot


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


@pytest.mark.parametrize(
    ("state", "progress", "percent"),
    [
        (RunState.CANCELLED, "1069/2000", "53%"),
        (RunState.FAILED, "1069/2000", "53%"),
        (RunState.CLOSED, "2000/2000", "100%"),
    ],
)
def test_items_that_were_cancelled_with_their_run_are_not_finished(
    state: RunState, progress: str, percent: str
) -> None:
    found = snapshot(state, 2000, counts={"succeeded": 1060, "failed": 9, "cancelled": 931})
    counts = reckoned(found)
    assert (format_progress(counts, found.total), format_percent(counts, found.total)) == (progress, percent)


@pytest.mark.parametrize(
    ("phase", "reason", "counts", "known"),
    [
        ("Succeeded", "Succeeded", Counts(total=9, succeeded=4, cancelled=5), (9, 9)),
        ("Failed", "ItemsFailed", Counts(total=9, succeeded=3, failed=1, cancelled=5), (9, 9)),
        ("Failed", "RunDeleted", Counts(total=9, succeeded=3, failed=1, cancelled=5), (4, 9)),
        ("Cancelled", "Cancelled", Counts(total=9, succeeded=4, cancelled=5), (4, 9)),
        ("Running", "Running", Counts(total=9, succeeded=4, cancelled=1), (5, 9)),
        ("Running", "Loading", Counts(succeeded=2), (2, None)),
        ("Succeeded", "Succeeded", Counts(), (0, 0)),
        ("Dreaming", None, Counts(), (0, None)),
    ],
)
def test_a_list_knows_by_the_phase_which_cancelled_items_are_finished(
    phase: str, reason: str | None, counts: Counts, known: tuple[int, int | None]
) -> None:
    assert listed(counts, phase, reason) == known


@pytest.mark.parametrize(
    ("counts", "reached", "text"),
    [
        (Counts(active=4), 500, "12%"),
        (Counts(active=2, succeeded=2), 1999, "50%"),
        (Counts(active=4), 4000, "99%"),
        (Counts(succeeded=3, cancelled=1), 3900, "100%"),
    ],
)
def test_the_part_that_is_done_of_items_in_hand_counts_but_never_as_the_end(
    counts: Counts, reached: int, text: str
) -> None:
    assert format_percent(counts, 4, reached) == text


@given(total=st.integers(1, 10**9), left=st.integers(0, 10**9))
def test_a_hundred_percent_means_that_nothing_is_left(total: int, left: int) -> None:
    done = max(0, total - left)
    assert (format_percent(Counts(succeeded=done), total) == "100%") == (done == total)
