"""What the leader's /metrics says about queues and schedules, read from memory when it is asked.

Only the leader has these series: two replicas would double every sum. Labels name queues, never a schedule or a
BatchJob: for single schedules there are Kubernetes' own series of their CronJobs (kube-state-metrics).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from batchjob.api.schedule import BatchScheduleStatus, ScheduleConditionType
from batchjob.controller.queues import Queues
from batchjob.controller.status import seconds_since


class Series(Collector):
    """The queues and schedules, as the leader sees them."""

    def __init__(
        self,
        queues: Queues,
        delayed: Callable[[], Counter[str]],
        schedules: Callable[[], Iterable[BatchScheduleStatus]],
    ) -> None:
        """`delayed`: BatchJobs that wait for their time or for another one, by queue."""
        self._queues = queues
        self._delayed = delayed
        self._schedules = schedules

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While we lead."""
        REGISTRY.register(self)
        try:
            yield
        finally:
            REGISTRY.unregister(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The series without numbers."""
        yield from self._families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The series now."""
        found = self._families()
        self._of_queues(found)
        self._of_schedules(found)
        yield from found.values()

    def _of_queues(self, found: dict[str, GaugeMetricFamily]) -> None:
        now, delayed = datetime.now(UTC), self._delayed()
        for name in self._queues.names():
            line = self._queues.line(name)
            found["waiting"].add_metric([name], line.waiting)
            found["active"].add_metric([name], line.active)
            found["delayed"].add_metric([name], delayed[name])
            found["oldest"].add_metric([name], max(0.0, seconds_since(line.oldest(), now) or 0.0))

    def _of_schedules(self, found: dict[str, GaugeMetricFamily]) -> None:
        states: Counter[str] = Counter({"scheduled": 0, "suspended": 0, "stalled": 0})
        last: list[float] = []
        due: list[float] = []
        for status in self._schedules():
            states[_state(status)] += 1
            for moments, text in ((last, status.last_schedule_time), (due, status.next_schedule_time)):
                if text is not None:
                    moments.append(datetime.fromisoformat(text).timestamp())
        for state, count in states.items():
            found["schedules"].add_metric([state], count)
        if last:
            found["last"].add_metric([], max(last))
        if due:
            found["next"].add_metric([], min(due))

    def _families(self) -> dict[str, GaugeMetricFamily]:
        queue, moment = ["queue"], "batchjob_schedule_{}_timestamp_seconds"
        return {
            "waiting": GaugeMetricFamily("queue_jobs_waiting", "BatchJobs that wait for their queue.", labels=queue),
            "active": GaugeMetricFamily("queue_jobs_active", "BatchJobs that their queue let start.", labels=queue),
            "delayed": GaugeMetricFamily(
                "queue_jobs_delayed", "BatchJobs that wait for their time, or for another BatchJob.", labels=queue
            ),
            "oldest": GaugeMetricFamily(
                "batchjob_oldest_waiting_seconds", "How long the first of those that wait has done so.", labels=queue
            ),
            "schedules": GaugeMetricFamily(
                "batchjob_schedules", "BatchSchedules that are scheduled, suspended or stalled.", labels=["state"]
            ),
            "last": GaugeMetricFamily(moment.format("last"), "The time of the newest run of any BatchSchedule."),
            "next": GaugeMetricFamily(
                moment.format("next"), "The first of the times that are next: in the past where a run is late."
            ),
        }


def _state(status: BatchScheduleStatus) -> str:
    for kind in (ScheduleConditionType.STALLED, ScheduleConditionType.SUSPENDED):
        condition = status.condition(kind)
        if condition and condition.status == "True":
            return kind.lower()
    return "scheduled"
