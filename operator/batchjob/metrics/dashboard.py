"""The chart's dashboard for Grafana, written from a list of panels; a test asks promtool about each query."""

import json
from typing import Any, Final, NamedTuple

COLUMNS, WIDTH, HEIGHT = 3, 8, 8  # of Grafana's 24 columns
OF_QUEUE: Final = '{queue=~"$queue"}'


class Panel(NamedTuple):
    """One panel: queries in PromQL, each with the legend of its lines; `unit` as Grafana names it."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    is_signed: bool = False  # below 0 there is something to see


def _by(label: str, expression: str, legend: str = "") -> tuple[str, str]:
    return f"sum by ({label}) ({expression})", f"{legend} {{{{{label}}}}}".strip()


def _rate(metric: str, window: str = "5m", labels: str = OF_QUEUE) -> str:
    return f"rate({metric}{labels}[{window}])"


def _quantile(share: float, metric: str, legend: str, window: str = "5m", labels: str = OF_QUEUE) -> tuple[str, str]:
    return f"histogram_quantile({share}, sum by (le) ({_rate(f'{metric}_bucket', window, labels)}))", legend


PANELS: Final = (
    Panel("BatchJobs that wait", "short", (_by("queue", f"queue_jobs_waiting{OF_QUEUE}"),)),
    Panel("BatchJobs that run", "short", (_by("queue", f"queue_jobs_active{OF_QUEUE}"),)),
    Panel(
        "The first has waited for", "s", ((f"max by (queue) (batchjob_oldest_waiting_seconds{OF_QUEUE})", "{{queue}}"),)
    ),
    Panel(
        "BatchJobs that ended within an hour",
        "short",
        (
            _by("queue", f"increase(queue_jobs_completed_total{OF_QUEUE}[1h])", "complete"),
            _by("queue", f"increase(queue_jobs_failed_total{OF_QUEUE}[1h])", "failed"),
        ),
    ),
    Panel(
        "Time of a BatchJob",
        "s",
        (
            _quantile(0.5, "batchjob_job_duration_seconds", "half within", "1h"),
            _quantile(0.95, "batchjob_job_duration_seconds", "95% within", "1h"),
        ),
    ),
    Panel("BatchJobs that need somebody", "short", (_by("queue", f"batchjob_jobs_stalled{OF_QUEUE}"),)),
    Panel("Items of BatchJobs that run", "short", (_by("state", f"batchjob_items{OF_QUEUE}"),)),
    Panel("Attempts a second", "ops", (_by("outcome", _rate("batchjob_items_total")),)),
    Panel(
        "Errors a second",
        "ops",
        (
            _by("error_class", _rate("batchjob_retries_total"), "tried again:"),
            _by("error_class", _rate("batchjob_failures_total"), "given up:"),
        ),
    ),
    Panel("Dead letters", "short", (_by("queue", f"batchjob_dead_letters{OF_QUEUE}"),)),
    Panel(
        "Time of an attempt",
        "s",
        (
            _quantile(0.5, "batchjob_item_duration_seconds", "half within"),
            _quantile(0.95, "batchjob_item_duration_seconds", "95% within"),
        ),
    ),
    Panel(
        "Waiting for an attempt (95% within)",
        "s",
        (
            _quantile(0.95, "batchjob_item_wait_seconds", "in a worker's hands"),
            _quantile(0.95, "batchjob_rate_limit_wait_seconds", "of it, for rates"),
        ),
    ),
    Panel("Worker pods", "short", (_by("state", f"batchjob_workers{OF_QUEUE}"),)),
    Panel("Tokens a second", "ops", (_by("kind", _rate("batchjob_llm_tokens_total")),)),
    Panel(
        "Cost of models within an hour", "short", (_by("currency", f"increase(batchjob_llm_cost_total{OF_QUEUE}[1h])"),)
    ),
    Panel("Mails a second", "ops", (_by("outcome", _rate("batchjob_emails_total")),)),
    Panel("Rows exported a second", "ops", (_by("queue", _rate("batchjob_rows_exported_total")),)),
    Panel(
        "Trouble within an hour",
        "short",
        (
            _by("queue", f"increase(batchjob_leases_lost_total{OF_QUEUE}[1h])", "leases lost:"),
            _by("queue", f"increase(batchjob_results_errors_total{OF_QUEUE}[1h])", "results not written:"),
        ),
    ),
    Panel(
        "Memory of the store",
        "bytes",
        (("max(batchjob_store_memory_bytes)", "used"), ("max(batchjob_store_memory_limit_bytes)", "limit")),
    ),
    Panel(
        "The operator's looks",
        "s",
        (
            _quantile(0.95, "batchjob_reconcile_seconds", "95% within", labels=""),
            (f"sum({_rate('batchjob_reconcile_errors_total', labels='')})", "errors a second"),
        ),
    ),
    Panel("Requests to Kubernetes a second", "ops", (_by("code", _rate("batchjob_api_requests_total", labels="")),)),
    Panel(
        "Requests to the HTTP API a second",
        "ops",
        (_by("code", _rate("batchjob_gateway_requests_seconds_count", labels="")),),
    ),
    Panel("People who watch live", "short", (("sum(batchjob_live_clients)", "connections"),)),
    Panel(
        "Until the next run of a schedule",
        "s",
        (("min(batchjob_schedule_next_timestamp_seconds) - time()", "next"),),
        is_signed=True,
    ),
)


def build_dashboard() -> str:
    """The dashboard as Grafana imports it."""
    source = {"type": "prometheus", "uid": "$datasource"}
    queues = {
        "name": "queue",
        "label": "Queue",
        "type": "query",
        "datasource": source,
        "query": "label_values(queue_jobs_waiting, queue)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
    dashboard = {
        "uid": "batchjob",
        "title": "BatchJob",
        "tags": ["batchjob"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"}, queues]
        },
        "panels": [_panel(number, panel, source) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit} | ({} if panel.is_signed else {"min": 0}), "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }
