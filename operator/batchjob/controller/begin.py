"""The plan until a run has its first Job: is the spec possible, is everything there that it names, then start. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from batchjob.api.run import ParentResults, Run
from batchjob.api.source import MAX_INLINE_BYTES
from batchjob.api.status import Counts, Phase
from batchjob.api.v1alpha1 import TRACEPARENT, BatchJob, JobType
from batchjob.controller.actions import Admit, CreateJob, OpenRun, Plan, PrepareReport, SetBreaker
from batchjob.controller.ending import plan_end
from batchjob.controller.light import Inline
from batchjob.controller.manifests import PodSettings, Slots, build_job
from batchjob.controller.observed import Observed, Parent, Trouble
from batchjob.controller.queueing import held_slots, refused_by_queue, source_limits
from batchjob.controller.reporting import refused_report, why_no_report
from batchjob.controller.status import Pace, Verdict, build_status, format_time, says_more, told
from batchjob.core.admission import Place
from batchjob.core.breaker import breaker_of
from batchjob.core.figures import wanted_of
from batchjob.core.items import Before, RunRules
from batchjob.core.phases import TERMINAL
from batchjob.core.progress import format_percent, format_progress
from batchjob.core.reasons import Reason
from batchjob.core.trace_context import read_traceparent

BEGINNING: Final = frozenset({Phase.QUEUED, Phase.RUNNING, Phase.FINALIZING})


@dataclass(frozen=True)
class PlanSettings:
    """What the installation says."""

    pods: PodSettings
    pace: Pace
    results_limit_bytes: int  # of a run, in the store
    linger_seconds: float  # what workers need stays for so long after the end of a run
    reports_on_all: bool = False  # whether admission checks who may have a report on all BatchJobs


def plan_begin(seen: Observed, settings: PlanSettings) -> Plan:
    """Start the run, or say what it waits for."""
    if reason := is_impossible(seen):
        return plan_end(seen, Verdict(Phase.FAILED, Reason.INVALID_SPEC, reason, stalled=True))
    verdict = refused_report(seen.job, on_all=settings.reports_on_all) or not_yet(seen) or waits_for_queue(seen)
    if verdict is None:
        return plan_start(seen, settings)
    if verdict.phase in TERMINAL:
        return plan_end(seen, verdict)
    plan = plan_wait(seen, verdict, back_off=verdict.stalled)
    return replace(plan, again_seconds=_too_early_seconds(seen) or None)


def is_impossible(seen: Observed) -> str | None:
    """Why it can never run."""
    return _too_large(seen.inline) or _unreadable(seen) or why_no_report(seen.job)


def not_yet(seen: Observed) -> Verdict | None:
    """What the start waits for, apart from its turn in the queue; None if nothing."""
    spec = seen.job.spec
    if spec.suspend:
        return suspended()
    if _too_early_seconds(seen):
        return Verdict(Phase.QUEUED, Reason.START_AFTER, f"Waits until {spec.start_after}.")
    if seen.previous:
        message = f"Waits until BatchJob {seen.previous}, an earlier run of its BatchSchedule, has ended."
        return Verdict(Phase.QUEUED, Reason.PREVIOUS_RUN_ACTIVE, message)
    if seen.missing:
        return stalled(Phase.PENDING, seen.missing)
    if trouble := refused_by_queue(seen):
        return stalled(Phase.PENDING, trouble)
    return _dependency(seen) if spec.source.parent else None


def waits_for_queue(seen: Observed) -> Verdict | None:
    """Whether its turn is still to come."""
    if seen.place and seen.place.workers:
        return None
    if seen.queue is None and (trouble := refused_by_queue(seen)):
        return Verdict(Phase.QUEUED, trouble.reason, trouble.message)
    place = seen.place or Place(0, Reason.CONCURRENCY_LIMIT, "Waits for its queue.")
    return Verdict(Phase.QUEUED, place.reason or Reason.CONCURRENCY_LIMIT, place.message)


def plan_start(seen: Observed, settings: PlanSettings, before: Before | None = None) -> Plan:
    """Make the run and its next Job: the first one, or the first of another epoch, after `before`."""
    job, old = seen.job, seen.job.status
    epoch = seen.snapshot.epoch if seen.snapshot else seen.fresh_epoch
    index = next_index(seen)
    slots = Slots(slots_of(seen), kueue_of(seen))
    breaker = breaker_of(job.spec)
    actions = (
        # What a lost store knew is matched with the whole source, so only a run without a past starts early.
        OpenRun(
            epoch,
            seen.in_force.max_losses,
            before or Before(),
            RunRules(
                job.spec.has_destination,
                settings.results_limit_bytes,
                early=before is None and job.spec.source.starts_early,
            ),
        ),
        *([PrepareReport(wanted)] if (wanted := wanted_of(job, seen.now)) else ()),
        *([SetBreaker(breaker)] if breaker else ()),
        Admit(build_run(seen, epoch)),
        CreateJob(build_job(job, settings.pods, epoch=epoch, index=index, slots=slots, parent=parent_results(seen))),
    )
    status = build_status(
        replace(seen, child=None),
        waits_for_kueue(seen) or Verdict(Phase.RUNNING, Reason.LOADING),
        store_epoch=epoch,
        resume_token=job.spec.resume_token,
        jobs_created=index + 1,
        progress=format_progress(Counts(), None),
        percent=format_percent(Counts(), None),
        start_time=(old.start_time if old else None) or format_time(seen.now),
    )
    return told(seen, Plan(actions, status))


def may_wait(job: BatchJob, plan: Plan) -> bool:
    """Whether the status may be left to a later look, which finds all of it out again, as after a crash.

    Only how a run begins: not where a clock or a token counts from there, nor where a parent has to know its readers.
    """
    old, new, spec = job.status, plan.status, job.spec
    if new is None or plan.notes or new.phase not in BEGINNING or new.jobs_created > 1 or (old and old.store_epoch):
        return False
    return spec.active_deadline_seconds is None and spec.resume_token is None and spec.source.parent is None


def build_run(seen: Observed, epoch: str) -> Run:
    """What the pods are told."""
    job = seen.job
    # Asked again for a run that has begun: somebody else may have made another BatchJob of that name since.
    parent = seen.parent if seen.parent and seen.parent.owner == job.spec.owner else None
    traceparent = read_traceparent((job.metadata.annotations or {}).get(TRACEPARENT))
    return Run(
        uid=job.metadata.uid,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        epoch=epoch,
        spec=job.spec,
        effective=seen.in_force,
        limits=source_limits(seen),
        rate_limits=seen.queue.rate_limits if seen.queue else [],
        traceparent=traceparent.traceparent if traceparent else None,
        parent_uid=parent.uid if parent else None,
        parent_results=parent_results(seen) if parent else None,
    )


def kueue_of(seen: Observed) -> str | None:
    """The LocalQueue whose Kueue is to admit the pods of the next Job; None: nobody but us."""
    return seen.queue.kueue.queue_name if seen.queue and seen.queue.kueue else None


def waits_for_kueue(seen: Observed) -> Verdict | None:
    """Whether Kueue has not let the Job's pods start, or has taken them back."""
    child = seen.child
    name = child.kueue if child and not child.ended else kueue_of(seen)
    if name is None or (child and (child.ended or not child.suspended)):
        return None
    message = f"Waits until Kueue admits the Job in LocalQueue {name}."
    return Verdict(Phase.QUEUED, Reason.WAITING_FOR_QUOTA, message)


