"""How a metric is declared: once, with its name, type, labels, meaning and the processes that show it.

From each declaration come the collector that counts, the row of docs/reference/metrics.md, and what tests compare
/metrics, alerts and the dashboard with. Each process has a registry of its own: what it never counts it does not show.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]  # births as series of their own: nobody asks for them

Made = TypeVar("Made", bound=Collector)


class Process(StrEnum):
    """Who shows a metric; LEADER: the operator's replica that leads, and no other, so that sums count nothing twice."""

    OPERATOR = "operator"
    LEADER = "leader"
    GATEWAY = "gateway"
    WORKER = "worker"


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    type: str  # counter, gauge or histogram
    meaning: str
    labels: tuple[str, ...]
    processes: tuple[Process, ...]

    def gauge(self) -> GaugeMetricFamily:
        """The series of a gauge without numbers."""
        return GaugeMetricFamily(self.name, self.meaning, labels=self.labels)

    def counter(self) -> CounterMetricFamily:
        """The series of a counter without numbers."""
        return CounterMetricFamily(self.name, self.meaning, labels=self.labels)

    def histogram(self) -> HistogramMetricFamily:
        """The series of a histogram without numbers."""
        return HistogramMetricFamily(self.name, self.meaning, labels=self.labels)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


METRICS: Final[list[Metric]] = []
REGISTRIES: Final = {process: _registry() for process in (Process.OPERATOR, Process.GATEWAY, Process.WORKER)}


def declare(kind: str, of: Sequence[Process], name: str, meaning: str, *labels: str) -> Metric:
    """A metric that is read when it is asked for; whoever reads it registers a collector of its own."""
    METRICS.append(Metric(name, kind, meaning, labels, tuple(of)))
    return METRICS[-1]


def _registered(metric: Metric, collector: Made) -> Made:
    for process in metric.processes:
        REGISTRIES[process].register(collector)
    return collector


def counter(of: Sequence[Process], name: str, meaning: str, *labels: str) -> Counter:
    """A counter of one process's own life."""
    metric = declare("counter", of, name, meaning, *labels)
    return _registered(metric, Counter(name, meaning, labels, registry=None))


def gauge(of: Sequence[Process], name: str, meaning: str, *labels: str) -> Gauge:
    """A number that goes up and down."""
    metric = declare("gauge", of, name, meaning, *labels)
    return _registered(metric, Gauge(name, meaning, labels, registry=None))


def histogram(of: Sequence[Process], limits: Sequence[float], name: str, meaning: str, *labels: str) -> Histogram:
    """Durations; `limits`: of the buckets."""
    metric = declare("histogram", of, name, meaning, *labels)
    return _registered(metric, Histogram(name, meaning, labels, registry=None, buckets=limits))


def durations(of: Sequence[Process], limits: Sequence[float], name: str, meaning: str) -> "Durations":
    """Durations by queue, many a second."""
    metric = declare("histogram", of, name, meaning, "queue")
    return _registered(metric, Durations(metric, limits))


class Observations:
    """The numbers of one series of durations."""

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits = limits
        self._counts = [0] * (len(limits) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._limits, seconds)] += 1
        self.sum += seconds

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them."""
        return cumulated(self._limits, self._counts)


class Durations(Collector):
    """A histogram that one thread alone writes: the library's takes three locks an observation, ours none."""

    def __init__(self, metric: Metric, limits: Sequence[float]) -> None:
        self._metric, self._limits = metric, limits
        self._series: dict[str, Observations] = {}

    def labels(self, queue: str) -> Observations:
        """Those of a queue."""
        return self._series.setdefault(queue, Observations(self._limits))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All series."""
        family = self._metric.histogram()
        for queue, seen in list(self._series.items()):
            family.add_metric([queue], seen.buckets, seen.sum)
        yield family


def cumulated(limits: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Buckets, each with those below it; `counts` has one more than `limits`, of what is above all of them."""
    names = [*(str(float(limit)) for limit in limits), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
