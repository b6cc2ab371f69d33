"""The decision: from what was observed to what is done. Pure, a function of `Observed` and the settings.

    Pending ──► Queued ──► Running ──► Finalizing ──► Succeeded
       │           │        ▲   │          │
       └───────────┴────────┼───┴──────────┴────────► Failed, Cancelled (from anywhere)
                            ▼
                        Suspended

Level, not edge: each look decides from what is, so a crash after any step of a plan only repeats steps that are
already done. Pods are started before the bookkeeping; the status comes last, and an Event after it.
"""

from dataclasses import replace
from typing import Final

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.api.v1alpha1 import BatchJob, JobType
from batchjob.controller.actions import (
    AbandonRun,
    Action,
    Admit,
    CancelRun,
    CreateJob,
    FailRun,
    Note,
    PauseRun,
    Plan,
    ResumeRun,
    SetBreaker,
    SetSlots,
)
from batchjob.controller.begin import (
    PlanSettings,
    build_run,
    next_index,
    plan_begin,
    plan_start,
    plan_wait,
    stalled,
    suspended,
)
from batchjob.controller.ending import ENDED, delete_job, judge, plan_edited, plan_end
from batchjob.controller.manifests import build_job
from batchjob.controller.observed import MAX_FRUITLESS_JOBS, ChildJob, Observed, Trouble
from batchjob.controller.policies import held_before, hold, in_time, plan_overdue, plan_trip
from batchjob.controller.status import (
    Pace,
    Verdict,
    build_status,
    format_time,
    is_worth_writing,
    say_store_is_silent,
    told,
)
from batchjob.core.breaker import breaker_of
from batchjob.core.items import Before, RunState
from batchjob.core.phases import is_terminal
from batchjob.core.progress import finished
from batchjob.core.ranges import Ranges
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import Snapshot

SILENCE_SECONDS: Final = 30.0  # a restart of the store is over by then; longer is worth saying
# Where items have effects outside, running them again may do harm: that is never decided here.
EFFECTS_OUTSIDE: Final = frozenset({JobType.EMAIL, JobType.CUSTOM})
STARTED: Final = frozenset({Phase.RUNNING, Phase.FINALIZING, Phase.SUSPENDED})
CUT_SHORT: Final = frozenset({Reason.DEADLINE_EXCEEDED, Reason.FAILURE_THRESHOLD})  # pods go at once
POD_FAILURE_POLICY: Final = "PodFailurePolicy"  # Kubernetes' reason; our only rule that fails a Job is exit 64


def make_plan(seen: Observed, settings: PlanSettings) -> Plan:
    """What to do about a BatchJob now."""
    job = seen.job
    if job.metadata.deletion_timestamp is not None:
        return Plan()  # in foreground deletion the children go first; making new ones would never end
    if is_terminal(job.status):
        return plan_edited(job, seen.now)
    if seen.store_silent_seconds is not None:
        return _without_store(seen, seen.store_silent_seconds)
    if seen.damage is not None and not job.spec.cancel:
        trouble = Trouble(Reason.STORE_DAMAGED, f"{seen.damage}. Cancel it, and create it again.")
        return plan_obstructed(seen, trouble, settings.pace)
    return in_time(seen, _plan_run(seen, settings))


def _plan_run(seen: Observed, settings: PlanSettings) -> Plan:
    job, snapshot = seen.job, seen.snapshot
    if snapshot and snapshot.state in ENDED:
        verdict = judge(snapshot, job.spec.success_policy)
        return plan_end(seen, verdict, stop=snapshot.state is RunState.CANCELLED or verdict.reason in CUT_SHORT)
    if job.spec.cancel:
        return _cancel(seen)
    epochs = _known_epochs(seen)
    if not epochs:
        return plan_begin(seen, settings)
    if overdue := plan_overdue(seen):
        return overdue
    if snapshot is None or snapshot.epoch not in epochs:
        return _rebuild(seen, settings)
    return _drive(seen, snapshot, settings)