def slots_of(seen: Observed) -> int:
    """Pods that it may have now; as many as there are where its queue was not asked."""
    if seen.place is not None:
        return seen.place.workers
    if seen.queue is None:  # while its queue is away what runs goes on, and nothing starts
        return held_slots(seen.child)
    return seen.child.parallelism if seen.child else seen.job.spec.parallelism


def parent_results(seen: Observed) -> ParentResults | None:
    """Where the results are that the run reads, if not in the store."""
    return seen.parent.results if seen.parent and seen.job.spec.source.results_of else None


def next_index(seen: Observed) -> int:
    """The number of the next Job, from 0."""
    created = seen.job.status.jobs_created if seen.job.status else 0
    return max(created, seen.child.index + 1 if seen.child else 0)


def suspended() -> Verdict:
    """Paused by the user."""
    message = "spec.suspend is true. Set it to false to go on: nothing is lost and no attempt is spent."
    return Verdict(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message)


def stalled(phase: Phase, trouble: Trouble) -> Verdict:
    """Somebody has to do something."""
    return Verdict(phase, trouble.reason, trouble.message, stalled=True)


def plan_wait(seen: Observed, verdict: Verdict, *, back_off: bool = False) -> Plan:
    """Nothing to do until something changes; `back_off` where no event will tell."""
    status = build_status(seen, verdict)
    plan = Plan(status=status) if says_more(seen.job.status, status) else Plan()
    return replace(told(seen, plan), back_off=back_off)


