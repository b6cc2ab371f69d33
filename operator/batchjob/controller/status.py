"""The status of a BatchJob from what was observed and what the plan decided. Pure.

Conditions follow the table of `core.phases`; a condition keeps its transition time until its status changes. Counts
come from one snapshot of the store, so they conserve; where there is none, what was known stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from batchjob.api.status import (
    BatchJobStatus,
    Condition,
    ConditionType,
    ItemError,
    JobReference,
    Phase,
    ResultsStatus,
    SourceStatus,
)
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.controller.actions import Note, Plan
from batchjob.controller.manifests import UID_LABEL
from batchjob.controller.notes import notes_of
from batchjob.controller.notify.notices import dropped, with_notices
from batchjob.controller.observed import Observed
from batchjob.core.admission import is_news
from batchjob.core.cost import with_cost
from batchjob.core.deadline import COUNTED, active_seconds
from batchjob.core.phases import CONDITIONS, TERMINAL
from batchjob.core.progress import (
    finished,
    format_duration,
    format_percent,
    format_progress,
    format_rate,
    reckoned,
)
from batchjob.core.ranges import format_pairs, format_positions
from batchjob.core.reasons import Reason
from batchjob.core.retention import expiring
from batchjob.core.snapshot import LastError, Snapshot

MESSAGE_LIMIT: Final = 2048  # of a condition
TEXT_LIMIT: Final = 256  # of an item's error
USAGE_LIMIT: Final = 16  # names of status.usage
CHECKPOINT_LIMIT: Final = 8192  # characters of status.checkpoint
BAD_ITEMS_SHOWN: Final = 10  # messages of status.source.badItemMessages

CLOCKS: Final = frozenset({"duration", "estimated_start_time", "estimated_completion_time"})  # never worth a write
POSITION_SECONDS: Final = 5.0  # a place in line is told at most so often
MOST_SECONDS: Final = 30 * 86_400  # an estimate of more than a month is none
# Fields that move while items run: they are written at a measured pace, everything else at once.
LIVE: Final = frozenset({
    "progress", "percent", "rate", "counts", "failed_items", "last_errors", "usage", "active_workers", "checkpoint",
})  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Where a BatchJob stands and why, in the words of its conditions."""

    phase: Phase
    reason: Reason
    message: str = ""
    stalled: bool = False


def build_status(seen: Observed, verdict: Verdict, **changes: Any) -> BatchJobStatus:
    """The status to write; `changes` are fields that the plan decides, such as jobs_created."""
    old = seen.job.status or BatchJobStatus()
    ended = verdict.phase in TERMINAL
    start = changes.get("start_time", old.start_time)
    values: dict[str, Any] = {
        "observed_generation": seen.job.metadata.generation,
        "phase": verdict.phase,
        "effective": seen.in_force,
        "duration": _duration(start, seen.now),
        "active_seconds": old.active_seconds if verdict.phase in COUNTED else int(active_seconds(old, seen.now)),
        "active_workers": 0 if ended or seen.child is None else seen.child.ready,
        "rate": format_rate(seen.rate),
        "queue_position": _position(seen, old) if verdict.phase is Phase.QUEUED else None,
        "estimated_start_time": _after(seen, seen.wait_seconds) if verdict.phase is Phase.QUEUED else None,
        "estimated_completion_time": None if ended else _after(seen, _seconds_left(seen)),
        "selector": f"{UID_LABEL}={seen.job.metadata.uid}",
        "conditions": _conditions(old, seen.job.metadata.generation, seen.now, verdict),
    }
    if seen.child is not None:
        values["jobs"] = [JobReference(name=seen.child.name, uid=seen.child.uid)]
    if seen.snapshot is not None:
        values |= _from_store(seen.snapshot, seen.job.spec)
    if seen.certain is not None:
        values["checkpoint"] = format_pairs(seen.certain, limit=CHECKPOINT_LIMIT)
    if ended:
        values["completion_time"] = format_time(seen.now)
        results = values.get("results", old.results)
        values["results"] = expiring(results, seen.job.spec.retention, verdict.phase, seen.now)
        values["rate"] = _mean_rate(seen.snapshot, start, seen.now)
    return old.model_copy(update=values | changes)


