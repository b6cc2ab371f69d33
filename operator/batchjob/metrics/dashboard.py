"""The chart's dashboard for Grafana, written from a list of panels; a test asks promtool about each query."""

import json
from typing import Any, Final, NamedTuple

COLUMNS, WIDTH, HEIGHT = 3, 8, 8  # of Grafana's 24 columns
HERE: Final = '{namespace=~"$namespace"}'  # an installation's: the release's namespace
OF_LINE: Final = '{namespace=~"$namespace", queue=~"$queue"}'  # what the operator says of queues
OF_QUEUE: Final = '{queue=~"$queue"}'  # what workers say, which are in all namespaces


class Panel(NamedTuple):
    """One panel: queries in PromQL, each with the legend of its lines; `unit` as Grafana names it."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    is_signed: bool = False  # below 0 there is something to see


def _by(label: str, expression: str, legend: str = "") -> tuple[str, str]:
    return f"sum by ({label}) ({expression})", f"{legend} {{{{{label}}}}}".strip()


def _grown(metric: str, labels: str = OF_QUEUE) -> str:
    """Within an hour, of a counter whose pods may live for less: increase() sees nothing of what was scraped once.

    Such a pod counts from 0 and is never started again, so its last number less that of an hour ago is what it counted.
    """
    now = f"max_over_time({metric}{labels}[1h])"
    return f"{now} - ({metric}{labels} offset 1h or {now} * 0)"


def _ended(metric: str) -> str:
    """Within an hour, of what the leader alone says: that goes from pod to pod with the lead."""
    return f"increase(max by (queue) ({metric}{OF_LINE})[1h:1m])"


def _rate(metric: str, window: str = "5m", labels: str = OF_QUEUE) -> str:
    return f"rate({metric}{labels}[{window}])"


def _quantile(share: float, metric: str, legend: str, window: str = "5m", labels: str = OF_QUEUE) -> tuple[str, str]:
    return f"histogram_quantile({share}, sum by (le) ({_rate(f'{metric}_bucket', window, labels)}))", legend


PANELS: Final = (
    Panel("BatchJobs that wait", "short", (_by("queue", f"queue_jobs_waiting{OF_LINE}"),)),
    Panel("BatchJobs that run", "short", (_by("queue", f"queue_jobs_active{OF_LINE}"),)),
    Panel(
        "The first has waited for", "s", ((f"max by (queue) (batchjob_oldest_waiting_seconds{OF_LINE})", "{{queue}}"),)
    ),
    Panel(
        "BatchJobs that ended within an hour",
        "short",
        (
            (_ended("queue_jobs_completed_total"), "complete {{queue}}"),
            (_ended("queue_jobs_failed_total"), "failed {{queue}}"),
        ),
    ),
    Panel(
        "Time of a BatchJob",
        "s",
        (
            _quantile(0.5, "batchjob_job_duration_seconds", "half within", "1h", OF_LINE),
            _quantile(0.95, "batchjob_job_duration_seconds", "95% within", "1h", OF_LINE),
        ),
    ),
    Panel("BatchJobs that need somebody", "short", (_by("queue", f"batchjob_jobs_stalled{OF_LINE}"),)),
    Panel("Items of BatchJobs that run", "short", (_by("state", f"batchjob_items{OF_LINE}"),)),
    Panel("Items that end a second", "ops", (_by("outcome", _rate("batchjob_items_ended_total", labels=OF_LINE)),)),
    Panel("Attempts a second", "ops", (_by("outcome", _rate("batchjob_items_total")),)),
    Panel(
        "Errors a second",
        "ops",
        (
            _by("error_class", _rate("batchjob_retries_total"), "tried again:"),
            _by("error_class", _rate("batchjob_failures_total"), "given up:"),
        ),
    ),
    Panel("Dead letters", "short", (_by("queue", f"batchjob_dead_letters{OF_LINE}"),)),
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
    Panel("Worker pods", "short", (_by("state", f"batchjob_workers{OF_LINE}"),)),
    Panel("Tokens a second", "ops", (_by("kind", _rate("batchjob_llm_tokens_total")),)),
    Panel("Cost of models within an hour", "short", (_by("currency", _grown("batchjob_llm_cost_total")),)),
    Panel("Mails a second", "ops", (_by("outcome", _rate("batchjob_emails_total")),)),
    Panel("Rows exported a second", "ops", (_by("queue", _rate("batchjob_rows_exported_total")),)),
    Panel(
        "Trouble within an hour",
        "short",
        (
            _by("queue", _grown("batchjob_leases_lost_total"), "leases lost:"),
            _by("queue", _grown("batchjob_results_errors_total"), "results not written:"),
        ),
    ),
    Panel(
        "Memory of the store",
        "bytes",
        (
            (f"max(batchjob_store_memory_bytes{HERE})", "used"),
            (f"max(batchjob_store_memory_limit_bytes{HERE})", "limit"),
        ),
    ),
    Panel(
        "Time of the operator's looks", "s", (_quantile(0.95, "batchjob_reconcile_seconds", "95% within", labels=HERE),)
    ),
    Panel(
        "Looks that fail a second",
        "ops",
        ((f"sum({_rate('batchjob_reconcile_errors_total', labels=HERE)})", "errors"),),
    ),
    Panel("Requests to Kubernetes a second", "ops", (_by("code", _rate("batchjob_api_requests_total", labels=HERE)),)),
    Panel(
        "Requests to the HTTP API a second",
        "ops",
        (_by("code", _rate("batchjob_gateway_requests_seconds_count", labels=HERE)),),
    ),
    Panel("People who watch live", "short", ((f"sum(batchjob_live_clients{HERE})", "connections"),)),
    Panel(
        "Until the next run of a schedule",
        "s",
        ((f"min(batchjob_schedule_next_timestamp_seconds{HERE}) - time()", "next"),),
        is_signed=True,
    ),
)


def build_dashboard() -> str:
    """The dashboard as Grafana imports it."""
    source = {"type": "prometheus", "uid": "$datasource"}
    source_choice = {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"}
    choices = [
        _choice("namespace", "Installation", "batchjob_is_leader"),
        _choice("queue", "Queue", "queue_jobs_waiting"),
    ]
    dashboard = {
        "uid": "batchjob",
        "title": "BatchJob",
        "tags": ["batchjob"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source_choice, *({"datasource": source} | choice for choice in choices)]},
        "panels": [_panel(number, panel, source) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _choice(label: str, shown: str, metric: str) -> dict[str, Any]:
    """Which values of a label the panels are about; at first all."""
    return {
        "name": label,
        "label": shown,
        "type": "query",
        "query": f"label_values({metric}, {label})",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


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
