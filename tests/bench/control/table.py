"""The summary as a table for people: each figure beside its peer's and beside the aim."""

from typing import Final, NamedTuple

from tests.bench.figures import Line


class Row(NamedTuple):
    """A figure of the medians; `peer` is who it is set beside, `by` how."""

    title: str
    figure: str
    name: str
    form: str
    peer: str = ""
    by: str = ""
    aim: str = ""


JOB: Final = "job"
ROWS: Final = (
    Row("create → first pod, p50 ms", "latency", "p50_ms", ",.0f", JOB, "-", "+ 25"),
    Row("create → first pod, p99 ms", "latency", "p99_ms", ",.0f", JOB, "-", "+ 150"),
    Row("create → first status, p50 ms", "latency", "status_p50_ms", ",.0f"),
    Row("create → first status, p99 ms", "latency", "status_p99_ms", ",.0f", aim="1,000"),
    Row("end of the Job → end of the BatchJob, p50 ms", "latency", "end_p50_ms", ",.0f"),
    Row("end of the Job → end of the BatchJob, p99 ms", "latency", "end_p99_ms", ",.0f", aim="200"),
    Row("one at a time: operator's writes", "latency", "operator_writes", ".2f", aim="6 + 1 per 5 s"),
    Row("at once: objects that the client creates/s", "burst", "created_per_second", ",.1f", JOB, "/"),
    Row("at once: Jobs created/s", "burst", "jobs_per_second", ",.1f", JOB, "/", "0.6, and 60/s"),
    Row("at once: until all are complete, s", "burst", "complete_seconds", ",.1f", JOB, "/", "1.25"),
    Row("at once: writes, everybody's", "burst", "writes", ".2f", JOB, "/"),
    Row("at once: operator's writes", "burst", "operator_writes", ".2f", aim="6 + 1 per 5 s"),
    Row("at once: Kubernetes' CPU, ms", "burst", "control_plane_cpu_ms", ",.0f", JOB, "/"),
    Row("at once: operator's CPU, ms", "burst", "operator_cpu_ms", ",.1f"),
    Row("at once: operator's RSS, MiB", "burst", "operator_rss_mib", ",.0f"),
    Row("beside those that ended: RSS, MiB", "finished", "rss_mib", ",.0f", "kopf", "/", "1.3"),
    Row("beside those that ended: idle, cores", "finished", "idle_cores", ".4f", "kopf", "", "0.02"),
    Row("beside those that ended: CPU of a start, s", "finished", "start_cpu_seconds", ".1f", "kopf", "/"),
    Row("beside those that ended: writes of a start", "finished", "writes", ".0f", aim="0"),
)


def table(summary: Line) -> str:
    """Figures an object: the peer's (a raw Job's, an empty kopf handler's), ours, the two together, the aim."""
    medians = summary["medians"]
    rows = ["| figure | peer | BatchJob | beside the peer | aim |", "|---|---|---|---|---|"]
    for row in ROWS:
        ours = medians[f"{row.figure} batchjob"][row.name]
        peer = medians[f"{row.figure} {row.peer}"][row.name] if row.peer else None
        beside = ""
        if peer is not None and row.by == "-":
            beside = f"{ours - peer:+{row.form}}"
        elif peer and row.by == "/":
            beside = f"{ours / peer:.2f}"
        shown = "" if peer is None else format(peer, row.form)
        rows.append(f"| {row.title} | {shown} | {ours:{row.form}} | {beside} | {row.aim} |")
    rows += ["", "| BatchJobs at once | operator's CPU, ms each | beside the fewest (aim 1.2) |", "|---|---|---|"]
    least = summary["growth"][0]["operator_cpu_ms"]
    rows += [
        f"| {line['objects']:,} | {line['operator_cpu_ms']:.1f} | {line['operator_cpu_ms'] / least:.2f} |"
        for line in summary["growth"]
    ]
    return "\n".join(rows)
