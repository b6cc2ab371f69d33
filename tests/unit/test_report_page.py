"""What a report looks like: numbers as people read them, and pages that nothing in the data can break."""

import csv
import io
import itertools
import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from batchjob.api.blocks.report import Report, Shown
from batchjob.api.figures import (
    Document,
    FailingJob,
    FailureFigures,
    Figures,
    Measures,
    QueueFigures,
    Rows,
    Span,
)
from batchjob_processors.report import LETTER, render
from batchjob_processors.reporting import numbers
from batchjob_processors.reporting.charts import LIGHT, draw
from batchjob_processors.reporting.paper import as_inputs
from batchjob_processors.reporting.sections import build_view
from batchjob_processors.reporting.view import Chart

EVIL = "<script>alert(1)</script>&\"'"
NOW = Measures(
    runs=2, succeeded_runs=1, failed_runs=1, items=10, succeeded=8, failed=2, retried=3, success_percent=80.0,
    items_per_hour=0.06, p50_seconds=0.5, p95_seconds=70, usage={"emailsSent": 8, EVIL[:20]: 1},
)  # fmt: skip
FIGURES = Figures(
    since="2026-11-16T09:00:00+01:00",
    until="2026-11-23T09:00:00+01:00",
    time_zone="Europe/Berlin",
    scope="owner",
    namespace="team",
    owner=EVIL,
    total=NOW,
    before=Measures(items=5, succeeded=5, success_percent=100.0, runs=1, p50_seconds=1),
    queues=[QueueFigures(queue="email", now=NOW, waiting=2, oldest_waiting_seconds=90)],
    failures=[FailureFigures(error_class=EVIL, items=2, before=0)],
    spans=[Span(start="2026-11-16T09:00:00+01:00", label="Mon 16 Nov", succeeded=8, failed=2)],
    failing_jobs=[
        FailingJob(
            namespace="team",
            name="job",
            queue="email",
            phase="Failed",
            failed=2,
            total=10,
            ended="2026-11-17T09:00:00+01:00",
        )
    ],
)
QUERY = {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": "SELECT"}
SECTIONS = [
    *({"show": shown} for shown in Shown),
    {"title": EVIL, "sql": QUERY},
    {"title": "Bars", "sql": QUERY | {"chart": "bars"}},
    {"title": "Line", "sql": QUERY | {"chart": "line"}},
]
ROWS = Rows(columns=["day", "=1+1"], rows=[[EVIL, 5], ["+cmd", None], ["c", -2.5]])
DOCUMENT = Document(title=EVIL, batch_job="team/weekly", figures=FIGURES, queries={str(n): ROWS for n in range(7, 10)})


class Tags(HTMLParser):
    """Which elements a page has, and that each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def block(*formats: str, **fields: Any) -> Report:
    return Report.model_validate(
        {"deliver": {"destination": {"url": "file:///out"}}, "formats": formats, "sections": SECTIONS, **fields}
    )


def test_a_page_needs_nothing_else_and_shows_markup_as_text() -> None:
    found = render(DOCUMENT, block("html"), with_letter=True)
    for name in ("report.html", LETTER):
        page = found[name].decode()
        tags = Tags(page)
        assert "script" not in tags.seen
        assert tags.links == []
        assert page.count("&lt;script&gt;") >= 4
        assert "url(" not in page
    assert "prefers-color-scheme:dark" in found["report.html"].decode()
    assert found[LETTER].count(b"<svg") == 0, "mail programs show none"


def test_a_chart_is_well_formed_and_says_its_numbers() -> None:
    chart = Chart("stacked", [EVIL, "b"], [("good", [3, None]), ("bad", [1, 0])], ("good", "bad"), numbers.whole)
    for kind in ("stacked", "bars", "line", "across"):
        drawn = ET.fromstring(draw(Chart(kind, chart.labels, chart.series), LIGHT, EVIL))
        titles = [found.text for found in drawn.iter("{http://www.w3.org/2000/svg}title")]
        assert titles[0] == EVIL
        assert f"{EVIL}: 3 good" in titles


def test_labels_of_a_chart_keep_clear_of_each_other() -> None:
    labels = [f"2026-11-{day:02d}" for day in range(1, 31)]
    drawn = ET.fromstring(draw(Chart("line", labels, [("a", [1.0] * 30)]), LIGHT, "t"))
    found = [text for text in drawn.iter("{http://www.w3.org/2000/svg}text") if text.text in labels]
    places = [float(text.attrib["x"]) for text in found]
    assert len(places) >= 8
    assert min(after - before for before, after in itertools.pairwise(places)) >= 70, "ten characters of 12 pixels"


@pytest.mark.parametrize("values", [[], [0, 0], [None], [1e-7, 2e-7], [-3, 4], [2**53]])
def test_a_chart_can_be_drawn_of_any_numbers(values: list[float | None]) -> None:
    for kind in ("stacked", "bars", "line", "across"):
        drawn = draw(Chart(kind, [str(n) for n in range(len(values))], [("a", values)]), LIGHT, "t")
        assert ET.fromstring(drawn) is not None
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_each_table_is_a_csv_file_without_formulas() -> None:
    found = render(DOCUMENT, block("csv"))
    assert list(found) == [
        *("summary.csv", "throughput.csv", "queues.csv", "durations.csv", "failures.csv", "jobs.csv", "usage.csv"),
        *("query-8.csv", "query-9.csv", "query-10.csv"),
    ]
    rows = list(csv.reader(io.StringIO(found["query-8.csv"].decode(), newline="")))
    assert rows == [["day", "'=1+1"], [EVIL, "5"], ["'+cmd", ""], ["c", "-2.5"]]
    summary = {row["Figure"]: row["Value"] for row in csv.DictReader(io.StringIO(found["summary.csv"].decode()))}
    total = DOCUMENT.figures.total
    assert (summary["Items done"], summary["95 % of items within"]) == (str(total.succeeded), str(total.p95_seconds))
    queues = list(csv.DictReader(io.StringIO(found["queues.csv"].decode())))
    assert (queues[0]["Queue"], queues[0]["Success"], queues[0]["p95"]) == ("email", "80.0", "70.0")


def test_numbers_with_the_digits_of_the_database_are_numbers_in_every_format() -> None:
    rows = Rows(columns=["city", "amount"], rows=[["Berlin", "-1234.50"], ["Wien", None]], exact=[1])
    document = DOCUMENT.model_copy(update={"queries": {str(n): rows for n in range(7, 10)}})
    view = build_view(document, block("html").shown)
    table = view.sections[7].table
    assert table
    assert (table.columns[1].is_number, table.written()) == (True, [["Berlin", "-1,234.50"], ["Wien", numbers.DASH]])
    assert view.sections[8].charts[0].series == [("amount", [-1234.5, None])]
    assert render(document, block("csv"))["query-8.csv"].decode().splitlines() == [
        "city,amount",
        "Berlin,-1234.50",
        "Wien,",
    ]


def test_money_is_shown_in_its_currency_and_not_in_millionths() -> None:
    total = NOW.model_copy(update={"usage": {"costMicroEUR": 41_204_999, "emailsSent": 8}})
    figures = FIGURES.model_copy(update={"total": total, "before": NOW.model_copy(update={"usage": {}})})
    [section] = build_view(DOCUMENT.model_copy(update={"figures": figures}), block("html").shown[6:7]).sections
    assert section.table
    assert sorted(section.table.written()) == [["Cost in EUR", "41.20", "0.00", "new"], ["Mails sent", "8", "0", "new"]]


def test_json_is_the_whole_document() -> None:
    found = render(DOCUMENT, block("json"))
    assert Document.model_validate_json(found["report.json"]) == DOCUMENT


def test_a_pdf_is_made_of_the_same_and_twice_the_same() -> None:
    first, second = (render(DOCUMENT, block("pdf"))["report.pdf"] for _ in range(2))
    assert first.startswith(b"%PDF-")
    assert first == second


def test_a_report_of_nothing_says_so() -> None:
    known = {"since": FIGURES.since, "until": FIGURES.until, "time_zone": "UTC", "namespace": "team"}
    empty = Figures(scope="all", covers_window=False, **known)
    document = DOCUMENT.model_copy(update={"figures": empty, "queries": {}})
    view = build_view(document, block("html").shown)
    assert [section.note for section in view.sections] == [
        "No BatchJob ended in this window.",
        "No item ended.",
        "No queue had anything to do.",
        "No item was attempted.",
        "No item failed.",
        "No BatchJob failed, and no item did.",
        "Nothing that is counted was used.",
        *["The query found no rows."] * 3,
    ]
    assert "all BatchJobs" in view.subtitle
    assert not any(section.charts for section in view.sections)
    assert view.warning.endswith("records do not reach back to its beginning. There are none.")
    assert render(document, block("html", "pdf", "csv", "json"))


def test_a_report_of_a_part_of_its_window_says_so_before_all_else() -> None:
    part = FIGURES.model_copy(update={"covers_window": False, "records_since": "2026-11-18T10:00:00+01:00"})
    document = DOCUMENT.model_copy(update={"figures": part})
    found = render(document, block("html", "pdf"), with_letter=True)
    words = "records do not reach back to its beginning. They begin at Wed 18 Nov 2026 10:00."
    for name in ("report.html", LETTER):
        page = found[name].decode()
        assert page.index(words) < page.index("<h2")
    assert len(found["report.pdf"]) > len(render(DOCUMENT, block("pdf"))["report.pdf"])
    assert json.loads(as_inputs(build_view(document, block("pdf").shown))["view"])["warning"].endswith(words)
    assert build_view(DOCUMENT, block("html").shown).warning == ""


def test_what_a_section_leaves_out_is_said_there() -> None:
    cut = FIGURES.model_copy(update={"queues_left_out": True, "usage_left_out": True})
    view = build_view(DOCUMENT.model_copy(update={"figures": cut}), block("html").shown)
    assert {section.name: section.note for section in view.sections if section.name in {"queues", "usage"}} == {
        "queues": "There are more queues: they are in the sums alone.",
        "usage": "There are more names of counters than are shown.",
    }


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.whole, 1234567, "1,234,567"),
        (numbers.whole, None, "–"),  # noqa: RUF001 - no value
        (numbers.number, 0.123, "0.12"),
        (numbers.number, 12.34, "12.3"),
        (numbers.number, 1234.5, "1,234"),
        (numbers.plain, 1234.56, "1,234.56"),
        (numbers.plain, 37 / 3, "12.3333"),
        (numbers.plain, 2.0, "2"),
        (numbers.plain, 1e-7, "1e-7"),
        (numbers.plain, 2**60 + 1, "1,152,921,504,606,846,977"),
        (numbers.plain, True, "yes"),
        (numbers.exact, "2.50", "2.50"),
        (numbers.exact, "-1234567890123456789.05", "-1,234,567,890,123,456,789.05"),
        (numbers.exact, "12.33333333333333333333", "12.3333"),
        (numbers.exact, "0.00000123456", "0.000001235"),
        (numbers.exact, "3.00", "3.00"),
        (numbers.exact, "NaN", "NaN"),
        (numbers.exact, None, numbers.DASH),
        (numbers.exact, "9" * 499 + "…", "9" * 499 + "…"),
        (numbers.percent, 99.97, "99.9 %"),
        (numbers.percent, 100.0, "100 %"),
        (numbers.percent, 0.01, "0.1 %"),
        (numbers.percent, 98.0, "98.0 %"),
        (numbers.seconds, 0, "0 s"),
        (numbers.seconds, 0.0004, "1 ms"),
        (numbers.seconds, 0.045, "45 ms"),
        (numbers.seconds, 1.24, "1.2 s"),
        (numbers.seconds, 42.4, "42 s"),
        (numbers.seconds, 192, "3 min 12 s"),
        (numbers.seconds, 7500, "2 h 5 min"),
        (numbers.seconds, 86400, "1 d"),
    ],
)
def test_numbers_are_written_as_people_read_them(write: Any, value: float | None, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (112, 100, "+12 %"),
        (88, 100, "\u221212 %"),
        (100, 100, "±0 %"),
        (5, 0, "new"),
        (0, 0, "±0 %"),
        (5, None, ""),
        (2000, 1, "× 2,000"),  # noqa: RUF001 - the sign for times
    ],
)
def test_changes_are_written_as_people_read_them(now: float, before: float | None, text: str) -> None:
    assert numbers.change(now, before) == text


def test_no_label_below_a_chart_is_cut_off_at_its_edge() -> None:
    hours = [f"Thu {hour:02}:00" for hour in range(25)]
    chart = Chart("stacked", hours, [("succeeded", [1.0] * 25)])
    drawing = ET.fromstring(draw(chart, LIGHT, "hours"))
    width = float(drawing.attrib["width"])
    labels = [text for text in drawing.iter("{http://www.w3.org/2000/svg}text") if text.text in hours]
    assert labels[-1].text == "Thu 24:00"
    assert all(float(text.attrib["x"]) + 7 * len(str(text.text)) / 2 <= width for text in labels)