def _too_large(inline: Inline) -> str | None:
    if inline.size_bytes <= MAX_INLINE_BYTES:
        return None
    return (
        f"spec.source.items has {inline.size_bytes} bytes and may have {MAX_INLINE_BYTES}. Put the items into a file: "
        "spec.source.configMapRef or spec.source.uri."
    )


def _unreadable(seen: Observed) -> str | None:
    """Why what is read of another BatchJob will never be there."""
    source = seen.job.spec.source
    field = f"spec.source.{source.parent_field}.batchJobName"
    if seen.circle:
        way = " → ".join([*seen.circle, seen.circle[0]])
        return f"{field}: each of these waits for the next: {way}. Name another BatchJob."
    if source.results_of and seen.parent and seen.parent.type == JobType.EXPORT:
        return (
            f"{field} names a BatchJob of type export: its results are files, not items. Read the same source as it, "
            "or its files by spec.source.uri."
        )
    return None


def _too_early_seconds(seen: Observed) -> float:
    after = seen.job.spec.start_after
    return max(0.0, (datetime.fromisoformat(after) - seen.now).total_seconds()) if after else 0.0


def _dependency(seen: Observed) -> Verdict | None:
    """Why the BatchJob that is the source cannot be read yet; None if it can."""
    source = seen.job.spec.source
    name = source.parent
    if seen.parent is None:
        message = f"spec.source.{source.parent_field}: there is no BatchJob {name} in this namespace. Create it."
        return stalled(Phase.PENDING, Trouble(Reason.BATCH_JOB_NOT_FOUND, message))
    if seen.parent.owner != seen.job.spec.owner:
        return stalled(Phase.PENDING, _not_allowed(seen.job, seen.parent.owner))
    if seen.parent.complete or (source.redrive_of and seen.parent.ended):
        return _expired(seen.parent, f"spec.source.{source.parent_field}: BatchJob {name}")
    if source.redrive_of:
        return Verdict(Phase.QUEUED, Reason.DEPENDENCY_NOT_MET, f"Waits until BatchJob {name} has ended.")
    if seen.parent.ended:
        message = (
            f"spec.source.resultsOf: BatchJob {name} ended without being Complete. See why, run it again under "
            "another name, and create this one again with that name."
        )
        return Verdict(Phase.FAILED, Reason.DEPENDENCY_FAILED, message, stalled=True)
    return Verdict(Phase.QUEUED, Reason.DEPENDENCY_NOT_MET, f"Waits until BatchJob {name} is Complete.")


def _not_allowed(job: BatchJob, other: str | None) -> Trouble:
    source = job.spec.source
    message = (
        f"spec.source.{source.parent_field}: BatchJob {source.parent} belongs to {other or 'nobody'} and this one to "
        f"{job.spec.owner or 'nobody'}: only a BatchJob of the same owner may read it. Create this one again with the "
        "same spec.owner as that one."
    )
    return Trouble(Reason.NOT_ALLOWED, message)


def _expired(parent: Parent, which: str) -> Verdict | None:
    """That it can be read no more; None if it can."""
    if parent.expired is None:
        return None
    message = (
        f"{which} ended too long ago: what the store had of it was removed at {parent.expired} (spec.retention there). "
        "Delete it and create it again: once it has run, this one goes on."
    )
    return stalled(Phase.PENDING, Trouble(Reason.RESULTS_EXPIRED, message))
