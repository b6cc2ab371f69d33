"""The sections of a report: from its document to what each of them shows. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from batchjob.api.blocks.report import Chart as ChartKind
from batchjob.api.blocks.report import Section as Wanted
from batchjob.api.blocks.report import Shown
from batchjob.api.figures import Document, Figures, Measures, Rows
from batchjob_processors.reporting import numbers
from batchjob_processors.reporting.view import Chart, Column, Section, Table, Tile, View

TITLES: Final = {
    Shown.SUMMARY: "Summary",
    Shown.THROUGHPUT: "Throughput",
    Shown.QUEUES: "Queues",
    Shown.DURATIONS: "How long items took",
    Shown.FAILURES: "Failures by class",
    Shown.JOBS: "BatchJobs with the most failed items",
    Shown.USAGE: "Usage",
}
USAGE_NAMES: Final = {
    "promptTokens": "Tokens read",
    "completionTokens": "Tokens written",
    "emailsSent": "Mails sent",
    "mailsSuppressed": "Mails suppressed",
    "mailsInDoubt": "Mails in doubt",
    "rowsExported": "Rows exported",
    "bytesWritten": "Bytes written",
}
_COST: Final = re.compile("costMicro([A-Z]{3})")  # a counter of millionths of a currency: core.cost
MILLION: Final = 1_000_000


def build_view(document: Document, sections: Sequence[Wanted]) -> View:
    """What the report shows; `sections` are those of its spec."""
    found: list[Section] = []
    for number, section in enumerate(sections):
        if section.show is not None:
            found.append(_BUILD[section.show](document.figures, section.title or TITLES[section.show]))
        elif section.sql is not None:
            rows = document.queries.get(str(number), Rows(columns=[], rows=[]))
            found.append(_of_query(rows, section.sql.chart, section.title or "", f"query-{number + 1}"))
    figures = document.figures
    whose = "all BatchJobs" if figures.scope == "all" else f"BatchJobs of {figures.owner or 'nobody in particular'}"
    where = "" if figures.scope == "all" else f" in namespace {figures.namespace}"
    window = f"{_time(figures.since)} to {_time(figures.until)} ({figures.time_zone})"
    notes = [*_notes(figures), f"Made by {document.batch_job}."]
    return View(document.title, f"{window} · {whose}{where}", found, notes, _warning(figures))


def window_of(figures: Figures) -> str:
    """`16 Nov to 23 Nov 2026`."""
    since, until = datetime.fromisoformat(figures.since), datetime.fromisoformat(figures.until)
    return f"{since:%d %b} to {until:%d %b %Y}"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%a %d %b %Y %H:%M}"


def _warning(figures: Figures) -> str:
    if figures.covers_window:
        return ""
    since = f"They begin at {_time(figures.records_since)}." if figures.records_since else "There are none."
    return f"What ended in this window may be missing here: records do not reach back to its beginning. {since}"


def _notes(figures: Figures) -> list[str]:
    notes = ["A BatchJob counts where it ended. Durations are of attempts of items, at most 5 % off."]
    if figures.before is None:
        since = f" (they begin at {_time(figures.records_since)})" if figures.records_since else ""
        notes.append(f"There is no comparison: records do not reach back to the window before{since}.")
    else:
        notes.append("Changes are against the window before, of the same length.")
    return notes


def _was(before: Measures | None, name: str) -> float | None:
    """A figure of the window before; None where there is nothing to compare with."""
    found: float | None = getattr(before, name) if before else None
    return found


def _summary(figures: Figures, title: str) -> Section:
    now, before = figures.total, figures.before

    def tile(label: str, name: str, write: Callable[[float | None], str], better: int = 0) -> Tile:
        value = getattr(now, name)
        return _tile(label, write(value), value, _was(before, name), better)

    tiles = [
        tile("Items done", "succeeded", numbers.whole),
        tile("Success rate", "success_percent", numbers.percent, +1),
        tile("Items failed", "failed", numbers.whole, -1),
        tile("Attempts repeated", "retried", numbers.whole, -1),
        tile("BatchJobs ended", "runs", numbers.whole),
        tile("BatchJobs failed", "failed_runs", numbers.whole, -1),
        tile("Half of items within", "p50_seconds", numbers.seconds, -1),
        tile("95 % of items within", "p95_seconds", numbers.seconds, -1),
    ]
    return Section(title, "summary", tiles=tiles, note="" if now.runs else "No BatchJob ended in this window.")


def _tile(label: str, value: str, now: float | None, before: float | None, better: int) -> Tile:
    """`better`: 1 where more of it is good, -1 where less is, 0 where neither."""
    said = numbers.points(now, before) if value.endswith("%") else numbers.change(now, before)
    moved = (now or 0) - (before or 0)
    is_good = None if not better or not said or said.startswith("±") else moved * better > 0
    return Tile(label, value, now, said, is_good)


def _throughput(figures: Figures, title: str) -> Section:
    spans = figures.spans
    series = [("succeeded", [span.succeeded for span in spans]), ("failed", [span.failed for span in spans])]
    chart = Chart("stacked", [span.label for span in spans], series, ("good", "bad"), numbers.whole)
    columns = [Column("From", _time, is_number=False), Column("Succeeded"), Column("Failed")]
    table = Table(columns, [[span.start, span.succeeded, span.failed] for span in spans])
    rate = numbers.number(figures.total.items_per_hour)
    note = f"{rate} items an hour, over the whole window." if figures.total.items else "No item ended."
    charts = [chart] if figures.total.items else []
    return Section(title, "throughput", charts=charts, table=table, is_aside=True, note=note)


def _queues(figures: Figures, title: str) -> Section:
    columns = [
        Column("Queue", is_number=False),
        Column("BatchJobs", numbers.whole),
        Column("Items", numbers.whole),
        Column("Change", str),
        Column("Success", numbers.percent),
        Column("Items an hour", numbers.number),
        Column("p50", numbers.seconds),
        Column("p95", numbers.seconds),
        Column("Retries", numbers.whole),
        Column("Waiting", numbers.whole),
        Column("Oldest waiting", numbers.seconds),
    ]
    rows = [
        [
            line.queue,
            line.now.runs,
            line.now.items,
            numbers.change(line.now.items, _was(line.before, "items")),
            line.now.success_percent,
            line.now.items_per_hour,
            line.now.p50_seconds,
            line.now.p95_seconds,
            line.now.retried,
            line.waiting,
            line.oldest_waiting_seconds,
        ]
        for line in figures.queues
    ]
    note = "There are more queues: they are in the sums alone." if figures.queues_left_out else ""
    return _with_rows(Section(title, "queues", table=Table(columns, rows), note=note), "No queue had anything to do.")


def _durations(figures: Figures, title: str) -> Section:
    lines = [line for line in figures.queues if line.now.p50_seconds is not None]
    series = [("p50", [line.now.p50_seconds for line in lines]), ("p95", [line.now.p95_seconds for line in lines])]
    chart = Chart("across", [line.queue for line in lines], series, write=numbers.seconds)
    columns = [
        Column("Queue", is_number=False),
        Column("p50", numbers.seconds),
        Column("before", numbers.seconds),
        Column("p95", numbers.seconds),
        Column("before", numbers.seconds),
    ]
    rows = []
    for line in lines:
        before = line.before or Measures()
        rows.append([line.queue, line.now.p50_seconds, before.p50_seconds, line.now.p95_seconds, before.p95_seconds])
    section = Section(title, "durations", charts=[chart] if lines else [], table=Table(columns, rows))
    return _with_rows(section, "No item was attempted.")


def _failures(figures: Figures, title: str) -> Section:
    found = figures.failures
    series = [("items", [line.items for line in found])]
    chart = Chart("across", [line.error_class for line in found], series, ("bad",), numbers.whole)
    columns = [
        Column("Error class", is_number=False),
        Column("Items", numbers.whole),
        Column("Before", numbers.whole),
        Column("Change", str),
    ]
    rows = [[line.error_class, line.items, line.before, numbers.change(line.items, line.before)] for line in found]
    section = Section(title, "failures", charts=[chart] if found else [], table=Table(columns, rows))
    return _with_rows(section, "No item failed.")


def _jobs(figures: Figures, title: str) -> Section:
    columns = [
        Column("BatchJob", is_number=False),
        Column("Queue", is_number=False),
        Column("Owner", is_number=False),
        Column("Outcome", is_number=False),
        Column("Failed", numbers.whole),
        Column("Of items", numbers.whole),
        Column("Ended", _time, is_number=False),
    ]
    rows = [
        [f"{job.namespace}/{job.name}", job.queue, job.owner, job.reason or job.phase, job.failed, job.total, job.ended]
        for job in figures.failing_jobs
    ]
    return _with_rows(Section(title, "jobs", table=Table(columns, rows)), "No BatchJob failed, and no item did.")


def _usage(figures: Figures, title: str) -> Section:
    before = figures.before.usage if figures.before else None
    columns = [
        Column("Used", is_number=False),
        Column("Amount", _amount),
        Column("Before", _amount),
        Column("Change", str),
    ]
    rows = list[list[Any]]()
    for name in sorted({*figures.total.usage, *(before or ())}, key=lambda name: USAGE_NAMES.get(name, name)):
        amount, old = figures.total.usage.get(name, 0), None if before is None else before.get(name, 0)
        row = [USAGE_NAMES.get(name, name), amount, old, numbers.change(amount, old)]
        if currency := _COST.fullmatch(name):
            row[:3] = f"Cost in {currency[1]}", amount / MILLION, None if old is None else old / MILLION
        rows.append(row)
    note = "There are more names of counters than are shown." if figures.usage_left_out else ""
    return _with_rows(
        Section(title, "usage", table=Table(columns, rows), note=note), "Nothing that is counted was used."
    )


def _amount(value: float | None) -> str:
    """A count, or of money its cents."""
    return f"{value:,.2f}" if isinstance(value, float) else numbers.whole(value)


_BUILD: Final[dict[Shown, Callable[[Figures, str], Section]]] = {
    Shown.SUMMARY: _summary,
    Shown.THROUGHPUT: _throughput,
    Shown.QUEUES: _queues,
    Shown.DURATIONS: _durations,
    Shown.FAILURES: _failures,
    Shown.JOBS: _jobs,
    Shown.USAGE: _usage,
}


def _of_query(rows: Rows, kind: ChartKind | None, title: str, name: str) -> Section:
    def is_number(column: int) -> bool:
        if column in rows.exact:
            return True
        found = [row[column] for row in rows.rows if row[column] is not None]
        return bool(found) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)

    write = dict.fromkeys(rows.exact, numbers.exact)
    columns = [Column(text, write.get(n, numbers.plain), is_number(n)) for n, text in enumerate(rows.columns)]
    charts = []
    if kind is not None and rows.rows:
        labels = [numbers.plain(row[0]) for row in rows.rows]
        series = [(text, [_drawn(row[n]) for row in rows.rows]) for n, text in enumerate(rows.columns) if n]
        charts.append(Chart(kind, labels, series))
    section = Section(title, name, charts=charts, table=Table(columns, rows.rows), is_aside=bool(charts))
    return _with_rows(section, "The query found no rows.")


def _drawn(value: Any) -> float | None:
    return None if value is None else float(value)  # that it is a number was looked at when it was read


def _with_rows(section: Section, otherwise: str) -> Section:
    """The section; with a sentence where its table is empty."""
    if section.table is not None and section.table.rows:
        return section
    return replace(section, note=otherwise, charts=())
