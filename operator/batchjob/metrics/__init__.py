"""Every metric, in one list: what there is to count stands here and nowhere else (see `catalogue`).

Labels are of a fixed list (LABELS), never the name of an object but a queue's: a metric must not grow with the users.
What is known of queues the leader tells, what goes on in a pod its worker.
"""

from importlib.metadata import version
from math import nan
from typing import Final

from batchjob.metrics.catalogue import (
    METRICS,
    REGISTRIES,
    Metric,
    Process,
    counter,
    declare,
    durations,
    gauge,
    histogram,
)

__all__ = ["LABELS", "METRICS", "REGISTRIES", "Metric", "Process", "publish_build_info"]

# Label → what it may say.
LABELS: Final = {
    "queue": "a queue: one a type of BatchJob, and every BatchQueue",
    "type": "of a live event",
    "outcome": "what became of it",
    "state": "how it stands",
    "error_class": "why an attempt failed, as `spec` and `status` name it",
    "kind": "which sort of it",
    "currency": "as `spec.aiBatch.model.prices` names it",
    "verb": "of a request to Kubernetes",
    "code": "of HTTP",
    "route": "of the HTTP API, never a path",
    "version": "of BatchJob",
}

_OPERATOR: Final = (Process.OPERATOR,)
_LEADER: Final = (Process.LEADER,)
_GATEWAY: Final = (Process.GATEWAY,)
_WORKER: Final = (Process.WORKER,)
_CONTROL_PLANE: Final = (Process.OPERATOR, Process.GATEWAY)

# ---- queues and schedules, as the leader sees them

JOBS_WAITING: Final = declare("gauge", _LEADER, "queue_jobs_waiting", "BatchJobs that wait for their queue.", "queue")
JOBS_ACTIVE: Final = declare("gauge", _LEADER, "queue_jobs_active", "BatchJobs that their queue let start.", "queue")
JOBS_DELAYED: Final = declare(
    "gauge", _LEADER, "queue_jobs_delayed", "BatchJobs that wait for their time, or for another BatchJob.", "queue"
)
OLDEST_WAITING: Final = declare(
    "gauge", _LEADER, "batchjob_oldest_waiting_seconds", "How long the first of those that wait has done so.", "queue"
)
QUEUE_PAUSED: Final = declare(
    "gauge", _LEADER, "batchjob_queue_paused", "1 where a queue is paused (spec.paused), else 0.", "queue"
)
JOBS_STALLED: Final = declare(
    "gauge",
    _LEADER,
    "batchjob_jobs_stalled",
    "BatchJobs that have not ended and need somebody (condition Stalled); queue (none): theirs is not there.",
    "queue",
)
ITEMS: Final = declare(
    "gauge",
    _LEADER,
    "batchjob_items",
    "Items of BatchJobs that have not ended: waiting, delayed, active, succeeded, failed, cancelled; as their status "
    "says, which is written every few seconds.",
    "queue",
    "state",
)
DEAD_LETTERS: Final = declare(
    "gauge",
    _LEADER,
    "batchjob_dead_letters",
    "Items that were given up and whose dead letters are kept; queue (none): theirs is not there.",
    "queue",
)
WORKERS: Final = declare(
    "gauge",
    _LEADER,
    "batchjob_workers",
    "Worker pods: ready, or starting (those that wait for a node and for their image among them).",
    "queue",
    "state",
)
JOBS_COMPLETED: Final = declare(
    "counter",
    _LEADER,
    "queue_jobs_completed_total",
    "BatchJobs that became Complete, ever: the store counts them.",
    "queue",
)
JOBS_FAILED: Final = declare(
    "counter", _LEADER, "queue_jobs_failed_total", "BatchJobs that became Failed, ever: the store counts them.", "queue"
)
JOB_SECONDS: Final = durations(
    _OPERATOR,
    (1, 10, 60, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 28_800, 43_200, 86_400),
    "batchjob_job_duration_seconds",
    "BatchJobs that became Complete or Failed, from the start of their work to the end, since we lead.",
)
ITEM_OUTCOMES: Final = ("succeeded", "failed", "cancelled")
ITEMS_DONE: Final = counter(
    _OPERATOR,
    "batchjob_items_ended_total",
    "Items that ended: succeeded, failed, cancelled; as statuses say, since we lead. It outlives the workers' pods.",
    "queue",
    "outcome",
)
SCHEDULES: Final = declare(
    "gauge", _LEADER, "batchjob_schedules", "BatchSchedules that are scheduled, suspended or stalled.", "state"
)
SCHEDULE_LAST: Final = declare(
    "gauge", _LEADER, "batchjob_schedule_last_timestamp_seconds", "The time of the newest run of any BatchSchedule."
)
SCHEDULE_NEXT: Final = declare(
    "gauge",
    _LEADER,
    "batchjob_schedule_next_timestamp_seconds",
    "The first time of all BatchSchedules whose run has not begun: in the past where one is late.",
)
SCHEDULE_MISSED: Final = counter(
    _OPERATOR, "batchjob_schedule_missed_total", "Runs of BatchSchedules that were missed and are not made up for."
)

# ---- the operator at work