def _known_epochs(seen: Observed) -> set[str]:
    """The epochs in which the run was started; empty if it was not.

    The Job's may be ahead of the status: a crash kept that from being written.
    """
    written = seen.job.status.store_epoch if seen.job.status else None
    return {epoch for epoch in (written, seen.child.epoch if seen.child else None) if epoch}


def _drive(seen: Observed, snapshot: Snapshot, settings: PlanSettings) -> Plan:
    """A run that the store knows and that has not ended."""
    if snapshot.abandoned:
        return Plan((AbandonRun(snapshot.message or ""),), again_seconds=0)
    if ending := plan_trip(seen, snapshot, settings.pods.grace_seconds):
        return ending
    suspend = seen.job.spec.suspend or hold(seen.job, snapshot) is not None
    actions: list[Action] = [] if seen.admitted else [Admit(build_run(seen, snapshot.epoch))]
    if snapshot.breaker != (breaker := breaker_of(seen.job.spec.failure_policy)):
        actions.append(SetBreaker(breaker))
    if snapshot.paused != suspend:
        actions.append(PauseRun() if suspend else ResumeRun(seen.job.spec.resume_token if snapshot.tripped else None))
    if seen.child and not seen.child.ended:
        actions += _slots(seen.child, seen.job, suspend=suspend)
    elif not suspend:
        return _replace_job(seen, snapshot, settings, actions)
    return _keep(seen, snapshot, actions, settings)


def _keep(seen: Observed, snapshot: Snapshot, actions: list[Action], settings: PlanSettings) -> Plan:
    """Go on with what there is; write the status if that is worth it now, else look again when it may be."""
    old, verdict, held = seen.job.status, _standing(seen, snapshot), hold(seen.job, snapshot)
    is_tripped = snapshot.tripped and (held or seen.job.spec.suspend)  # and nothing lets it go on yet
    start = (old.start_time if old else None) or format_time(seen.now)
    status = build_status(
        seen,
        verdict,
        store_epoch=snapshot.epoch,
        jobs_created=next_index(seen),
        start_time=start,
        # One that came while the run is held or suspended is not used up by being seen.
        resume_token=old.resume_token if old and is_tripped else seen.job.spec.resume_token,
    )
    again: list[float] = []
    plan = Plan(tuple(actions))
    if is_worth_writing(old, status, seen.since_write_seconds, settings.pace):
        plan = told(seen, replace(plan, status=status))
    elif old and status.counts != old.counts:
        again.append(settings.pace.next_seconds(seen.since_write_seconds))
    if seen.child and seen.child.is_starting:
        again.append(seen.child.next_check_seconds)
    return replace(plan, again_seconds=min(again, default=None), back_off=verdict.stalled and not held)


def _standing(seen: Observed, snapshot: Snapshot) -> Verdict:
    if seen.job.spec.suspend:
        return suspended()
    if held := hold(seen.job, snapshot):
        return held
    phase = Phase.FINALIZING if snapshot.state is RunState.SEALING else Phase.RUNNING
    if trouble := seen.missing or seen.pods:
        return stalled(phase, trouble)
    if snapshot.load_error:
        _, message = snapshot.load_error
        return stalled(phase, Trouble(Reason.SOURCE_UNREACHABLE, message))
    if phase is Phase.FINALIZING:
        return Verdict(phase, Reason.FINALIZING)
    return Verdict(phase, Reason.LOADING if snapshot.state is RunState.LOADING else Reason.RUNNING)


def _slots(child: ChildJob, job: BatchJob, *, suspend: bool) -> list[Action]:
    parallelism = job.spec.parallelism if child.parallelism != job.spec.parallelism else None
    if parallelism is None and child.suspended == suspend:
        return []
    return [SetSlots(child.name, parallelism, suspend if child.suspended != suspend else None)]


