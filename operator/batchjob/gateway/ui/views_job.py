"""One BatchJob, as it is shown: where it stands and why, what failed, who works on it, what it was told. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec
import yaml

from batchjob.api.status import BatchJobStatus, Condition, ConditionType
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.actions import Action, obstacle
from batchjob.core.phases import is_terminal
from batchjob.core.progress import listed
from batchjob.gateway.causes import Causes
from batchjob.gateway.ui import words
from batchjob.gateway.ui.views_jobs import STATES, job_path
from batchjob.store import DeadLetter, ItemResult

MOST_DATA: Final = 2000  # characters of an item in a list; its own page has more
MOST_DOCUMENT: Final = 20_000  # characters of an item's page, and of a spec
MOST_GROUPS: Final = 20
MOST_EVENTS: Final = 30
_ORDER: Final = (ConditionType.FAILED, ConditionType.STALLED, ConditionType.SUSPENDED, ConditionType.QUEUED)
_COUNTS: Final = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
_KINDS: Final = {"succeeded": "good", "failed": "bad", "cancelled": "quiet", "active": "active", "delayed": "held"}


@dataclass(frozen=True)
class Why:
    """Why it stands where it stands, and what to do."""

    title: str
    reason: str
    message: str
    state: str


@dataclass(frozen=True)
class Count:
    """Items in one state."""

    name: str
    value: int
    state: str


@dataclass(frozen=True)
class ErrorGroup:
    """Failed items whose errors differ in nothing but numbers and what is quoted."""

    fingerprint: str
    error_class: str
    example: str
    item: str
    path: str
    count: int


@dataclass(frozen=True)
class Letter:
    """A failed item."""

    position: int
    path: str
    id: str
    error_class: str
    message: str
    attempts: int
    losses: int
    data: str
    at: words.When | None


@dataclass(frozen=True)
class ResultLine:
    """The result of an item."""

    position: int
    id: str
    text: str


@dataclass(frozen=True)
class EventLine:
    """An Event of Kubernetes'."""

    is_warning: bool
    reason: str
    message: str
    count: int
    at: words.When | None


@dataclass(frozen=True)
class Button:
    """An action, and why not now."""

    action: str
    label: str
    obstacle: str


@dataclass(frozen=True)
class JobView:
    """The page of a BatchJob."""

    key: str
    path: str
    name: str
    namespace: str
    phase: str
    state: str
    is_over: bool
    percent: int
    progress: str
    bar: tuple[words.Segment, ...]
    counts: tuple[Count, ...]
    failed: int
    why: Why | None
    facts: tuple[tuple[str, str], ...]
    usage: tuple[tuple[str, str], ...]
    buttons: tuple[Button, ...]
    spec: str
    is_spec_cut: bool


def build_job(job: BatchJob, body: dict[str, Any], now: float) -> JobView:
    """What the custom resource says."""
    status = job.status or BatchJobStatus()
    counts = status.counts
    failed = status.condition(ConditionType.FAILED)
    done, total = listed(counts, status.phase, failed.reason if failed else None)
    spec = yaml.safe_dump(body["spec"], sort_keys=False, allow_unicode=True, width=100)
    known = {name: getattr(counts, name) for name in _COUNTS}
    return JobView(
        key=f"{job.metadata.namespace}.{job.metadata.name}",
        path=job_path(*job.key),
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        phase=status.phase,
        state=STATES[status.phase],
        is_over=is_terminal(status),
        percent=words.percent(done, counts.total),
        progress="no items are loaded yet" if total is None else f"{done:,} of {total:,} items",
        bar=words.segments([(kind, known[name]) for name, kind in _KINDS.items()], counts.total),
        counts=tuple(Count(name, value, _KINDS.get(name, "waiting")) for name, value in known.items()),
        failed=counts.failed,
        why=_why(status, now),
        facts=tuple((name, value) for name, value in _facts(job, status, now) if value),
        usage=tuple((name, words.number(value)) for name, value in sorted(status.usage.items())),
        buttons=tuple(
            Button(action.value, action.value.capitalize(), obstacle(action, job) or "") for action in Action
        ),
        spec=spec[:MOST_DOCUMENT],
        is_spec_cut=len(spec) > MOST_DOCUMENT,
    )