def _position(seen: Observed, old: BatchJobStatus) -> int | None:
    """Its place in line, where that is news worth a write, or its priority was changed."""
    now, before = seen.place.position if seen.place else 0, old.queue_position
    if before is None or not now or (old.effective and old.effective.priority != seen.in_force.priority):
        return now or None
    return now if is_news(before, now) and seen.since_write_seconds >= POSITION_SECONDS else before


def _seconds_left(seen: Observed) -> float | None:
    if seen.snapshot is None or seen.snapshot.total is None or not seen.rate:
        return None
    return (seen.snapshot.total - finished(seen.snapshot.counts)) / seen.rate


def _after(seen: Observed, seconds: float | None) -> str | None:
    return None if seconds is None or seconds > MOST_SECONDS else format_time(seen.now + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Pace:
    """How often progress is written."""

    seconds: float  # not more often than this
    percent: float  # not for less than this …
    max_seconds: float  # … unless so much time has gone by

    def next_seconds(self, since_write_seconds: float) -> float:
        """When to ask again whether progress is worth writing."""
        due = self.seconds if since_write_seconds < self.seconds else self.max_seconds
        return max(0.0, due - since_write_seconds)


def says_more(old: BatchJobStatus | None, new: BatchJobStatus) -> bool:
    """Whether a status differs in more than the clock."""
    return old is None or old.model_copy(update={name: getattr(new, name) for name in CLOCKS}) != new


def is_worth_writing(old: BatchJobStatus | None, new: BatchJobStatus, since_write_seconds: float, pace: Pace) -> bool:
    """Whether to write now: never where only the clock moved, and live fields at the pace."""
    if old is None:
        return True
    moved = {name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)} - CLOCKS
    if _said(old) == _said(new):
        moved.discard("conditions")
    if not moved or moved - LIVE:
        return bool(moved)
    if since_write_seconds < pace.seconds:
        return False
    step = finished(new.counts) - finished(old.counts)
    enough = 100 * step >= pace.percent * new.counts.total and (step > 0 or new.counts.total != old.counts.total)
    return enough or since_write_seconds >= pace.max_seconds


def _said(status: BatchJobStatus) -> list[tuple[str, ...]]:
    """What the conditions say; the reason of one that is not True only repeats the phase's."""
    return [(c.type, c.status, c.reason if c.status == "True" else "", c.message) for c in status.conditions]


def told(seen: Observed, plan: Plan, *, notices: bool = True) -> Plan:
    """The plan with the Events that its status is worth (the end, a pause, what somebody has to mend) and notices.

    Without `notices` the status is of no other phase than before: what is in the way of a pause is no other pause.
    """
    if plan.status is None:
        return plan
    old = seen.job.status
    notes = notes_of(old.conditions if old else (), plan.status.conditions)
    status = with_notices(seen.job, plan.status, format_time(seen.now)) if notices else plan.status
    losses = (*_lost_results(old, plan.status), *dropped(old, status))
    return replace(plan, status=status, notes=(*plan.notes, *losses, *notes))


def _lost_results(old: BatchJobStatus | None, new: BatchJobStatus) -> Iterator[Note]:
    lost = new.results.missing if new.results else None
    if lost and not (old and old.results and old.results.missing == lost):
        said = f"The store lost the results of {lost} items that are done."
        yield Note("Warning", Reason.STORE_LOST, said, f"{lost} results")


