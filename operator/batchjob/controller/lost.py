"""What is said while the store is silent, and the plan for a run that it has lost: does it begin again? Pure."""

from dataclasses import replace

from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.actions import Note, Plan
from batchjob.controller.begin import PlanSettings, plan_start, plan_wait, waits_for_queue
from batchjob.controller.ending import delete_job, plan_end
from batchjob.controller.observed import Observed
from batchjob.controller.policies import held_before, is_undecided
from batchjob.controller.status import Verdict
from batchjob.core.items import Before
from batchjob.core.progress import finished
from batchjob.core.ranges import Ranges
from batchjob.core.reasons import Reason


def known_epochs(seen: Observed) -> set[str]:
    """The epochs in which the run was started; empty if it was not.

    The Job's may be ahead of the status: a crash kept that from being written.
    """
    written = seen.job.status.store_epoch if seen.job.status else None
    return {epoch for epoch in (written, seen.child.epoch if seen.child else None) if epoch}


def plan_rebuild(seen: Observed, settings: PlanSettings) -> Plan:
    """The store has forgotten the run, or knows it in another epoch."""
    old_job = delete_job(seen.child)
    seen = replace(seen, certain=None)  # what the store has now is another run's
    if seen.job.spec.report:  # made again it would take the place of the right one, and say that nothing was done
        return plan_end(replace(seen, snapshot=None), _no_report(), stop=True)
    before = _before(seen.job)
    again = _what_runs_again(seen.job, before)
    if may_not_repeat(seen.job):
        return replace(plan_wait(replace(seen, snapshot=None), _held(seen.job)), actions=old_job)
    if held := held_before(seen.job):
        return replace(plan_wait(replace(seen, snapshot=None), held), actions=old_job)
    if seen.job.spec.suspend:
        message = f"spec.suspend is true. The store lost this run: {again} again once it is false."
        verdict = Verdict(Phase.SUSPENDED, Reason.SUSPENDED_BY_USER, message)
        return replace(plan_wait(seen, verdict), actions=old_job)
    if waits := waits_for_queue(seen):
        return replace(plan_wait(seen, waits), actions=old_job)
    plan = plan_start(seen, settings, before)
    lost = " ".join(sorted(known_epochs(seen)))
    note = Note("Warning", Reason.STORE_LOST, f"The store lost this run: {again} again.", lost)
    return replace(plan, actions=old_job + plan.actions, notes=(*plan.notes, note))


def say_store_is_silent(old: BatchJobStatus, message: str) -> BatchJobStatus:
    """The status as it was, but for what Reconciling says; no condition changes its status, so no phase flaps."""
    words = {"reason": Reason.STORE_UNAVAILABLE, "message": message}
    conditions = [
        condition.model_copy(update=words) if condition.type == ConditionType.RECONCILING else condition
        for condition in old.conditions
    ]
    return old.model_copy(update={"conditions": conditions})


def _what_runs_again(job: BatchJob, before: Before) -> str:
    if before.done:
        return "all items but those that are certain run"
    place = " without a result at spec.results.destination" if job.spec.has_destination else ""
    return f"every item{place} runs"


def may_not_repeat(job: BatchJob) -> bool:
    """Whether effects could be repeated, and nobody has said since the loss that the run shall go on."""
    return job.spec.has_effects_outside and is_undecided(job)


def _held(job: BatchJob) -> Verdict:
    total = job.status.counts.total if job.status else 0
    certain = len(Ranges(job.status.checkpoint)) if job.status else 0
    known = f"{certain} of {total} items are certain to be done; any of the other {total - certain}"
    if not total:
        known = f"Its source was not read to the end. {certain} items are certain to be done; any of the others"
    unless = " unless they were at spec.results.destination by then" if job.spec.has_destination else ""
    message = (
        f"The store lost this run. {known} may have had its effect in the last seconds before. Set spec.resumeToken to "
        "any new text to go on with all that are not certain, or spec.cancel to end it. Results of those that are "
        f"certain are lost{unless}."
    )
    return Verdict(Phase.SUSPENDED, Reason.STORE_LOST, message, stalled=True)


def _no_report() -> Verdict:
    message = (
        "The store lost this report, and with it what is remembered of the BatchJobs that it is about. Create it again "
        "to have one of those that ended since."
    )
    return Verdict(Phase.FAILED, Reason.STORE_LOST, message, stalled=True)


def _before(job: BatchJob) -> Before:
    """What the status still knows of a run that the store has lost."""
    status = job.status or BatchJobStatus()
    done = status.checkpoint if job.spec.has_effects_outside else ""
    sha256 = (status.source.sha256 if status.source and done else None) or ""  # where all runs again, all may change
    certain = len(Ranges(done))
    cancelled = min(status.counts.cancelled, certain)
    repeats = status.counts.retried_after_loss + max(0, finished(status.counts) - certain)
    return Before(done, cancelled, repeats, sha256)