def _why(status: BatchJobStatus, now: float) -> Why | None:
    """The condition that explains most, in words."""
    holds = {condition.type: condition for condition in status.conditions if condition.status == "True"}
    found: Condition | None = next((holds[kind] for kind in _ORDER if kind in holds), None)
    if found is None:
        return None
    waiting = {
        ConditionType.FAILED: ("Why it failed", "bad"),
        ConditionType.STALLED: ("What holds it up", "bad"),
        ConditionType.SUSPENDED: ("Why it is suspended", "held"),
        ConditionType.QUEUED: ("Why it waits", "waiting"),
    }
    title, state = waiting[ConditionType(found.type)]
    place = f"It is number {status.queue_position} in line." if status.queue_position else ""
    start = words.since(status.estimated_start_time, now)
    expected = f"It would start {start.short}, at the pace of the last hour." if start else ""
    return Why(title, found.reason, " ".join(filter(None, (found.message, place, expected))), state)


def _facts(job: BatchJob, status: BatchJobStatus, now: float) -> Iterable[tuple[str, str]]:
    end = words.since(status.estimated_completion_time, now)
    effective = status.effective
    yield "Rate", status.rate
    yield "Ends", end.short if end else ""
    yield "Duration", status.duration
    yield "Type", job.spec.type
    yield "Queue", job.spec.queue
    yield "Owner", job.spec.owner or ""
    yield "Priority", str(effective.priority) if effective and effective.priority else ""
    yield "Workers", f"{status.active_workers} of {job.spec.parallelism}"
    yield "Attempts", f"up to {effective.max_attempts}" if effective else ""
    for label, time in (
        ("Created", job.metadata.creation_timestamp),
        ("Started", status.start_time),
        ("Ended", status.completion_time),
    ):
        moment = words.since(time, now)
        yield label, moment.short if moment else ""
    yield "Results", (status.results and status.results.uri) or ""


def group_errors(causes: Causes, path: str) -> tuple[ErrorGroup, ...]:
    """Why items failed, the most frequent first, as it is shown."""
    return tuple(
        ErrorGroup(
            cause.fingerprint,
            cause.error_class,
            words.shortened(cause.message, 300),
            cause.item,
            f"{path}/items/{cause.position}",
            cause.count,
        )
        for cause in causes.most_common(MOST_GROUPS)
    )


def build_letter(letter: DeadLetter, path: str, now: float, most: int = MOST_DATA) -> Letter:
    """A failed item as it is shown."""
    try:
        data = msgspec.json.format(letter.data, indent=2).decode(errors="replace")
    except msgspec.DecodeError:
        data = letter.data.decode(errors="replace")
    return Letter(
        letter.position,
        f"{path}/items/{letter.position}",
        letter.id,
        letter.error_class,
        letter.message,
        letter.attempts,
        letter.losses,
        words.shortened(data, most),
        words.when(letter.at_ms / 1000, now),
    )


def build_results(results: Sequence[ItemResult]) -> tuple[ResultLine, ...]:
    """Results as they are shown."""
    return tuple(
        ResultLine(one.position, one.id, words.shortened(one.result.decode(errors="replace"), 300)) for one in results
    )


def build_events(events: Sequence[dict[str, Any]], now: float) -> tuple[EventLine, ...]:
    """Events of Kubernetes', newest first."""
    lines = [_event(event, now) for event in sorted(events, key=_event_time, reverse=True)]
    return tuple(lines[:MOST_EVENTS])


def _event_time(event: dict[str, Any]) -> float:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    given = next((time for time in times if time), event["metadata"].get("creationTimestamp"))
    return words.parse_time(given) or 0.0


def _event(event: dict[str, Any], now: float) -> EventLine:
    return EventLine(
        event.get("type") == "Warning",
        str(event.get("reason") or ""),
        str(event.get("message") or event.get("note") or ""),
        int((event.get("series") or {}).get("count") or event.get("count") or 1),
        words.when(_event_time(event) or None, now),
    )


def times_of(job: BatchJob, now: float) -> tuple[float | None, float]:
    """When it started and ended, in seconds since 1970; None and now where it has not."""
    status = job.status or BatchJobStatus()
    end = words.parse_time(status.completion_time)
    return words.parse_time(status.start_time), now if end is None else end


def items_path(path: str, cursor: int) -> str:
    """Where the failed items from a position on are."""
    return f"{path}?from={quote(str(cursor))}#failed"
