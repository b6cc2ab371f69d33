"""From the records of runs that ended to the figures of a report. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final, TypeVar

from batchjob.api.figures import FailingJob, FailureFigures, Figures, Measures, QueueFigures, Span
from batchjob.api.v1alpha1 import SCHEDULED_AT, BatchJob
from batchjob.core.durations import quantile
from batchjob.core.records import USAGES, RunRecord
from batchjob.core.zones import find_zone

FAILING_JOBS: Final = 10
QUEUES: Final = 50  # lines; the others are in the sums
# Whoever creates BatchJobs names queues, and their processors counters: a report keeps so many apart in memory, those
# that come first. What is counted of them is right whatever else there is.
QUEUES_ADDED: Final = 1000
USAGES_ADDED: Final = 128
USAGES_OF_A_QUEUE: Final = USAGES  # as many as one run may have
HOURS_BELOW_SECONDS: Final = 71 * 3600  # a shorter window is drawn by hours; three days may have an hour less
HOUR_SECONDS: Final = 3600

Name = TypeVar("Name", str, int)


@dataclass(frozen=True)
class Wanted:
    """What a report is about. Times are seconds since 1970."""

    before: float  # where the window before begins
    since: float
    until: float
    zone: tzinfo
    zone_name: str
    scope: str
    namespace: str
    owner: str | None


def wanted_of(job: BatchJob, now: datetime) -> Wanted | None:
    """What a BatchJob wants to report on; None where it is no report. ValueError: there is no such time zone.

    The window ends when the BatchJob was to begin, whenever it does: made again, the figures are the same, and the
    windows of a schedule meet without a gap.
    """
    block = job.spec.report
    if block is None:
        return None
    zone = find_zone(block.time_zone)
    until = _end(job, now).astimezone(zone)
    since = block.before(until)
    return Wanted(
        before=block.before(since).timestamp(),
        since=since.timestamp(),
        until=until.timestamp(),
        zone=zone,
        zone_name=block.time_zone,
        scope=block.scope,
        namespace=job.metadata.namespace,
        owner=job.spec.owner,
    )


def _end(job: BatchJob, now: datetime) -> datetime:
    created = job.metadata.creation_timestamp
    end = datetime.fromisoformat(created) if created else now
    try:
        scheduled = datetime.fromisoformat((job.metadata.annotations or {}).get(SCHEDULED_AT, ""))
        end = min(end, scheduled)  # an annotation is anybody's to write: no report is on what is still to come
    except (TypeError, ValueError):
        pass  # it is of no schedule
    return max(end, datetime.fromisoformat(job.spec.start_after)) if job.spec.start_after else end


@dataclass(frozen=True)
class Waiting:
    """BatchJobs of a queue that wait now."""

    number: int = 0
    oldest_seconds: float | None = None


@dataclass
class _Sum:
    """What some runs did, while they are added up; counters of at most `usages` names."""

    usages: int
    runs: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    durations: dict[int, int] = field(default_factory=dict)
    active_seconds: int = 0
    left_out: bool = False

    def add(self, record: RunRecord) -> None:
        self.runs[record.phase] = self.runs.get(record.phase, 0) + 1
        for name in ("succeeded", "failed", "cancelled", "skipped", "retried", "repeated"):
            self.numbers[name] = self.numbers.get(name, 0) + getattr(record, name)
        self.left_out |= len(self.usage.keys() | record.usage.keys()) > self.usages
        for name, number in sorted(record.usage.items()):
            if name in self.usage or len(self.usage) < self.usages:
                self.usage[name] = self.usage.get(name, 0) + number
        _add_all(self.durations, record.durations)
        self.active_seconds += record.active_seconds

    def measures(self, window_seconds: float) -> Measures:
        succeeded, failed = self.numbers.get("succeeded", 0), self.numbers.get("failed", 0)
        items = succeeded + failed
        return Measures(
            runs=sum(self.runs.values()),
            succeeded_runs=self.runs.get("Succeeded", 0),
            failed_runs=self.runs.get("Failed", 0),
            cancelled_runs=self.runs.get("Cancelled", 0),
            items=items,
            **self.numbers,
            success_percent=100 * succeeded / items if items else None,
            items_per_hour=items * HOUR_SECONDS / window_seconds if items else None,
            items_per_active_hour=items * HOUR_SECONDS / self.active_seconds if items and self.active_seconds else None,
            p50_seconds=quantile(self.durations, 0.5),
            p95_seconds=quantile(self.durations, 0.95),
            usage=dict(sorted(self.usage.items())),
        )


class Reckoning:
    """Takes in records, in the order of their ends, and gives figures."""

    def __init__(self, wanted: Wanted, begins: float | None) -> None:
        """`begins`: when the oldest run ended that is remembered, whoever's it is."""
        self._wanted = wanted
        self._begins = begins
        self._spans = _spans(wanted)
        self._now: dict[str, _Sum] = {}
        self._before: dict[str, _Sum] = {}
        self._all, self._all_before = _Sum(USAGES_ADDED), _Sum(USAGES_ADDED)
        self._failures: dict[str, int] = {}
        self._failures_before: dict[str, int] = {}
        self._failing: list[RunRecord] = []

    def add(self, record: RunRecord) -> None:
        """A run that ended in the window, or in the window before."""
        is_now = record.ended >= self._wanted.since
        sums, whole, failures = (
            (self._now, self._all, self._failures)
            if is_now
            else (self._before, self._all_before, self._failures_before)
        )
        whole.add(record)
        if record.queue in sums or len(sums) < QUEUES_ADDED:
            sums.setdefault(record.queue, _Sum(USAGES_OF_A_QUEUE)).add(record)
        _add_all(failures, record.failures)
        if is_now:
            self._place(record)
            if record.failed or record.phase == "Failed":
                kept = [*self._failing, record]
                self._failing = sorted(kept, key=lambda one: (-one.failed, -one.ended))[:FAILING_JOBS]

    def _place(self, record: RunRecord) -> None:
        for number, (start, span) in enumerate(self._spans):
            if number + 1 == len(self._spans) or record.ended < self._spans[number + 1][0]:
                found = {"succeeded": span.succeeded + record.succeeded, "failed": span.failed + record.failed}
                self._spans[number] = start, span.model_copy(update=found)
                return

    def figures(self, waiting: Mapping[str, Waiting]) -> Figures:
        """What was found; `waiting`: by queue, now."""
        wanted = self._wanted
        seconds, seconds_before = wanted.until - wanted.since, wanted.since - wanted.before
        can_compare = self._begins is not None and self._begins <= wanted.before
        covers = self._begins is not None and self._begins <= wanted.since
        waits = (name for name, line in waiting.items() if line.number and len(self._now) < QUEUES_ADDED)
        names = sorted({*self._now, *waits})
        names = sorted(names, key=lambda name: -self._sum(name).numbers.get("succeeded", 0))
        return Figures(
            since=_text(wanted.since, wanted.zone),
            until=_text(wanted.until, wanted.zone),
            time_zone=wanted.zone_name,
            scope=wanted.scope,
            namespace=wanted.namespace,
            owner=wanted.owner,
            records_since=None if self._begins is None else _text(self._begins, wanted.zone),
            covers_window=covers,
            queues_left_out=len(names) > QUEUES,
            usage_left_out=self._all.left_out or (can_compare and self._all_before.left_out),
            total=self._all.measures(seconds),
            before=self._all_before.measures(seconds_before) if can_compare else None,
            queues=[
                QueueFigures(
                    queue=name,
                    now=self._sum(name).measures(seconds),
                    before=self._queue_before(name, seconds_before) if can_compare else None,
                    waiting=waiting.get(name, Waiting()).number,
                    oldest_waiting_seconds=waiting.get(name, Waiting()).oldest_seconds,
                )
                for name in names[:QUEUES]
            ],
            failures=self._by_class(can_compare=can_compare),
            spans=[span for _, span in self._spans],
            failing_jobs=[_failing(record, wanted.zone) for record in self._failing],
        )

    def _sum(self, queue: str) -> _Sum:
        return self._now.get(queue, _Sum(USAGES_OF_A_QUEUE))

    def _queue_before(self, queue: str, seconds: float) -> Measures | None:
        found = self._before.get(queue)
        if found is None and len(self._before) >= QUEUES_ADDED:
            return None  # it may be one of those that were not added up
        return (found or _Sum(USAGES_OF_A_QUEUE)).measures(seconds)

    def _by_class(self, *, can_compare: bool) -> list[FailureFigures]:
        before = self._failures_before if can_compare else {}
        names = sorted({*self._failures, *before}, key=lambda name: (-self._failures.get(name, 0), name))
        return [
            FailureFigures(
                error_class=name,
                items=self._failures.get(name, 0),
                before=before.get(name, 0) if can_compare else None,
            )
            for name in names
        ]


