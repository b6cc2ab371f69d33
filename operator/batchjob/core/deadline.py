"""The clock of spec.activeDeadlineSeconds: from the first Running on, and not while Suspended or Queued again. Pure.

Kubernetes' own deadline of a Job cannot be used: each pause would begin it anew. Nothing ticks here and nothing is
written for it: the status says when the run was started, when it last went on (the transitions of its conditions
Suspended and Queued), and how much it had used up by its last pause. All three are written with the transition itself,
so an operator that comes later, or never saw it, counts the same.
"""

from datetime import datetime
from typing import Final

from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJobSpec

COUNTED: Final = frozenset({Phase.RUNNING, Phase.FINALIZING})


def active_seconds(status: BatchJobStatus | None, now: datetime) -> float:
    """What the run has used up by now."""
    if status is None or status.start_time is None:
        return 0.0
    if status.phase not in COUNTED:
        return float(status.active_seconds)
    since = datetime.fromisoformat(status.start_time)
    for kind in (ConditionType.SUSPENDED, ConditionType.QUEUED):
        if ended := status.condition(kind):
            since = max(since, datetime.fromisoformat(ended.last_transition_time))
    return status.active_seconds + max(0.0, (now - since).total_seconds())


def seconds_left(spec: BatchJobSpec, status: BatchJobStatus | None, now: datetime) -> float | None:
    """Until the deadline, as long as nothing pauses the run; None where there is none. Not above 0: it is over."""
    if spec.active_deadline_seconds is None:
        return None
    return spec.active_deadline_seconds - active_seconds(status, now)
