"""The metrics of every process, in one place, with prometheus-client.

Labels come from a fixed list (verb, code, reason, …), never an object's name: a metric must not grow with the users.
"""

from bisect import bisect_left
from collections.abc import Iterator
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

RECONCILE_SECONDS = Histogram(
    "batchjob_reconcile_seconds",
    "Time of one reconcile of one BatchJob.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15),
)
RECONCILE_ERRORS = Counter("batchjob_reconcile_errors_total", "Reconciles that failed and are tried again.")
WORKQUEUE_DEPTH = Gauge("batchjob_workqueue_depth", "BatchJobs that wait to be reconciled, delayed ones left out.")
SCHEDULE_MISSED = Counter(
    "batchjob_schedule_missed_total", "Runs of BatchSchedules that were missed and are not made up for."
)
JOBS_COMPLETED = Counter("queue_jobs_completed_total", "BatchJobs that became Complete, since we lead.", ["queue"])
JOBS_FAILED = Counter("queue_jobs_failed_total", "BatchJobs that became Failed, since we lead.", ["queue"])
NOTIFICATIONS = Counter(
    "batchjob_notifications_total",
    "Attempts to tell receivers of spec.notify (webhooks, email): delivered, pending (tried again), failed, gone.",
    ["kind", "outcome"],
)
LIVE_EVENTS = Counter("batchjob_live_events_total", "Live events that were told to people, by type.", ["type"])
API_REQUESTS = Counter(
    "batchjob_api_requests_total", "Requests to the Kubernetes API; code 0 means no answer.", ["verb", "code"]
)
CLOCK_AHEAD = Gauge(
    "batchjob_clock_ahead_seconds", "How far the operator's clock is ahead of the store's; above 300 nothing expires."
)
IS_LEADER = Gauge("batchjob_is_leader", "1 where this replica reconciles, 0 where it stands by.")
GATEWAY_REQUESTS = Histogram(
    "batchjob_gateway_requests_seconds",
    "Time of requests to the HTTP API until the answer has been sent, by route (never a path) and status code.",
    ["route", "code"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BUILD_INFO = Gauge("batchjob_build_info", "Always 1; the label says which version runs.", ["version"])


def publish_build_info() -> None:
    """Set `batchjob_build_info` to the installed version."""
    BUILD_INFO.labels(version=version("batchjob")).set(1)


class Durations(Collector):
    """A histogram that one thread alone writes: the library's takes three locks an observation, ours none."""

    def __init__(self, name: str, documentation: str, limits: tuple[float, ...]) -> None:
        self._name, self._documentation = name, documentation
        self._limits = limits
        self._counts = [0] * (len(limits) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._limits, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The buckets, each with those below it, as Prometheus has them."""
        names = [*(str(float(limit)) for limit in self._limits), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


LIVE_WATCHERS = Gauge("batchjob_live_watchers", "Connections that watch live events, of this replica.")
LIVE_DROPPED = Counter("batchjob_live_dropped_total", "Watchers that did not keep up with live events and were let go.")

# The worker's.
ITEMS = Counter("batchjob_items_total", "Attempts of items by what became of them.", ["outcome"])
RETRIES = Counter("batchjob_retries_total", "Attempts that failed and are tried again.", ["error_class"])
ITEM_SECONDS = Durations(
    "batchjob_item_duration_seconds",
    "Time of one attempt; of a whole call where the processor does several items at once.",
    limits=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
LLM_TOKENS = Counter("batchjob_llm_tokens_total", "Tokens of models: of questions (prompt), of answers.", ["kind"])
LLM_COST = Counter(
    "batchjob_llm_cost_total", "What they cost by spec.aiBatch.model.prices, in units of the currency.", ["currency"]
)
LEASES_LOST = Counter("batchjob_leases_lost_total", "Chunks that another worker took over from this one.")
