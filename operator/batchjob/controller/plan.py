"""The decision: from what was observed to what is done. Pure, a function of `Observed` and the settings.

    Pending ──► Queued ──► Running ──► Finalizing ──► Succeeded
       │           │        ▲   │          │
       └───────────┴────────┼───┴──────────┴────────► Failed, Cancelled (from anywhere)
                            ▼
                        Suspended

Level, not edge: each look decides from what is, so a crash after any step of a plan only repeats steps that are
already done. Pods are started before the bookkeeping; Events come before the status, which is last.
"""

from dataclasses import replace
from typing import Final

from batchjob.api.status import Phase
from batchjob.controller.actions import (
    AbandonRun,
    Action,
    Admit,
    CancelRun,
    CreateJob,
    FailRun,
    PauseRun,
    Plan,
    ResumeRun,
    SetBreaker,
    SetSlots,
)
from batchjob.controller.begin import (
    PlanSettings,
    build_run,
    is_impossible,
    kueue_of,
    may_wait,
    next_index,
    not_yet,
    parent_results,
    plan_begin,
    plan_wait,
    slots_of,
    stalled,
    suspended,
    waits_for_kueue,
    waits_for_queue,
)
from batchjob.controller.ending import delete_job, judge, plan_edited, plan_end
from batchjob.controller.lost import known_epochs, may_not_repeat, plan_rebuild, say_store_is_silent
from batchjob.controller.manifests import History, Slots, build_job
from batchjob.controller.observed import MAX_FRUITLESS_JOBS, RATE_WINDOW_SECONDS, ChildJob, Observed, Trouble
from batchjob.controller.obstacles import plan_obstructed
from batchjob.controller.policies import held_before, hold, in_time, plan_overdue, plan_trip
from batchjob.controller.queueing import build_claim
from batchjob.controller.status import (
    Verdict,
    build_status,
    format_time,
    is_worth_writing,
    told,
)
from batchjob.core.admission import Claim
from batchjob.core.breaker import breaker_of
from batchjob.core.items import ENDED, RunState
from batchjob.core.phases import is_terminal
from batchjob.core.progress import finished
from batchjob.core.reasons import Reason
from batchjob.core.slots import IDLE_SECONDS, idle_seconds
from batchjob.core.snapshot import Snapshot

SILENCE_SECONDS: Final = 30.0  # a restart of the store is over by then; longer is worth saying
CUT_SHORT: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.FAILURE_THRESHOLD})  # pods go at once
POD_FAILURE_POLICY: Final = "PodFailurePolicy"  # Kubernetes' reason; our only rule that fails a Job is exit 64


def make_plan(seen: Observed, settings: PlanSettings) -> Plan:
    """What to do about a BatchJob now."""
    job = seen.job
    if job.metadata.deletion_timestamp is not None:
        return Plan()  # in foreground deletion the children go first; making new ones would never end
    if is_terminal(job.status):
        return plan_edited(job, seen.now)
    if seen.leaving:
        return Plan(delete_job(seen.child))  # its pods go with it; then this object too
    if seen.store_silent_seconds is not None:
        return _without_store(seen, seen.store_silent_seconds)
    if seen.damage is not None and not job.spec.cancel:
        trouble = Trouble(Reason.STORE_DAMAGED, f"{seen.damage}. Cancel it, and create it again.")
        return plan_obstructed(seen, trouble, settings.pace)
    plan = in_time(seen, _plan_run(seen, settings))
    return replace(plan, patient=may_wait(job, plan))


def _plan_run(seen: Observed, settings: PlanSettings) -> Plan:
    job, snapshot = seen.job, seen.snapshot
    if snapshot and snapshot.state in ENDED:
        verdict = judge(snapshot, job.spec.success_policy)
        return plan_end(seen, verdict, stop=snapshot.state is RunState.CANCELLED or verdict.reason in CUT_SHORT)
    if job.spec.cancel:
        return _cancel(seen)
    epochs = known_epochs(seen)
    if not epochs:
        return plan_begin(seen, settings)
    if overdue := plan_overdue(seen):
        return overdue
    if snapshot is None or snapshot.epoch not in epochs:
        return plan_rebuild(seen, settings)
    return _drive(seen, snapshot, settings)


