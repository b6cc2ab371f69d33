"""Type report through real workers: its figures are those of what was done, and it arrives once where it is to go."""

import json
import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from batchjob.api.figures import Document
from batchjob.api.run import EXIT_CLOSED
from batchjob.controller.known import KnownBatchJobs
from batchjob.core.items import RunState
from batchjob.errors import ConfigurationError
from batchjob.worker import load
from batchjob.worker.processor import make_processor
from batchjob_processors import report as processor
from batchjob_processors import smtp
from batchjob_processors.report import render
from tests.support.mailing import mailing, people, send
from tests.support.manifests import inline, noop
from tests.support.neighbours.client import Neighbours
from tests.support.postgres_server import PostgresServer
from tests.support.reporting import NOW, document, end, files, prepare, report, reporting
from tests.support.workers import Workers

TEXTS = ", ".join(f"repeat('x', 499) AS c{n}" for n in range(20))
ONE_TRY = {"retry": {"maxAttempts": 1, "backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}
TWO_TRIES = {"retry": {"maxAttempts": 2, "backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "GREYLISTED_SECONDS", 0.1)


def by_mail(neighbours: Neighbours, *to: str, **fields: Any) -> dict[str, Any]:
    server = {"host": "127.0.0.1", "port": neighbours.ports["smtp"], "tls": "none"}
    return {"email": {"smtp": server, "from": "Reports <reports@example.com>", "to": list(to), **fields}}


async def test_the_figures_equal_what_the_mail_server_saw(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults(
        "smtp",
        [
            {"action": "smtp_code", "status": 550, "match": "p[0-4]@"},
            {"action": "smtp_code", "status": 451, "match": "p[5-9]@", "times": 1},
        ],
    )
    for number, count in enumerate((20, 30)):
        spec = mailing(neighbours, people(count), {}, owner="alice", **TWO_TRIES)
        run = await workers.open(spec)
        await send(workers, run)
        await end(workers, run, NOW - timedelta(days=1 + number))
    refused, put_off = (rule["hits"] for rule in neighbours.faults()["smtp"])
    neighbours.clear_faults()
    stranger = await workers.open(mailing(neighbours, people(3), {}, owner="bob"))
    await send(workers, stranger)
    await end(workers, stranger, NOW - timedelta(days=1))
    run, _ = await report(workers, reporting(workers))
    accepted = [row for row in neighbours.ledger("smtp") if stranger.uid not in row["item"]]
    total = document(workers, run).figures.total
    assert (total.runs, total.failed_runs, total.items) == (2, 2, 50)
    assert total.succeeded == total.usage["emailsSent"] == len(accepted) == 40
    assert (total.failed, total.retried) == (refused, put_off) == (10, 5)
    [failures] = document(workers, run).figures.failures
    assert (failures.error_class, failures.items) == ("refused", 10)
    assert total.p50_seconds is not None
    assert 0.001 <= total.p50_seconds <= (total.p95_seconds or 0)
    assert [span.succeeded for span in document(workers, run).figures.spans] == [0, 0, 0, 0, 0, 25, 15, 0]


async def test_scope_all_covers_every_owner_and_namespace(workers: Workers, neighbours: Neighbours) -> None:
    for number, owner in enumerate(("alice", "bob")):
        run = await workers.open(mailing(neighbours, people(2 + number), {}, owner=owner))
        await send(workers, run)
        await end(workers, run.model_copy(update={"namespace": f"team-{owner}"}), NOW - timedelta(hours=1))
    found, _ = await report(workers, reporting(workers, scope="all", window="24h"))
    figures = document(workers, found).figures
    assert (figures.total.items, figures.scope) == (5, "all")
    nobody, _ = await report(workers, reporting(workers))
    assert document(workers, nobody).figures.total.items == 0, "alice's run was in another namespace"


async def test_what_waits_is_that_of_the_owner_and_the_oldest_is_timed(workers: Workers) -> None:
    known = KnownBatchJobs()
    for number, (owner, minutes) in enumerate((("alice", 5), ("alice", 30), ("bob", 60))):
        created = (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"w{number}"
        known.seen({
            "metadata": {"name": name, "namespace": "test", "uid": name, "resourceVersion": "1"}
            | {"creationTimestamp": created},
            "spec": {"type": "export", "owner": owner},
            "status": {"phase": "Queued", "queuePosition": number + 1},
        })  # fmt: skip
    run = await workers.open(reporting(workers))
    await prepare(workers, run, known)
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    [line] = document(workers, run).figures.queues
    assert (line.queue, line.waiting) == ("export", 2)
    assert (line.oldest_waiting_seconds or 0) > 1800


async def test_every_format_is_a_file_and_the_manifest_vouches_for_each(workers: Workers) -> None:
    run, found = await report(workers, reporting(workers, formats=["html", "pdf", "csv", "json"], title="Week"))
    assert (found.state, found.counts.succeeded) == (RunState.CLOSED, 1)
    written = files(workers, run)
    manifest = json.loads(written.pop("manifest.json"))
    assert sorted(part["name"] for part in manifest["parts"]) == sorted(written)
    assert {"report.html", "report.pdf", "report.json", "summary.csv", "queues.csv"} <= written.keys()
    assert b"<h1>Week</h1>" in written["report.html"]
    assert written["report.pdf"].startswith(b"%PDF")


async def test_each_recipient_gets_one_mail_with_the_files(workers: Workers, neighbours: Neighbours) -> None:
    deliver = by_mail(neighbours, "Ada <ada@mail.example>", "bob@mail.example")
    spec = reporting(workers, deliver=deliver, formats=["html", "csv"], title="Week")
    neighbours.set_faults("smtp", [{"action": "smtp_code", "status": 451, "match": "bob@", "times": 1}])
    run, found = await report(workers, spec | TWO_TRIES)
    assert (found.counts.succeeded, found.usage) == (2, {"emailsSent": 2})
    accepted = neighbours.ledger("smtp")
    assert sorted(row["rcpt_tos"][0] for row in accepted) == ["ada@mail.example", "bob@mail.example"]
    assert {row["item"] for row in accepted} == {f"<{run.uid}.{n}@example.com>" for n in range(2)}
    mail = message_from_bytes(neighbours.mail(accepted[0]["sequence"]), policy=default)
    assert mail["Subject"] == "Week: 16 Nov to 23 Nov 2026"
    names = [part.get_filename() for part in mail.iter_attachments()]
    assert names[:3] == ["report.html", "summary.csv", "throughput.csv"]
    text = mail.get_body(("plain",))
    assert text is not None
    assert "No BatchJob ended in this window." in text.get_content()


async def test_all_who_get_a_report_get_what_was_made_of_it_once(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def render_and_count(document: Document, *rest: Any, **named: Any) -> dict[str, bytes]:
        made.append(document.title)
        return render(document, *rest, **named)

    monkeypatch.setattr(processor, "render", render_and_count)
    deliver = by_mail(neighbours, "ada@mail.example", "bob@mail.example", "eve@mail.example", subject="A\n week\n")
    deliver["destination"] = {"url": f"file://{workers.claim}/reports"}
    run, found = await report(workers, reporting(workers, deliver=deliver, title="The\r\nweek\n"))
    assert (found.counts.succeeded, made) == (4, ["The week"])
    assert sorted(files(workers, run)) == ["manifest.json", "report.json"], "the text of the mails is no file"
    assert {row["subject"] for row in neighbours.ledger("smtp")} == {"A week"}


async def test_a_title_of_two_lines_is_a_subject_of_one(workers: Workers, neighbours: Neighbours) -> None:
    _, found = await report(workers, reporting(workers, deliver=by_mail(neighbours, "a@mail.example"), title="a\nb\n"))
    assert found.counts.succeeded == 1
    assert [row["subject"] for row in neighbours.ledger("smtp")] == ["a b: 16 Nov to 23 Nov 2026"]


async def test_one_refused_recipient_keeps_no_other_from_the_report(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("smtp", [{"action": "smtp_code", "status": 550, "match": "gone@"}])
    deliver = by_mail(neighbours, "gone@mail.example", "bob@mail.example")
    _, found = await report(workers, reporting(workers, deliver=deliver))
    assert (found.counts.succeeded, found.counts.failed) == (1, 1)
    assert found.last_errors[0].error_class == "refused"


async def test_a_report_that_is_made_again_says_the_same(workers: Workers) -> None:
    run = await workers.open(reporting(workers))
    await prepare(workers, run)
    late = await workers.open(noop("late", inline(1), owner="alice")["spec"])
    assert await workers.work(late, make_processor("noop")) == EXIT_CLOSED
    await end(workers, late, NOW - timedelta(hours=1))
    await prepare(workers, run)  # the operator died before it wrote the status
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    assert document(workers, run).figures.total.runs == 0


async def test_sections_of_queries_are_tables_and_charts(workers: Workers, postgres: PostgresServer) -> None:
    rows = "SELECT * FROM (VALUES ('Berlin', 2.50::numeric, true), ('Wien', NULL, false)) AS t (city, amount, paid)"
    chart = "SELECT date '2026-01-01' + n AS day, n * 2 AS items FROM generate_series(0, 9) AS n"
    secret = {"name": "shop", "key": "dsn"}
    sections = [
        {"title": "Cities", "sql": {"dsnSecretRef": secret, "query": rows}},
        {"show": "summary"},
        {"title": "A day", "sql": {"dsnSecretRef": secret, "query": chart, "chart": "line"}},
    ]
    run = await workers.open(reporting(workers, sections=sections, formats=["html", "json", "csv"]))
    for number in (0, 2):
        workers.reference(run, f"query-{number}", dsn=postgres.dsn)
    await prepare(workers, run)
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    found = document(workers, run).queries
    assert (found["0"].rows, found["0"].exact) == ([["Berlin", "2.50", True], ["Wien", None, False]], [1])
    assert found["2"].rows[9] == ["2026-01-10", 18]
    written = files(workers, run)
    assert written["query-1.csv"].decode().splitlines()[1] == "Berlin,2.50,true"
    assert written["report.html"].count(b"<svg") == 1


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ({"query": "SELEC 1"}, r"sections\[1\]\.sql\.query: syntax error at or near .SELEC.*SQLSTATE 42601"),
        ({"query": "SELECT n FROM generate_series(1, 501) AS n"}, r"sections\[1\]\.sql: .*more than 500 rows: .*LIMIT"),
        ({"query": "SELECT 'a' AS x, 'b' AS y", "chart": "bars"}, "column 'y' is to be drawn, and 'b' is no number"),
        ({"query": "SELECT 1 AS x", "chart": "bars"}, "a chart needs 2 to 7 columns, and the query has 1"),
        ({"query": "SELECT n AS x, n AS y FROM generate_series(1, 61) AS n", "chart": "line"}, "60 rows at most"),
        ({"query": f"SELECT {', '.join(f'1 AS c{n}' for n in range(21))}"}, "21 columns, and 20 fit"),
        (
            {"query": "SELECT 'a' AS x, 'NaN'::numeric AS y", "chart": "bars"},
            "column 'y' is to be drawn, and 'NaN' is no",
        ),
        (
            {"query": f"SELECT {TEXTS} FROM generate_series(1, 500)"},
            r"sections\[1\]\.sql: .*more than 4 MiB, .*add LIMIT",
        ),
        ({"query": "DELETE FROM nowhere"}, r"sections\[1\]\.sql"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "names the column 'a' twice"),
    ],
)
async def test_a_query_that_cannot_be_shown_ends_the_run_with_its_field(
    workers: Workers, postgres: PostgresServer, sql: dict[str, Any], words: str
) -> None:
    section = {"title": "T", "sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, **sql}}
    run = await workers.open(reporting(workers, sections=[{"show": "summary"}, section]) | ONE_TRY)
    workers.reference(run, "query-1", dsn=postgres.dsn)
    await prepare(workers, run)
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert (found.state, found.reason) == (RunState.FAILED, "InvalidSource")
    assert re.search(words, found.message or ""), found.message
    assert "spec.report.sections[1].sql" in (found.message or "")


async def test_a_database_that_is_away_ends_the_run_after_its_attempts(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PATIENCE_SECONDS", 0)  # a resolver that is away for a moment would be waited for
    section = {"title": "T", "sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": "SELECT 1"}}
    run = await workers.open(reporting(workers, sections=[section]) | ONE_TRY)
    workers.reference(run, "query-0", dsn="postgresql://u:secret@nowhere.invalid/shop")
    await prepare(workers, run)
    assert await workers.work(run, make_processor("report")) == EXIT_CLOSED
    found = await workers.snapshot(run)
    assert found.reason == "SourceUnreachable"
    assert (found.message or "").startswith("spec.report.sections[0].sql.dsnSecretRef: the database cannot be reached")
    assert "secret" not in (found.message or "")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"to": ["a@b@c"]}, r"spec\.report\.deliver\.email\.to\[0\] is not an address: 'a@b@c'"),
        ({"to": ["ok@mail.example", "nobody"]}, r"spec\.report\.deliver\.email\.to\[1\] is not an address"),
        ({"from": "Reports"}, r"spec\.report\.deliver\.email\.from is not an address"),
    ],
)
async def test_a_wrong_address_ends_the_run_before_any_mail(
    workers: Workers, neighbours: Neighbours, fields: dict[str, Any], words: str
) -> None:
    deliver = by_mail(neighbours, "a@mail.example")
    deliver["email"] |= fields
    run = await workers.open(reporting(workers, deliver=deliver))
    await prepare(workers, run)
    with pytest.raises(ConfigurationError, match=words):
        await workers.work(run, make_processor("report"))
    assert neighbours.ledger("smtp") == []


async def test_a_mail_server_that_is_away_is_named_by_its_field(workers: Workers, neighbours: Neighbours) -> None:
    deliver = by_mail(neighbours, "a@mail.example")
    deliver["email"]["smtp"]["port"] = 1
    _, found = await report(workers, reporting(workers, deliver=deliver) | ONE_TRY)
    assert found.last_errors[0].message.startswith("spec.report.deliver.email.smtp: 127.0.0.1:1 cannot be used")