RECONCILE_SECONDS: Final = histogram(
    _OPERATOR,
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15),
    "batchjob_reconcile_seconds",
    "Time of one reconcile of one BatchJob.",
)
RECONCILE_ERRORS: Final = counter(
    _OPERATOR, "batchjob_reconcile_errors_total", "Reconciles that failed and are tried again."
)
WORKQUEUE_DEPTH: Final = gauge(
    _OPERATOR, "batchjob_workqueue_depth", "BatchJobs that wait to be reconciled, delayed ones left out."
)
NOTIFICATIONS: Final = counter(
    _OPERATOR,
    "batchjob_notifications_total",
    "Attempts to tell receivers of spec.notify (webhooks, email): delivered, pending (tried again), failed, gone.",
    "kind",
    "outcome",
)
for _kind in ("webhooks", "email"):
    for _outcome in ("delivered", "failed"):
        NOTIFICATIONS.labels(_kind, _outcome)  # the first one is an increase
LIVE_EVENTS: Final = counter(
    _OPERATOR, "batchjob_live_events_total", "Live events that were told to people, by type.", "type"
)
API_REQUESTS: Final = counter(
    _CONTROL_PLANE,
    "batchjob_api_requests_total",
    "Requests to the Kubernetes API; code 0 means no answer.",
    "verb",
    "code",
)
STORE_UP: Final = gauge(
    _OPERATOR,
    "batchjob_store_up",
    "1 where the store answered the leader when it last asked, else 0; NaN until it has asked, and of a standby.",
)
STORE_MEMORY: Final = gauge(
    _OPERATOR, "batchjob_store_memory_bytes", "Memory that the store uses, of its fullest server; 0 of a standby."
)
STORE_MEMORY_LIMIT: Final = gauge(
    _OPERATOR,
    "batchjob_store_memory_limit_bytes",
    "Above which it refuses writes (maxmemory); 0: nothing is set, or a standby.",
)
CLOCK_AHEAD: Final = gauge(
    _OPERATOR,
    "batchjob_clock_ahead_seconds",
    "How far the operator's clock is ahead of the store's; above 300 nothing expires. 0 of a standby.",
)
# What the leader alone keeps true, and what it is otherwise. A store that nobody has asked is not down: no alert's
# `== 0` is true of NaN.
OF_THE_LEADER: Final = {STORE_UP: nan, STORE_MEMORY: 0, STORE_MEMORY_LIMIT: 0, CLOCK_AHEAD: 0}
STORE_UP.set(OF_THE_LEADER[STORE_UP])
IS_LEADER: Final = gauge(_OPERATOR, "batchjob_is_leader", "1 where this replica reconciles, 0 where it stands by.")
BUILD_INFO: Final = gauge(
    _CONTROL_PLANE, "batchjob_build_info", "Always 1; the label says which version runs.", "version"
)

# ---- the gateway

GATEWAY_REQUESTS: Final = histogram(
    _GATEWAY,
    (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    "batchjob_gateway_requests_seconds",
    "Time of requests to the HTTP API until the answer has been sent, by route (never a path) and status code; probes "
    "and scrapes are left out.",
    "route",
    "code",
)
LIVE_CLIENTS: Final = gauge(_GATEWAY, "batchjob_live_clients", "Connections that watch live events, of this replica.")
LIVE_DROPPED: Final = counter(
    _GATEWAY, "batchjob_live_dropped_total", "Clients that did not keep up with live events and were let go."
)

# ---- a worker

_WAIT_LIMITS: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
# 300 s is where an attempt ends if a BatchJob says nothing; some take longer.
_ITEM_LIMITS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)

ITEMS_ENDED: Final = counter(
    _WORKER,
    "batchjob_items_total",
    "Attempts of items by what became of them: succeeded, retried, failed (given up), cancelled.",
    "queue",
    "outcome",
)
RETRIES: Final = counter(
    _WORKER, "batchjob_retries_total", "Attempts that failed and are tried again.", "queue", "error_class"
)
FAILURES: Final = counter(
    _WORKER, "batchjob_failures_total", "Attempts after which the item was given up.", "queue", "error_class"
)
ITEM_SECONDS: Final = durations(
    _WORKER,
    _ITEM_LIMITS,
    "batchjob_item_duration_seconds",
    "Time of one attempt; of a whole call where the processor does several items at once.",
)
ITEM_WAIT: Final = durations(
    _WORKER,
    _WAIT_LIMITS,
    "batchjob_item_wait_seconds",
    "From a worker's taking an item out of the store until its attempt begins, waiting for rates included.",
)
RATE_LIMIT_WAIT: Final = durations(
    _WORKER,
    _WAIT_LIMITS,
    "batchjob_rate_limit_wait_seconds",
    "How long an attempt waited for its share of the rates that hold for it.",
)
LLM_TOKENS: Final = counter(
    _WORKER,
    "batchjob_llm_tokens_total",
    "Tokens of models: of questions (prompt), of answers (completion).",
    "queue",
    "kind",
)
LLM_COST: Final = counter(
    _WORKER,
    "batchjob_llm_cost_total",
    "What they cost by spec.aiBatch.model.prices, in units of the currency.",
    "queue",
    "currency",
)
EMAILS: Final = counter(
    _WORKER,
    "batchjob_emails_total",
    "Mails: sent, refused by the mail server for good, or suppressed (their recipient wants none).",
    "queue",
    "outcome",
)
ROWS_EXPORTED: Final = counter(
    _WORKER, "batchjob_rows_exported_total", "Rows of items that were written to an export's files.", "queue"
)
LEASES_LOST: Final = counter(
    _WORKER, "batchjob_leases_lost_total", "Chunks that another worker took over from this one.", "queue"
)
RESULTS_ERRORS: Final = counter(
    _WORKER,
    "batchjob_results_errors_total",
    "Times that results could not be written to their destination; most are tried again.",
    "queue",
)


def publish_build_info() -> None:
    """Set `batchjob_build_info` to the installed version."""
    BUILD_INFO.labels(version=version("batchjob")).set(1)
