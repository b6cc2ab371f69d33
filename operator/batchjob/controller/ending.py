"""The end of a run: how it went, in one sentence, and what is left to tidy up. Pure."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from batchjob.api.policies import SuccessPolicy
from batchjob.api.status import BatchJobStatus, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.actions import Action, DeleteJob, Dismiss, Plan
from batchjob.controller.manifests import secret_name
from batchjob.controller.observed import ChildJob, Ended, Observed
from batchjob.controller.record import build_record
from batchjob.controller.status import Verdict, build_status, format_time, told
from batchjob.core.items import RunState
from batchjob.core.progress import is_success
from batchjob.core.reasons import Reason
from batchjob.core.retention import keep_results
from batchjob.core.snapshot import Snapshot

WHOLE: Final = 100  # percent
SURELY_DISMISSED_SECONDS: Final = 600.0  # longer than store and operator take to come back: a new leader asks for less


def judge(snapshot: Snapshot, policy: SuccessPolicy | None = None) -> Verdict:
    """How a run went that has ended in the store."""
    verdict = _judge(snapshot, policy or SuccessPolicy())
    if not snapshot.missing_results:
        return verdict
    lost = f"The store lost the results of {_items(snapshot.missing_results)} that are done."
    return replace(verdict, message=f"{verdict.message.rstrip('.')}. {lost}")


def _judge(snapshot: Snapshot, policy: SuccessPolicy) -> Verdict:
    if snapshot.state is RunState.CANCELLED:
        done = snapshot.counts.succeeded + snapshot.counts.failed
        message = f"spec.cancel is true; {done} of {_items(snapshot.counts.total)} finished."
        return Verdict(Phase.CANCELLED, Reason.CANCELLED, message)
    if snapshot.state is RunState.FAILED or snapshot.reason:
        message = snapshot.message or "The workers could not go on and did not say why. See their logs."
        if snapshot.counts.failed and snapshot.state is RunState.CLOSED:
            message = f"{message} {failure_message(snapshot)}"
        return Verdict(Phase.FAILED, _reason(snapshot.reason), message, stalled=True)
    if snapshot.counts.failed:
        return _with_failures(snapshot, policy)
    cancelled = f", {snapshot.counts.cancelled} cancelled" if snapshot.counts.cancelled else ""
    message = f"{_items(snapshot.counts.succeeded)} succeeded{cancelled}."
    if not snapshot.counts.total:
        message = "The source had no items."
    if snapshot.bad_items:
        message += f" Records that were left out: {snapshot.bad_items}. status.source says which."
    return Verdict(Phase.SUCCEEDED, Reason.SUCCEEDED, message)


def failure_message(snapshot: Snapshot) -> str:
    """`2 of 30 items failed: upstream 2. Last: i7: connection refused`."""
    counts, errors = snapshot.counts, snapshot.last_errors
    text = f"{counts.failed} of {_items(counts.total)} failed"
    if not errors:
        return f"{text}."
    classes = Counter(error.error_class for error in errors).most_common()
    which = ", ".join(f"{name} {number}" for name, number in classes)
    among = "" if counts.failed <= len(errors) else f"of the last {len(errors)}: "
    return f"{text}: {among}{which}. Last: {errors[0].item_id}: {errors[0].message}"


def _with_failures(snapshot: Snapshot, policy: SuccessPolicy) -> Verdict:
    message = failure_message(snapshot)
    asked = policy.min_succeeded_percent
    if is_success(snapshot.counts, policy):
        message = (
            f"{_items(snapshot.counts.succeeded)} succeeded, which is enough: spec.successPolicy asks for {asked}%. "
            f"{message}"
        )
        return Verdict(Phase.SUCCEEDED, Reason.SUCCEEDED, message)
    if asked < WHOLE:
        message = f"{message.rstrip('.')}. spec.successPolicy asks for {asked}% to succeed."
    return Verdict(Phase.FAILED, Reason.ITEMS_FAILED, message, stalled=True)


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def plan_end(seen: Observed, verdict: Verdict, *, stop: bool = False) -> Plan:
    """Write the final status; with `stop`, the Job goes at once instead of leaving by itself."""
    status = build_status(seen, verdict, **_as_it_ended(seen))
    actions = delete_job(seen.child) if stop else ()
    record = build_record(seen, status, verdict.reason)
    return told(seen, Plan(actions, status, record=record, again_seconds=0))


def _as_it_ended(seen: Observed) -> dict[str, Any]:
    """What an earlier status would have said of a run that ended before that was written, and where all items ended."""
    old, found = seen.job.status or BatchJobStatus(), dict[str, Any]()
    if seen.snapshot is not None:
        found["store_epoch"] = seen.snapshot.epoch
    else:  # the store lost it: nobody but us says what becomes of the items that were left
        counts = old.counts
        left = counts.waiting + counts.delayed + counts.active
        change = {"waiting": 0, "delayed": 0, "active": 0, "cancelled": counts.cancelled + left}
        found["counts"] = counts.model_copy(update=change)
    if seen.child is not None:
        found["jobs_created"] = max(old.jobs_created, seen.child.index + 1)
        found["start_time"] = old.start_time or format_time(seen.began)
    return found


def plan_edited(job: BatchJob, now: datetime) -> Plan:
    """The spec of an ended BatchJob was edited: say that we saw it; only how long its results are kept follows."""
    generation = job.metadata.generation
    if job.status is None or job.status.observed_generation == generation:
        return Plan()
    status = keep_results(job.status, job.spec.retention, now)
    return Plan(status=status.model_copy(update={"observed_generation": generation}), again_seconds=0)


def plan_ended(ended: Ended, linger_seconds: float) -> Plan:
    """What is left to do for a BatchJob that has ended: nothing, once its workers are gone.

    They leave by themselves when they hear of the end; a slot that never got a pod does not. So a Job that has not
    ended goes after `linger_seconds`, and where the Job was deleted, what its pods need stays for so long.
    """
    child = ended.child
    if child and not child.ended:
        if ended.seconds >= linger_seconds:  # as we know it: it may have ended since, and then stays for its logs
            return Plan((DeleteJob(child.name, child.uid, child.version),))
        return Plan(again_seconds=linger_seconds - ended.seconds)
    # That the store has no user tells nothing of the Secret: at a restart it forgets the one and not the other.
    has_left = ended.dismissed or ended.seconds >= linger_seconds + SURELY_DISMISSED_SECONDS
    if has_left and not ended.has_user:
        return Plan()
    if child is None and ended.seconds < linger_seconds:  # deleted, and its pods may not have heard of the end yet
        return Plan(again_seconds=linger_seconds - ended.seconds)
    return Plan((Dismiss(secret_name(ended.name, ended.uid)),))


def delete_job(child: ChildJob | None) -> tuple[Action, ...]:
    """Delete the Job if it still runs; an ended one stays for its logs."""
    return (DeleteJob(child.name, child.uid),) if child and not child.ended else ()


def _reason(said: str | None) -> Reason:
    # A worker runs in a user's image: it may say a reason that does not exist.
    return Reason(said) if said in set(Reason) else Reason.WORKERS_FAILED
