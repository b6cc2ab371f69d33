"""The metrics of every process, in one place, with prometheus-client.

Labels come from a fixed list (verb, code, reason, …), never an object's name: a metric must not grow with the users.
"""

from importlib.metadata import version

from prometheus_client import Counter, Gauge, Histogram

RECONCILE_SECONDS = Histogram(
    "batchjob_reconcile_seconds",
    "Time of one reconcile of one BatchJob.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15),
)
RECONCILE_ERRORS = Counter("batchjob_reconcile_errors_total", "Reconciles that failed and are tried again.")
WORKQUEUE_DEPTH = Gauge("batchjob_workqueue_depth", "BatchJobs that wait to be reconciled, delayed ones left out.")
API_REQUESTS = Counter(
    "batchjob_api_requests_total", "Requests to the Kubernetes API; code 0 means no answer.", ["verb", "code"]
)
IS_LEADER = Gauge("batchjob_is_leader", "1 where this replica reconciles, 0 where it stands by.")
BUILD_INFO = Gauge("batchjob_build_info", "Always 1; the label says which version runs.", ["version"])


def publish_build_info() -> None:
    """Set `batchjob_build_info` to the installed version."""
    BUILD_INFO.labels(version=version("batchjob")).set(1)


# The worker's.
ITEMS = Counter("batchjob_items_total", "Attempts of items by what became of them.", ["outcome"])
RETRIES = Counter("batchjob_retries_total", "Attempts that failed and are tried again.", ["error_class"])
ITEM_SECONDS = Histogram(
    "batchjob_item_duration_seconds",
    "Time of one attempt; of a whole call where the processor does several items at once.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
LEASES_LOST = Counter("batchjob_leases_lost_total", "Chunks that another worker took over from this one.")
