"""What watchers are told: in order, the end always, and progress four times a second at most."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.status import Phase
from batchjob.core.events import ENDS, PROGRESS_MS, LiveEvent, LiveType, RunEvent, Standing, Told, news

JOB = "team.job"
TERMINAL = (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


def standing(phase: Phase, **data: Any) -> Standing:
    return Standing(phase, 5, data)


def run_event(number: int, kind: str = "progress", **fields: Any) -> RunEvent:
    return RunEvent(f"{1000 + number}-0", kind, {name: str(value) for name, value in fields.items()})


def types(events: Any) -> list[str]:
    return [event.type.removeprefix("batch:") for event in events]


def test_a_run_without_trouble_is_told_from_its_queue_to_its_end() -> None:
    first = news(JOB, Told(), [], [standing(Phase.PENDING), standing(Phase.QUEUED)], 1000)
    seen = [run_event(0, "open", waiting=4), run_event(1, "progress", waiting=3, succeeded=1)]
    second = news(JOB, first.told, seen, [standing(Phase.RUNNING)], 2000)
    ending = [run_event(2, "sealing", succeeded=4), run_event(3, "closed", succeeded=4)]
    third = news(JOB, second.told, ending, [standing(Phase.FINALIZING), standing(Phase.SUCCEEDED, result={})], 3000)
    told = [*first.events, *second.events, *third.events]
    assert types(told) == ["queued", "started", "progress", "progress", "complete"]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert told[2].data == {"jobId": JOB, "progress": 25.0, "processed": 1, "total": 4}
    assert told[3].data == {"jobId": JOB, "progress": 100.0, "processed": 4, "total": 4}
    assert told[2].time_ms == 1001, "when it was so, not when it was told"


def test_the_total_is_unknown_while_the_source_is_loaded() -> None:
    found = news(JOB, Told(begun=True), [run_event(0, "progress", waiting=3, succeeded=1)], [], 1000)
    assert found.events[0].data == {"jobId": JOB, "progress": 0.0, "processed": 1, "total": None}


def test_long_items_move_progress_and_their_last_words_go_with_it() -> None:
    fields: dict[str, Any] = {"waiting": 1, "active": 1, "reached": 1500, "item": "a", "message": "page 3"}
    [event] = news(JOB, Told(begun=True, loaded=True), [run_event(0, **fields)], [], 1000).events
    assert event.data == {"jobId": JOB, "progress": 75.0, "processed": 0, "total": 2, "item": "a", "message": "page 3"}


def test_a_pause_and_what_follows_it_are_told_once_each() -> None:
    phases = [Phase.RUNNING, Phase.SUSPENDED, Phase.SUSPENDED, Phase.RUNNING, Phase.RUNNING, Phase.CANCELLED]
    found = news(JOB, Told(), [], [standing(phase) for phase in phases], 1000)
    assert types(found.events) == ["started", "suspended", "resumed", "cancelled"]


def test_one_that_waits_for_its_turn_again_is_resumed_and_not_started_anew() -> None:
    phases = [Phase.RUNNING, Phase.SUSPENDED, Phase.QUEUED, Phase.RUNNING]
    found = news(JOB, Told(), [], [standing(phase) for phase in phases], 1000)
    assert types(found.events) == ["started", "suspended", "queued", "resumed"]


def test_one_that_was_never_queued_and_has_ended_says_only_that() -> None:
    assert types(news(JOB, Told(), [], [standing(Phase.FAILED, error="no such queue")], 1000).events) == ["error"]


def test_of_items_nothing_is_told_before_the_start() -> None:
    """A worker may be quicker than the status."""
    seen = [run_event(0, "open", waiting=1)]
    early = news(JOB, Told(), seen, [standing(Phase.QUEUED)], 1000)
    assert types(early.events) == ["queued"]
    assert (early.told.cursor, early.again) == ("0", False)
    assert types(news(JOB, early.told, seen, [standing(Phase.RUNNING)], 1001).events) == ["started", "progress"]


@pytest.mark.parametrize("phase", list(Phase))
def test_after_the_end_nothing_is_told(phase: Phase) -> None:
    ended = news(JOB, Told(), [], [standing(Phase.SUCCEEDED)], 1000).told
    late = [run_event(1, "item_failed", position=1), run_event(2)]
    found = news(JOB, ended, late, [standing(phase)], 9000)
    assert (found.events, found.told, found.left, found.again) == ([], ended, [], False)


def test_progress_that_comes_too_early_waits_with_all_that_came_after_it() -> None:
    told = Told(begun=True, loaded=True, progress_ms=1000, stands=LiveType.STARTED)
    seen = [run_event(0, "item_failed", position=1), run_event(1), run_event(2, "item_failed", position=2)]
    first = news(JOB, told, seen, [standing(Phase.SUSPENDED)], 1100)
    assert types(first.events) == ["item_failed"]
    assert (first.told.cursor, first.again, len(first.left)) == ("1000-0", True, 1)
    second = news(JOB, first.told, seen[1:], first.left, 1000 + PROGRESS_MS)
    assert types(second.events) == ["progress", "item_failed", "suspended"]


def test_the_end_waits_for_no_progress_but_for_what_was_not_read_yet() -> None:
    told = Told(begun=True, loaded=True, progress_ms=1000)
    found = news(JOB, told, [run_event(0)], [standing(Phase.SUCCEEDED)], 1001)
    assert types(found.events) == ["complete"]
    found = news(JOB, told, [run_event(0, "item_failed")], [standing(Phase.SUCCEEDED)], 1001, more=True)
    assert types(found.events) == ["item_failed"]
    assert (len(found.left), found.again) == (1, True)


def test_nonsense_that_a_tenant_wrote_into_its_run_is_told_in_bounds() -> None:
    mad = [
        run_event(0, "item_failed", position="x" * 50, id="i" * 5000, message="m" * 5000),
        run_event(1, "progress", waiting="9" * 400, succeeded="-1", reached="٣"),
        RunEvent("nonsense", "", {}),
    ]
    found = news(JOB, Told(begun=True, loaded=True), mad, [], 1000)
    failure, progress = (event.data for event in found.events)
    assert (failure["position"], len(failure["item"]), len(failure["error"])) == (0, 1024, 1024)
    assert progress == {"jobId": JOB, "progress": 100.0, "processed": 0, "total": 0}


KINDS = st.sampled_from(["progress", "progress", "item_failed", "paused", "open"])
STEPS = st.lists(
    st.tuples(st.integers(0, 400), st.lists(KINDS, max_size=6), st.lists(st.sampled_from(Phase), max_size=3)),
    max_size=30,
)


@given(STEPS, st.sampled_from(TERMINAL), st.integers(1, 7))
def test_however_it_comes_and_is_read_the_order_stays_nothing_is_lost_and_progress_is_rare(
    steps: list[tuple[int, list[str], list[Phase]]], end: Phase, page: int
) -> None:
    """A run goes on at its own pace; whoever tells reads a page a step, and knows nothing but what was told."""
    told, now, said = Told(), 1000, list[tuple[int, LiveEvent]]()
    stream, left = list[RunEvent](), list[Standing]()

    def look() -> bool:
        nonlocal told, left
        unread = [event for event in stream if told.cursor == "0" or event.id > told.cursor]
        found = news(JOB, told, unread[:page], left, now, more=len(unread) > page)
        assert news(JOB, told, unread[:page], left, now, more=len(unread) > page) == found
        told, left = found.told, list(found.left)
        said.extend((now, event) for event in found.events)
        return found.again

    for wait, kinds, phases in [*steps, (0, [], [end])]:
        now += wait
        ended = any(one.phase in TERMINAL for one in left) or told.stands in ENDS
        if not ended:
            stream += [RunEvent(f"{10000 + len(stream) + n}-0", kind, {"waiting": "1"}) for n, kind in enumerate(kinds)]
            left += [standing(phase) for phase in phases]
        look()
    for _ in range(len(stream) + 2):
        now += PROGRESS_MS
        if not look():
            break
    assert left == []
    assert [event.seq for _, event in said] == list(range(1, len(said) + 1))
    moments = [at for at, event in said if event.type is LiveType.PROGRESS]
    assert all(later - earlier >= PROGRESS_MS for earlier, later in pairwise(moments))
    assert [event.type in ENDS for _, event in said] == [False] * (len(said) - 1) + [True], "the end, once and last"
    assert sum(event.type is LiveType.ITEM_FAILED for _, event in said) == sum(e.kind == "item_failed" for e in stream)
