"""Which transitions become Events."""

from datetime import UTC, datetime

import pytest

from batchjob.api.status import Condition, ConditionType
from batchjob.controller.actions import Note
from batchjob.controller.events import build_note_event
from batchjob.controller.notes import NOTABLE, notes_of
from batchjob.kube import Regarding


def conditions(**reasons: str) -> list[Condition]:
    """Those that are named are True, for this reason; the others are False for another."""
    return [
        Condition(
            type=kind,
            status="True" if kind in reasons else "False",
            reason=reasons.get(kind, "Running"),
            message="why",
            last_transition_time="2026-01-01T00:00:00Z",
        )
        for kind in ConditionType
    ]


def told(old: list[Condition], new: list[Condition]) -> list[tuple[str, str, str]]:
    return [(note.type, note.reason, note.message) for note in notes_of(old, new)]


@pytest.mark.parametrize(("kind", "mood"), NOTABLE)
def test_what_comes_true_is_told_once_and_again_for_another_reason(kind: ConditionType, mood: str) -> None:
    first, second = conditions(**{kind: "Because"}), conditions(**{kind: "NowBecause"})
    assert told([], first) == told(conditions(), first) == [(mood, "Because", "why")]
    assert told(first, first) == []
    assert told(first, second) == [(mood, "NowBecause", "why")]
    assert told(first, conditions()) == [], "an end of trouble is none"


def test_the_end_is_told_and_not_that_somebody_has_to_mend_it() -> None:
    assert told(conditions(), conditions(Failed="ItemsFailed", Stalled="ItemsFailed")) == [
        ("Warning", "ItemsFailed", "why")
    ]


def test_a_wait_is_no_event() -> None:
    assert told(conditions(), conditions(Queued="QueuePaused", Reconciling="Running")) == []


def test_an_event_has_one_name_for_what_it_is_about() -> None:
    def name(uid: str, reason: str, about: str) -> str:
        note = Note("Normal", reason, "why", about)
        return str(
            build_note_event(Regarding("BatchJob", "team", "run", uid), note, datetime.now(UTC))["metadata"]["name"]
        )

    assert name("u", "Told", "a thing") == name("u", "Told", "a thing")
    names = {name("u", "Told", "a thing"), name("v", "Told", "a thing"), name("u", "Tell", "a thing")}
    assert len(names | {name("u", "Told", "another")}) == 4


def test_a_transition_is_told_once_whatever_else_is_written_before_it_and_the_next_one_again() -> None:
    def about(*old: Condition) -> str:
        [note] = notes_of(old, conditions(Suspended="SuspendedByUser"))
        return note.about

    running = conditions()
    obstructed = [c.model_copy(update={"reason": "Refused"}) for c in conditions(Stalled="Refused")]
    assert about(*running) == about(*obstructed)
    later = [c.model_copy(update={"last_transition_time": "2026-01-01T00:00:01Z"}) for c in running]
    assert len({about(), about(*running), about(*later), about(*conditions(Suspended="StoreLost"))}) == 4
