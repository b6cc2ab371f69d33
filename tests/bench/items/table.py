"""The summary as a table for people."""

from typing import Any

ROWS = (
    ("items/s, one worker process, progress on", "items", "items_per_second", ",.0f"),
    ("worker + broker CPU, ms per 1,000 items", "items", "cpu_ms_per_1000", ",.1f"),
    ("of it worker", "items", "worker_cpu_ms_per_1000", ",.1f"),
    ("of it broker", "items", "broker_cpu_ms_per_1000", ",.1f"),
    ("worker RSS, peak MiB", "items", "worker_peak_mib", ",.0f"),
    ("Redis bytes an item of 200 bytes", "items", "bytes_per_item", ",.0f"),
    ("items/s loaded", "items", "loaded_per_second", ",.0f"),
    ("add → start, p50 ms", "latency", "p50_ms", ",.2f"),
    ("add → start, p99 ms", "latency", "p99_ms", ",.2f"),
    ("recovery from SIGKILL of a worker, s", "recovery", "worker", ",.1f"),
    ("recovery from SIGKILL of Redis, s", "recovery", "redis", ",.2f"),
)


def table(summary: dict[str, Any]) -> str:
    """Rows of figures: ours, BullMQ's, how many times its own ours is; then growth."""
    medians = summary["medians"]
    rows = ["| figure | BatchJob | BullMQ | ratio | plain list |", "|---|---|---|---|---|"]
    for title, figure, name, form in ROWS:
        killed, number = (f" {name}", "seconds") if figure == "recovery" else ("", name)
        ours, peer = (medians[f"{figure} {who}{killed}"][number] for who in ("batchjob", "bullmq"))
        limit = medians["limit"].get(number) if figure == "items" else None
        plain = "" if limit is None else format(limit, form)
        rows.append(f"| {title} | {ours:{form}} | {peer:{form}} | {ours / peer if peer else 0:.2f} | {plain} |")
    rows += ["", "| growth | items | items/s | Redis bytes an item | worker RSS, peak MiB |", "|---|---|---|---|---|"]
    rows += [
        f"| {line['who']} | {line['items']:,} | {line['items_per_second']:,.0f} | {line['bytes_per_item']:,.0f} "
        f"| {line['worker_peak_mib']:,.0f} |"
        for line in summary["growth"]
    ]
    return "\n".join(rows)
