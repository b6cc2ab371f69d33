"""What the policies of a BatchJob make of its run: held or ended by its circuit breaker, ended by its deadline. Pure.

A hold is like a pause that the store began: the operator never writes spec, so the run goes on once spec.resumeToken
says something new. The store remembers with which token it went on last, so that an operator that dies between that
and the status cannot let one token decide twice.
"""

from dataclasses import replace
from typing import Final

from batchjob.api.policies import FailureAction, FailurePolicy
from batchjob.api.status import ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.actions import FailRun, Plan
from batchjob.controller.ending import plan_end
from batchjob.controller.observed import Observed
from batchjob.controller.status import Verdict
from batchjob.core.breaker import Spent, Trip, describe, reason_of
from batchjob.core.deadline import COUNTED, active_seconds, seconds_left
from batchjob.core.items import RunState
from batchjob.core.progress import format_duration
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import Snapshot

DRAIN_CHECK_SECONDS: Final = 1.0  # while items in flight may still end before the run does
GO_ON: Final = "then set spec.resumeToken to any new text to go on with what is left, or spec.cancel to end it."
WAYS_OUT: Final = {  # of a run that is held, by the reason
    Reason.FAILURE_THRESHOLD: f"Mend the cause, {GO_ON} What has failed stays failed: a BatchJob with source.redriveOf "
    "tries it again.",
    Reason.BUDGET_EXCEEDED: f"Raise spec.aiBatch.budget.tokens, {GO_ON}",
}


def is_tripped(snapshot: Snapshot) -> bool:
    """Whether the circuit breaker has tripped and there is still something to stop."""
    return snapshot.tripped is not None and snapshot.state is not RunState.SEALING


def hold(job: BatchJob, snapshot: Snapshot) -> Verdict | None:
    """Why the run is held by its circuit breaker until somebody decides; None if it is not."""
    trip = snapshot.tripped
    if trip is None or not is_tripped(snapshot) or not is_undecided(job, snapshot.resumed_by):
        return None
    reason = reason_of(trip)
    return Verdict(Phase.SUSPENDED, reason, f"{_describe(trip, snapshot)} {WAYS_OUT[reason]}", stalled=True)


def held_before(job: BatchJob) -> Verdict | None:
    """The same of a run that the store has lost since: a loss decides nothing."""
    said = job.status.condition(ConditionType.SUSPENDED) if job.status else None
    if said is None or said.status != "True" or said.reason not in WAYS_OUT or not is_undecided(job, None):
        return None
    return Verdict(Phase.SUSPENDED, Reason(said.reason), said.message, stalled=True)


def plan_trip(seen: Observed, snapshot: Snapshot, grace_seconds: float) -> Plan | None:
    """End a run of which too many items failed, action Fail; None where nothing tripped, or it is to be held.

    The store grants nothing any more, and workers need up to `grace_seconds` to end what is in flight: that counts.
    """
    trip, policy = snapshot.tripped, seen.job.spec.failure_policy or FailurePolicy()
    if not isinstance(trip, Trip) or not is_tripped(snapshot) or policy.action is not FailureAction.FAIL:
        return None
    seconds = abs((seen.now - trip.at).total_seconds())  # clocks that differ by more may not make it wait for ever
    if snapshot.counts.active and seconds < grace_seconds:
        return Plan(again_seconds=DRAIN_CHECK_SECONDS)
    return Plan((FailRun(reason_of(trip), _describe(trip, snapshot)),), again_seconds=0)


def plan_overdue(seen: Observed) -> Plan | None:
    """End a run whose deadline is over; None if it is not."""
    spec, status = seen.job.spec, seen.job.status
    left = seconds_left(spec, status, seen.now)
    if left is None or left > 0:
        return None
    used = format_duration(active_seconds(status, seen.now))
    message = (
        f"spec.activeDeadlineSeconds is {spec.active_deadline_seconds}, and the run has been active for {used}, pauses "
        "left out. What was left is cancelled: create another BatchJob for it, with more time or more workers."
    )
    if seen.snapshot is not None:
        return Plan((FailRun(Reason.DEADLINE_EXCEEDED, message),), again_seconds=0)
    return plan_end(seen, Verdict(Phase.FAILED, Reason.DEADLINE_EXCEEDED, message, stalled=True), stop=True)


def in_time(seen: Observed, plan: Plan) -> Plan:
    """The plan with a look when the deadline comes, should nothing else cause one."""
    status = plan.status or seen.job.status
    left = seconds_left(seen.job.spec, status, seen.now)
    if left is None or status is None or status.phase not in COUNTED:
        return plan
    due = [max(left, 0.0), *([] if plan.again_seconds is None else [plan.again_seconds])]
    return replace(plan, again_seconds=min(due))


def is_undecided(job: BatchJob, resumed_by: str | None = None) -> bool:
    """Whether nobody has said since it came to a stop that the run shall go on."""
    seen_token = job.status.resume_token if job.status else None
    return job.spec.resume_token in (None, seen_token, resumed_by)


def _describe(trip: Trip | Spent, snapshot: Snapshot) -> str:
    return describe(trip, [error.error_class for error in snapshot.last_errors])
