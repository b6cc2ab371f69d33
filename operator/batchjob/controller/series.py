"""What the leader's /metrics says about queues and schedules, read from memory when it is asked.

Only the leader has these series: two replicas would double every sum. Labels name queues, never a schedule or a
BatchJob: for single schedules there are Kubernetes' own series of their CronJobs (kube-state-metrics).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.registry import Collector

from batchjob import metrics
from batchjob.api.schedule import BatchScheduleStatus, ScheduleConditionType
from batchjob.api.status import Phase
from batchjob.controller.informer import Informer, controller_uid
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.queue_status import delayed
from batchjob.controller.queues import Queues
from batchjob.controller.status import seconds_since
from batchjob.controller.totals import Totals

ITEM_STATES: Final = ("waiting", "delayed", "active", "succeeded", "failed", "cancelled")
WORKER_STATES: Final = ("starting", "ready")
NO_QUEUE: Final = "(none)"  # no name of a queue


class Series(Collector):
    """The queues and schedules, as the leader sees them."""

    def __init__(
        self,
        queues: Queues,
        known: KnownBatchJobs,
        jobs: Informer,
        schedules: Callable[[], Iterable[BatchScheduleStatus]],
        due: Callable[[], datetime | None],
        totals: Totals,
    ) -> None:
        self._queues = queues
        self._known = known
        self._jobs = jobs
        self._schedules = schedules
        self._due = due
        self._totals = totals

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While we lead."""
        registry = metrics.REGISTRIES[metrics.Process.OPERATOR]
        registry.register(self)
        try:
            yield
        finally:
            registry.unregister(self)
            for gauge, otherwise in metrics.OF_THE_LEADER.items():
                gauge.set(otherwise)

    def collect(self) -> Iterator[Metric]:
        """The series now."""
        queues, now = self._queues.names(), datetime.now(UTC)
        yield from self._of_lines(queues, now)
        yield from self._of_batch_jobs(queues, now)
        yield from self._of_schedules()

    def _of_lines(self, queues: Iterable[str], now: datetime) -> Iterator[Metric]:
        waiting, active = metrics.JOBS_WAITING.gauge(), metrics.JOBS_ACTIVE.gauge()
        held, oldest = metrics.JOBS_DELAYED.gauge(), metrics.OLDEST_WAITING.gauge()
        complete, failed = metrics.JOBS_COMPLETED.counter(), metrics.JOBS_FAILED.counter()
        late = delayed(self._known)
        paused = metrics.QUEUE_PAUSED.gauge()
        for name in queues:
            self._begin_at_zero(name)
            line = self._queues.line(name)
            spec = self._queues.spec(name)
            paused.add_metric([name], bool(spec and spec.paused))
            waiting.add_metric([name], line.waiting)
            active.add_metric([name], line.active)
            held.add_metric([name], late[name])
            oldest.add_metric([name], max(0.0, seconds_since(line.oldest(), now) or 0.0))
            for family, phase in ((complete, Phase.SUCCEEDED), (failed, Phase.FAILED)):
                if (count := self._totals.of(name, phase)) is not None:
                    family.add_metric([name], count)
        yield from (waiting, active, held, oldest, paused, complete, failed)

    def _begin_at_zero(self, queue: str) -> None:
        """A series that begins with what was counted first is no increase to Prometheus."""
        metrics.JOB_SECONDS.labels(queue)
        for outcome in metrics.ITEM_OUTCOMES:
            metrics.ITEMS_DONE.labels(queue, outcome)

    def _of_batch_jobs(self, queues: Iterable[str], now: datetime) -> Iterator[Metric]:
        items, letters, stalled = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
        for entry in self._known.entries():
            if not entry.has_expired(now):
                letters[entry.queue] += entry.row.failed
            if not entry.ended:
                stalled[entry.queue] += entry.stalled
                for state in ITEM_STATES:
                    items[entry.queue, state] += getattr(entry.row, state)
        yield _by_state(metrics.ITEMS, queues, ITEM_STATES, items)
        yield _by_state(metrics.WORKERS, queues, WORKER_STATES, self._count_workers())
        for metric, found in ((metrics.DEAD_LETTERS, letters), (metrics.JOBS_STALLED, stalled)):
            family = metric.gauge()
            for name in queues:
                family.add_metric([name], found[name])
            # One label for all queues that are none: what users misspell makes no series.
            family.add_metric([NO_QUEUE], found.total() - sum(found[name] for name in queues))
            yield family

    def _count_workers(self) -> Counter[tuple[str, str]]:
        found = Counter[tuple[str, str]]()
        for key in self._jobs.known_keys():
            job: dict[str, Any] = self._jobs.get(key) or {"metadata": {}}
            owner = self._known.key_of(controller_uid(job) or "")
            entry = self._known.get(owner) if owner else None
            if entry is not None:
                status = job.get("status", {})
                ready = status.get("ready", 0)
                found[entry.queue, "ready"] += ready
                found[entry.queue, "starting"] += max(0, status.get("active", 0) - ready)
        return found

    def _of_schedules(self) -> Iterator[Metric]:
        states: Counter[str] = Counter({"scheduled": 0, "suspended": 0, "stalled": 0})
        last: list[float] = []
        for status in self._schedules():
            states[_state(status)] += 1
            if status.last_schedule_time is not None:
                last.append(datetime.fromisoformat(status.last_schedule_time).timestamp())
        schedules, newest, first = (
            metric.gauge() for metric in (metrics.SCHEDULES, metrics.SCHEDULE_LAST, metrics.SCHEDULE_NEXT)
        )
        for state, count in states.items():
            schedules.add_metric([state], count)
        if last:
            newest.add_metric([], max(last))
        if due := self._due():
            first.add_metric([], due.timestamp())
        yield from (schedules, newest, first)


def _by_state(
    metric: metrics.Metric, queues: Iterable[str], states: Iterable[str], found: Counter[tuple[str, str]]
) -> Metric:
    family = metric.gauge()
    for name in queues:
        for state in states:
            family.add_metric([name, state], found[name, state])
    return family


def _state(status: BatchScheduleStatus) -> str:
    for kind in (ScheduleConditionType.STALLED, ScheduleConditionType.SUSPENDED):
        condition = status.condition(kind)
        if condition and condition.status == "True":
            return kind.lower()
    return "scheduled"
