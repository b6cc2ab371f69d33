"""docs/reference/metrics.md, written from the list."""

from typing import Final

from batchjob.metrics import LABELS, METRICS, Process

_HEAD: Final = """<!-- Generated from operator/batchjob/metrics by `make generate`. Change the list, not this file. -->

# Metrics

For Prometheus, at `/metrics` of the operator (port 8080), of the gateway (its own port) and of each worker pod (8080).
Labels name queues, outcomes and the like, never a BatchJob, a schedule or a namespace: there are never more series than
queues. Beside these, each process has prometheus-client's own (`process_…`, `python_…`).
"""

_SECTIONS: Final = {
    Process.LEADER: """
## The leader

Of queues, schedules and what was done. From the replica of the operator that leads, and from no other, so a sum counts
nothing twice.
""",
    Process.OPERATOR: """
## The operator

From each replica.
""",
    Process.GATEWAY: """
## The gateway

From each replica.
""",
    Process.WORKER: """
## A worker

A pod works for one BatchJob, so what its pods say together is of that one alone (Prometheus knows the pod). They say
how it goes at this moment, and what they counted ends with them.
""",
}

_TAIL: Final = """
Single schedules have a CronJob for each cron string, of which kube-state-metrics tells
(`kube_cronjob_next_schedule_time`, `kube_cronjob_status_last_schedule_time`).
"""


def build_page() -> str:
    """The page in Markdown."""
    parts = [_HEAD]
    for process, text in _SECTIONS.items():
        rows = "".join(
            f"| `{metric.name}` | {metric.type} | {', '.join(metric.labels)} | {metric.meaning} |\n"
            for metric in METRICS
            if process in metric.processes
        )
        parts.append(f"{text}\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}")
    labels = "".join(f"| `{name}` | {text} |\n" for name, text in LABELS.items())
    parts.append(f"\n## Labels\n\n| label | says |\n|---|---|\n{labels}{_TAIL}")
    return "".join(parts)