def _replace_job(seen: Observed, snapshot: Snapshot, settings: PlanSettings, actions: list[Action]) -> Plan:
    """The Job ended, or was deleted, with items left: another one goes on, unless that is hopeless."""
    child = seen.child
    fruitless = _fruitless(child, snapshot)
    if child and child.failure and child.failure[0] == POD_FAILURE_POLICY:
        message = seen.misconfigured or child.failure[1]
        return Plan((*actions, FailRun(Reason.WORKER_MISCONFIGURED, message)), again_seconds=0)
    if child and fruitless >= MAX_FRUITLESS_JOBS:
        return Plan((*actions, AbandonRun(_hopeless(child))), again_seconds=0)
    index = next_index(seen)
    manifest = build_job(
        seen.job,
        settings.pods,
        epoch=snapshot.epoch,
        index=index,
        finished=finished(snapshot.counts),
        fruitless=fruitless,
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


def _hopeless(child: ChildJob) -> str:
    said = f" The last one: {child.failure[1]}" if child.failure else ""
    return (
        f"{MAX_FRUITLESS_JOBS} Jobs in a row ended without finishing an item.{said} "
        f"See the logs of the pods of Job {child.name}."
    )


def _rebuild(seen: Observed, settings: PlanSettings) -> Plan:
    """The store has forgotten the run, or knows it in another epoch."""
    old_job = delete_job(seen.child)
    seen = replace(seen, certain=None)  # what the store has now is another run's
    before = _before(seen.job)
    again = "all items but those that are certain run" if before.done else "every item runs"
    if _is_undecided(seen.job):
        return replace(plan_wait(replace(seen, snapshot=None), _held(seen.job)), actions=old_job)
    if held := held_before(seen.job):
        return replace(plan_wait(replace(seen, snapshot=None), held), actions=old_job)
    if seen.job.spec.suspend:
        message = f"spec.suspend is true. The store lost this run: {again} again once it is false."
        verdict = Verdict(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message)
        return replace(plan_wait(seen, verdict), actions=old_job)
    plan = plan_start(seen, settings, before)
    note = Note("Warning", Reason.STORE_LOST, f"The store lost this run: {again} again.", format_time(seen.now))
    return replace(plan, actions=old_job + plan.actions, notes=(*plan.notes, note))


def _is_undecided(job: BatchJob) -> bool:
    """Whether effects could be repeated, and nobody has said since the loss that the run shall go on."""
    seen_token = job.status.resume_token if job.status else None
    return job.spec.type in EFFECTS_OUTSIDE and job.spec.resume_token in (None, seen_token)


def _held(job: BatchJob) -> Verdict:
    total = job.status.counts.total if job.status else 0
    certain = len(Ranges(job.status.checkpoint)) if job.status else 0
    message = (
        f"The store lost this run. {certain} of {total} items are certain to be done; any of the other "
        f"{total - certain} may have had its effect in the last seconds before. Set spec.resumeToken to any new text "
        "to go on with all that are not certain, or spec.cancel to end it."
    )
    return Verdict(Phase.SUSPENDED, Reason.STORE_LOST, message, stalled=True)


def _before(job: BatchJob) -> Before:
    """What the status still knows of a run that the store has lost."""
    status = job.status or BatchJobStatus()
    done = status.checkpoint if job.spec.type in EFFECTS_OUTSIDE else ""
    sha256 = (status.source.sha256 if status.source and done else None) or ""  # where all runs again, all may change
    certain = len(Ranges(done))
    cancelled = min(status.counts.cancelled, certain)
    repeats = status.counts.retried_after_loss + max(0, finished(status.counts) - certain)
    return Before(done, cancelled, repeats, sha256)


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
    return replace(plan_wait(seen, suspended(), back_off=True), actions=tuple(_slots(child, seen.job, suspend=True)))


def plan_obstructed(seen: Observed, trouble: Trouble, pace: Pace) -> Plan:
    """Something that is not ours to change is in the way: say what, and try again."""
    old = seen.job.status
    phase = old.phase if old and old.phase in STARTED else Phase.PENDING
    status = build_status(seen, stalled(phase, trouble))
    plan = Plan(status=status) if is_worth_writing(old, status, seen.since_write_seconds, pace) else Plan()
    return replace(told(seen, plan), back_off=True)
