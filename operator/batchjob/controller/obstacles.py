"""What somebody else has to mend: obstacles to a plan, and objects that we cannot read; what is said of them. Pure."""

from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.controller.actions import Plan
from batchjob.controller.begin import stalled
from batchjob.controller.observed import Observed, Trouble
from batchjob.controller.status import Pace, build_status, is_worth_writing, told
from batchjob.core.phases import is_terminal
from batchjob.core.reasons import Reason
from batchjob.errors import BatchJobError, Forbidden, NameTaken, WebhookUnavailable

STARTED: Final = frozenset({Phase.RUNNING, Phase.FINALIZING, Phase.SUSPENDED})

# The reason of the condition, and what to do.
Obstacles = dict[type[BatchJobError], tuple[Reason, str]]

COMMON: Final[Obstacles] = {
    NameTaken: (Reason.NAME_TAKEN, ""),
    Forbidden: (Reason.REFUSED, " Change the quota, policy, webhook or right that forbids it."),
    WebhookUnavailable: (Reason.REFUSED, " Tell those who run that webhook; they can mend or remove it."),
}


def build_trouble(error: Exception, obstacles: Obstacles) -> Trouble:
    """What an obstacle, one of these, means to the user."""
    reason, hint = next(known for kind, known in obstacles.items() if isinstance(error, kind))
    return Trouble(reason, f"{str(error).rstrip('.')}.{hint}")


def say_unreadable(kind: str, error: ValidationError) -> str:
    """The API server took an object, and we cannot read it: of a newer version, or past its schema."""
    where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
    return f"This operator cannot read the {kind}: {where}. Mend it, or upgrade the operator."


def plan_obstructed(seen: Observed, trouble: Trouble, pace: Pace) -> Plan:
    """Something that is not ours to change is in the way: say what, and try again."""
    old = seen.job.status
    if is_terminal(old):
        return Plan(back_off=True)
    status = build_status(seen, stalled(_obstructed_phase(old), trouble))
    plan = Plan(status=status) if is_worth_writing(old, status, seen.since_write_seconds, pace) else Plan()
    return replace(told(seen, plan, notices=False), back_off=True)


def _obstructed_phase(old: BatchJobStatus | None) -> Phase:
    """One that was started and stood in line again is Suspended: Pending stops no deadline that has begun to run."""
    if old and old.phase in STARTED:
        return old.phase
    return Phase.SUSPENDED if old and old.store_epoch else Phase.PENDING
