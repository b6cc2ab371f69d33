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


def notes_of(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Note, ...]:
    """What has come true, or is true for another reason than before."""
    before = {c.type: c for c in old}
    holds = {c.type: c for c in new if c.status == "True"}
    for kind, mood in NOTABLE:
        was = before.get(kind)
        reason = was.reason if was and was.status == "True" else None  # of one that is not True it is the phase's
        if (found := holds.get(kind)) and found.reason != reason:
            about = f"{kind}, {reason} since {was.last_transition_time if was else None}"
            return (Note(mood, found.reason, found.message, about),)
    return ()