def reckon(
    wanted: Wanted, records: Iterable[RunRecord], begins: float | None, waiting: Mapping[str, Waiting]
) -> Figures:
    """The figures of some records, those of the window before among them."""
    reckoning = Reckoning(wanted, begins)
    for record in records:
        reckoning.add(record)
    return reckoning.figures(waiting)


def _spans(wanted: Wanted) -> list[tuple[float, Span]]:
    """The window in hours or days of its time zone; the first and the last one may be cut."""
    by_hours = wanted.until - wanted.since < HOURS_BELOW_SECONDS
    found: list[tuple[float, Span]] = []
    start = wanted.since
    while start < wanted.until:
        moment = datetime.fromtimestamp(start, wanted.zone)
        label = moment.strftime("%a %H:%M" if by_hours else "%a %d %b")
        found.append((start, Span(start=moment.isoformat(timespec="seconds"), label=label)))
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        past = moment.minute * 60 + moment.second + moment.microsecond / 1e6  # of the zone: some are half an hour off
        start = start + HOUR_SECONDS - past if by_hours else midnight.timestamp()
    return found


def _failing(record: RunRecord, zone: tzinfo) -> FailingJob:
    return FailingJob(
        namespace=record.namespace,
        name=record.name,
        queue=record.queue,
        owner=record.owner,
        phase=record.phase,
        reason=record.reason,
        failed=record.failed,
        total=record.total,
        ended=_text(record.ended, zone),
    )


def _text(seconds: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")


def _add_all(sums: dict[Name, int], numbers: Mapping[Name, int]) -> None:
    for name, number in numbers.items():
        sums[name] = sums.get(name, 0) + number
