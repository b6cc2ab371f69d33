"""Which transitions of conditions are worth an Event: the end, a pause, and what somebody has to mend. Pure.

What a condition was, and since when, names the transition: whatever else is written before it is, it is told once.
"""

from collections.abc import Iterable
from typing import Final

from batchjob.api.status import Condition, ConditionType
from batchjob.controller.actions import Note

# Conditions whose turning True is worth an Event; the first that does.
NOTABLE: Final = (
    (ConditionType.COMPLETE, "Normal"),
    (ConditionType.FAILED, "Warning"),
    (ConditionType.STALLED, "Warning"),
    (ConditionType.SUSPENDED, "Normal"),
)


def came_true(old: Condition | None, new: Condition | None, kind: ConditionType) -> str | None:
    """The name of the transition by which a condition came true, or true for another reason; None: it did not."""
    reason = old.reason if old and old.status == "True" else None  # of one that is not True it is the phase's
    if new is None or new.status != "True" or new.reason == reason:
        return None
    return f"{kind}, {reason} since {old.last_transition_time if old else None}"


def notes_of(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Note, ...]:
    """What has come true, or is true for another reason than before."""
    before, now = ({c.type: c for c in conditions} for conditions in (old, new))
    for kind, mood in NOTABLE:
        if about := came_true(before.get(kind), now.get(kind), kind):
            return (Note(mood, now[kind].reason, now[kind].message, about),)
    return ()