def claim_of(seen: Observed) -> Claim | None:
    """What it asks of its queue; None where it does not want to run now."""
    job, snapshot = seen.job, seen.snapshot
    if job.metadata.deletion_timestamp or is_terminal(job.status) or job.spec.suspend or job.spec.cancel:
        return None
    if snapshot and (snapshot.state in ENDED or hold(job, snapshot)):
        return None
    epochs = known_epochs(seen)
    if not epochs:
        return None if is_impossible(seen) or not_yet(seen) else build_claim(seen)
    is_lost = seen.store_silent_seconds is None and not seen.damage and (not snapshot or snapshot.epoch not in epochs)
    return None if is_lost and (may_not_repeat(job) or held_before(job)) else build_claim(seen)


def _drive(seen: Observed, snapshot: Snapshot, settings: PlanSettings) -> Plan:
    """A run that the store knows and that has not ended."""
    if snapshot.abandoned:
        return Plan((AbandonRun(snapshot.message or ""),), again_seconds=0)
    if ending := plan_trip(seen, snapshot, settings.pods.grace_seconds):
        return ending
    pause = _pauses(seen, snapshot)
    actions: list[Action] = [] if seen.admitted else [Admit(build_run(seen, snapshot.epoch))]
    if snapshot.breaker != (breaker := breaker_of(seen.job.spec)):
        actions.append(SetBreaker(breaker))
    if snapshot.paused != pause:
        actions.append(PauseRun() if pause else ResumeRun(seen.job.spec.resume_token if snapshot.tripped else None))
    if seen.child and seen.child.kueue and not seen.child.ended:  # by its label, whatever its queue says by now
        if not pause:  # its suspend and parallelism are Kueue's
            return _keep(seen, snapshot, actions, settings)
        return _keep(replace(seen, child=None), snapshot, [*actions, *delete_job(seen.child)], settings)
    if seen.child and not seen.child.ended:
        actions += _slots(seen.child, slots_of(seen), suspend=pause or _idle_seconds(seen.child, snapshot) > 0)
    elif not pause:
        return _replace_job(seen, snapshot, settings, actions)
    return _keep(seen, snapshot, actions, settings)


def _keep(seen: Observed, snapshot: Snapshot, actions: list[Action], settings: PlanSettings) -> Plan:
    """Go on with what there is; write the status if that is worth it now, else look again when it may be."""
    old, verdict, held = seen.job.status, _standing(seen, snapshot), hold(seen.job, snapshot)
    is_tripped = snapshot.tripped and _pauses(seen, snapshot)  # nothing lets it go on yet
    start = (old.start_time if old else None) or format_time(seen.began)
    status = build_status(
        seen,
        verdict,
        store_epoch=snapshot.epoch,
        jobs_created=next_index(seen),
        start_time=start,
        # One that came while the run is held or suspended is not used up by being seen.
        resume_token=old.resume_token if old and is_tripped else seen.job.spec.resume_token,
    )
    # Once its Job has fewer slots, its queue is to hear of it.
    again = [0.0 for action in actions if isinstance(action, SetSlots) and action.parallelism]
    plan = Plan(tuple(actions))
    if is_worth_writing(old, status, seen.since_write_seconds, settings.pace):
        plan = told(seen, replace(plan, status=status))
    elif old and (status.counts, status.rate) != (old.counts, old.rate):
        again.append(settings.pace.next_seconds(seen.since_write_seconds))
    if seen.rate:  # nothing tells that nothing moves any more
        again.append(RATE_WINDOW_SECONDS)
    if seen.child and seen.child.is_starting:
        again.append(seen.child.next_check_seconds)
    if seen.child and (idle := _idle_seconds(seen.child, snapshot)):
        again.append(idle)
    return replace(plan, again_seconds=min(again, default=None), back_off=verdict.stalled and not held)


def _pauses(seen: Observed, snapshot: Snapshot) -> bool:
    return bool(seen.job.spec.suspend or not slots_of(seen) or hold(seen.job, snapshot))


def _standing(seen: Observed, snapshot: Snapshot) -> Verdict:
    if seen.job.spec.suspend:
        return suspended()
    queues = (not slots_of(seen) and waits_for_queue(seen)) or waits_for_kueue(seen)
    if waits := hold(seen.job, snapshot) or queues:
        return waits
    phase = Phase.FINALIZING if snapshot.state is RunState.SEALING else Phase.RUNNING
    if trouble := seen.missing or seen.pods:
        return stalled(phase, trouble)
    if snapshot.load_error:
        _, message = snapshot.load_error
        return stalled(phase, Trouble(Reason.SOURCE_UNREACHABLE, message))
    if phase is Phase.FINALIZING:
        return Verdict(phase, Reason.FINALIZING)
    return Verdict(phase, _what_runs(seen, snapshot))


