"""Which transitions become Events."""

from datetime import UTC, datetime

import pytest

from batchjob.api.status import Condition, ConditionType
from batchjob.controller.actions import Note
from batchjob.controller.events import Regarding, build_event
from batchjob.controller.notes import NOTABLE, notes_of


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


def test_an_event_has_one_name_until_its_transition_is_written_and_another_for_the_next() -> None:
    def name(status: dict[str, str] | None, about: str = "") -> str:
        regarding = Regarding("BatchJob", "team", "run", "u", status)
        return str(build_event(regarding, Note("Normal", "Told", "why", about), datetime.now(UTC))["metadata"]["name"])

    assert name({"phase": "Running", "a": "b"}) == name({"a": "b", "phase": "Running"})
    assert len({name(None), name({"phase": "Queued"}), name({"phase": "Running"})}) == 3
    assert name(None, "a thing") == name({"phase": "Running"}, "a thing")