def build_invalid_status(old: BatchJobStatus, generation: int, message: str, now: datetime) -> BatchJobStatus:
    """The status of an object that cannot be read as a BatchJob."""
    verdict = Verdict(Phase.PENDING, Reason.INVALID_SPEC, message, stalled=True)
    return old.model_copy(
        update={
            "observed_generation": generation,
            "phase": verdict.phase,
            "conditions": _conditions(old, generation, now, verdict),
        }
    )


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(start: str | None, now: datetime) -> float | None:
    """Seconds from a time of ours until now; None where there is none."""
    return None if start is None else (now - datetime.fromisoformat(start)).total_seconds()


def _conditions(old: BatchJobStatus, generation: int, now: datetime, verdict: Verdict) -> list[Condition]:
    true = CONDITIONS[verdict.phase, verdict.stalled]
    return [_condition(kind, kind in true, old, generation, now, verdict) for kind in ConditionType]


def _condition(
    kind: ConditionType, holds: bool, old: BatchJobStatus, generation: int, now: datetime, verdict: Verdict
) -> Condition:
    status = "True" if holds else "False"
    before = old.condition(kind)
    return Condition(
        type=kind,
        status=status,
        reason=verdict.reason,
        message=clip(verdict.message, MESSAGE_LIMIT) if holds else "",
        last_transition_time=transition_time(before, status, now),
        observed_generation=generation,
    )


def transition_time(before: Condition | None, status: str, now: datetime) -> str:
    """Since when a condition has this status."""
    return before.last_transition_time if before and before.status == status else format_time(now)


def _from_store(snapshot: Snapshot, spec: BatchJobSpec) -> dict[str, Any]:
    counts, positions, told = snapshot.counts, snapshot.failed_positions, reckoned(snapshot)
    return {
        "progress": format_progress(told, snapshot.total),
        "percent": format_percent(told, snapshot.total, snapshot.reached),
        "counts": counts,
        "failed_items": format_positions(positions, complete=counts.failed <= len(positions)),
        "last_errors": [_item_error(error) for error in snapshot.last_errors],
        "usage": dict(sorted(with_cost(spec, snapshot.usage).items())[:USAGE_LIMIT]),
        "source": _source(snapshot),
        "results": _results(snapshot),
    }


def _item_error(error: LastError) -> ItemError:
    return ItemError(
        item_id=clip(error.item_id, 128),
        error_class=clip(error.error_class, 64),
        message=clip(error.message, TEXT_LIMIT),
    )


def _source(snapshot: Snapshot) -> SourceStatus | None:
    if not snapshot.source_sha256 and not snapshot.source_etag:
        return None
    messages = [clip(message, TEXT_LIMIT) for message in snapshot.bad_item_messages[:BAD_ITEMS_SHOWN]]
    return SourceStatus(
        sha256=_clipped(snapshot.source_sha256, 64),
        etag=_clipped(snapshot.source_etag, TEXT_LIMIT),
        bad_items=max(snapshot.bad_items, 0) or None,
        bad_item_messages=messages or None,
    )


def _results(snapshot: Snapshot) -> ResultsStatus | None:
    missing = max(snapshot.missing_results, 0) or None
    uri, sha256 = _clipped(snapshot.results_uri, 2304), _clipped(snapshot.manifest_sha256, 64)
    return ResultsStatus(uri=uri, manifest_sha256=sha256, missing=missing) if uri or missing else None


def _clipped(text: str | None, limit: int) -> str | None:
    """What a worker said, in the room that the status has for it."""
    return None if text is None else clip(text, limit)


def _duration(start: str | None, now: datetime) -> str:
    seconds = seconds_since(start, now)
    return "" if seconds is None else format_duration(seconds)


def _mean_rate(snapshot: Snapshot | None, start: str | None, now: datetime) -> str:
    seconds = seconds_since(start, now)
    if snapshot is None or not seconds or seconds <= 0:
        return ""
    return format_rate(finished(snapshot.counts) / seconds)


def clip(text: str, limit: int) -> str:
    """The text, shortened to `limit` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