def _what_runs(seen: Observed, snapshot: Snapshot) -> Reason:
    if snapshot.state is RunState.LOADING:
        return Reason.LOADING
    is_idle = seen.child and _idle_seconds(seen.child, snapshot)
    return Reason.ALL_DELAYED if is_idle else Reason.RUNNING


def _idle_seconds(child: ChildJob, snapshot: Snapshot) -> float:
    """For how long the run goes without pods: worth while if it is long, or they are gone already.

    Under Kueue they stay: its Job's `suspend` is not ours, and a Job made anew would stand in its line once more.
    """
    seconds = 0.0 if child.kueue else idle_seconds(snapshot)
    return seconds if child.suspended or seconds > IDLE_SECONDS else 0.0


def _slots(child: ChildJob, slots: int, *, suspend: bool) -> list[Action]:
    parallelism = slots if slots and child.parallelism != slots else None  # no slots: completions 0 would complete it
    changed = suspend if child.suspended != suspend else None
    if parallelism is None and changed is None:
        return []
    return [SetSlots(child.name, parallelism, changed)]


def _replace_job(seen: Observed, snapshot: Snapshot, settings: PlanSettings, actions: list[Action]) -> Plan:
    """The Job ended, or was deleted, with items left: another one goes on, unless that is hopeless."""
    child = seen.child
    fruitless = _fruitless(child, snapshot)
    if child and child.failure and child.failure[0] == POD_FAILURE_POLICY:
        message = seen.misconfigured or child.failure[1]
        return Plan((*actions, FailRun(Reason.WORKER_MISCONFIGURED, message)), again_seconds=0)
    if child and fruitless >= MAX_FRUITLESS_JOBS:
        return Plan((*actions, AbandonRun(_hopeless(child, seen.pods))), again_seconds=0)
    index = next_index(seen)
    manifest = build_job(
        seen.job,
        settings.pods,
        epoch=snapshot.epoch,
        index=index,
        slots=Slots(slots_of(seen), kueue_of(seen)),
        history=History(finished(snapshot.counts), fruitless),
        parent=parent_results(seen),
    )
    status = build_status(
        replace(seen, child=None), _standing(seen, snapshot), store_epoch=snapshot.epoch, jobs_created=index + 1
    )
    return told(seen, Plan((*actions, CreateJob(manifest)), status))


def _fruitless(child: ChildJob | None, snapshot: Snapshot) -> int:
    """How many Jobs in a row finished nothing; one that somebody deleted does not count."""
    if child is None or finished(snapshot.counts) > child.finished_before:
        return 0
    return child.fruitless_before + 1


def _hopeless(child: ChildJob, trouble: Trouble | None) -> str:
    why = trouble.message if trouble else child.failure[1] if child.failure else ""
    said = f" The last one: {why}" if why else ""
    return (
        f"{MAX_FRUITLESS_JOBS} Jobs in a row ended without finishing an item.{said} "
        f"See the logs of the pods of Job {child.name}."
    )


def _cancel(seen: Observed) -> Plan:
    if seen.snapshot is not None:
        return Plan((CancelRun(),), again_seconds=0)
    verdict = Verdict(Phase.CANCELLED, Reason.CANCELLED, "spec.cancel is true.")
    return plan_end(seen, verdict, stop=True)


def _without_store(seen: Observed, silent_seconds: float) -> Plan:
    old = seen.job.status
    if seen.job.spec.suspend and seen.child and not seen.child.ended:
        return _keep_suspended(seen, seen.child)
    message = (
        "The store (Redis) does not answer. Nothing is lost, and the run goes on when it does; if it stays away, tell "
        "those who run BatchJob here."
    )
    if old is None:
        verdict = Verdict(Phase.PENDING, Reason.STORE_UNAVAILABLE, message)
        return Plan(status=build_status(seen, verdict), back_off=True)
    status = say_store_is_silent(old, message) if silent_seconds >= SILENCE_SECONDS else old
    return Plan(status=None if status == old else status, back_off=True)


def _keep_suspended(seen: Observed, child: ChildJob) -> Plan:
    """A pause needs no store: the pods go, and what they held comes back when their leases are over."""
    actions = delete_job(child) if child.kueue else tuple(_slots(child, child.parallelism, suspend=True))
    return replace(plan_wait(seen, suspended(), back_off=True), actions=actions)
