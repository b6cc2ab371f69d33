"""What examples/README.md says of each example without a cluster is so; whatever they need answers on loopback."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.local_runs import Place
from tests.support.neighbours.client import Neighbours
from tests.support.postgres_server import PostgresServer

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
TOLD: Final = dict(
    re.findall(r"^\| \[(.+?)\]\(.*\| (.+?) \|$", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
)
AS_IT_IS: Final = [name for name, told in TOLD.items() if told.startswith("yes")]
NEVER: Final = [name for name, told in TOLD.items() if told.startswith("no: ")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "place")
    (place.folder / "examples").symlink_to(EXAMPLES)
    return place


def edited(place: Place, name: str, *edits: tuple[str, str]) -> None:
    """The example as a user makes it fit the own machine."""
    text = (EXAMPLES / f"{name}.yaml").read_text("utf-8")
    for old, new in edits:
        assert old in text, f"{name} has no {old!r} to replace"
        text = text.replace(old, new)
    (place.folder / "batchjob.yaml").write_text(text)


def test_every_example_is_in_the_table() -> None:
    assert sorted(TOLD) == sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
    assert [
        *("custom-fingerprint", "custom-noop", "custom-suspended", "custom-policies", "custom-notify"),
        *("custom-in-a-queue", "custom-rate-limits"),
    ] == AS_IT_IS
    assert all(told.startswith(("yes", "no: ", "with a ")) for told in TOLD.values())


@pytest.mark.parametrize("name", AS_IT_IS)
def test_an_example_that_runs_as_it_is_does(place: Place, name: str) -> None:
    options = re.findall(r"`(--processors \S+)`", TOLD[name])
    done = place.type("batchjob", "run", "-f", f"examples/{name}.yaml", *" ".join(options).split())
    assert done.returncode == (1 if "made to fail" in TOLD[name] else 0), done.stderr


@pytest.mark.parametrize("name", NEVER)
def test_an_example_that_cannot_run_is_refused_with_its_reason(place: Place, name: str) -> None:
    words = {
        "custom-delayed": "spec.startAfter: ",
        "custom-your-own-processor": "spec.custom.processor: there is no processor 'resize'",
        "email-redrive": "spec.source.redriveOf: ",
        "export-reviews": "spec.source.resultsOf: ",
        "schedule-weekly-export": "one BatchJob is run, and there are 0",
        "schedule-weekly-report": "one BatchJob is run, and there are 0",
    }
    done = place.type("batchjob", "run", "-f", f"examples/{name}.yaml")
    assert done.returncode == 64
    assert words[name] in done.stderr


@pytest.mark.parametrize(
    "name", ["ai-batch-inline", "ai-batch-examples", "ai-batch-many", "ai-batch-costs", "ai-batch-reviews"]
)
def test_an_example_for_a_model_runs_with_one(place: Place, neighbours: Neighbours, name: str) -> None:
    chat = f"127.0.0.1:{neighbours.ports['chat']}"
    if name == "ai-batch-inline":
        edited(place, name, ("name: gpt-5-mini", f"name: stand-in\n      baseUrl: http://{chat}/v1"))
    elif name in {"ai-batch-examples", "ai-batch-many", "ai-batch-costs"}:
        edited(place, name, ("https://models.example.com", f"http://{chat}"))
    else:
        neighbours.put_object("batchjob", "reviews.jsonl", b'{"id": "a", "text": "good"}\n{"id": "b", "text": "bad"}\n')
        edited(place, name, ("neighbours:8000", chat), ("neighbours:9000", f"127.0.0.1:{neighbours.ports['s3']}"))
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert "used: completionTokens" in done.stdout


@pytest.mark.parametrize("name", ["email-from-secret", "email-html", "email-rate", "email-reviewers"])
def test_an_example_for_a_mail_server_runs_with_one(place: Place, neighbours: Neighbours, name: str) -> None:
    here = f"host: 127.0.0.1, port: {neighbours.ports['smtp']}"
    if name == "email-rate":
        new = f"host: 127.0.0.1\n      port: {neighbours.ports['smtp']}\n      tls: none"
        edited(place, name, ("host: mail.example.com", new))
    else:
        edited(place, name, ("host: neighbours, port: 2525", here))
    done = place.run()
    assert done.returncode == 0, done.stderr
    sent = re.search(r"used: emailsSent (\d+)", done.stdout)
    assert sent
    assert neighbours.summary("smtp")["count"] == int(sent[1])


def test_the_example_with_attachments_sends_them(place: Place, neighbours: Neighbours) -> None:
    for name in ("2026-17.pdf", "2026-18.pdf", "logo.png"):
        neighbours.put_object("batchjob", f"invoices/{name}", b"a file")
    ports = neighbours.ports
    edited(
        place, "email-attachments",
        ("host: neighbours, port: 2525", f"host: 127.0.0.1, port: {ports['smtp']}"),
        ("neighbours:9000", f"127.0.0.1:{ports['s3']}"),
    )  # fmt: skip
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert "emailsSent 1" in done.stdout
    assert "mailsSuppressed 1" in done.stdout
    assert [row["rcpt_tos"] for row in neighbours.ledger("smtp")] == [["ada@example.com"]]


def test_the_example_of_a_dry_run_writes_mails_into_a_folder(place: Place) -> None:
    text = (EXAMPLES / "email-dry-run.yaml").read_text("utf-8")
    (place.folder / "batchjob.yaml").write_text(
        text[: text.index("    destination:")] + "    destination: {url: out}\n"
    )
    done = place.run()
    assert done.returncode == 0, done.stderr
    (mail,) = (place.folder / "out").glob("newsletter-try-*/mail-*.eml")
    assert b"https://example.com/Assam" in mail.read_bytes()


def test_the_example_for_a_bucket_runs_with_one_and_with_a_folder(place: Place, neighbours: Neighbours) -> None:
    edited(place, "export-csv-from-configmap", ("neighbours:9000", f"127.0.0.1:{neighbours.ports['s3']}"))
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert "results: s3://batchjob/exports/export-stock-" in done.stdout
    text = (EXAMPLES / "export-csv-from-configmap.yaml").read_text("utf-8")
    (place.folder / "batchjob.yaml").write_text(
        text[: text.index("    destination:")] + "    destination: {url: out}\n"
    )
    done = place.run()
    assert done.returncode == 0, done.stderr
    (part,) = (place.folder / "out").glob("export-stock-*/part-*.jsonl")
    assert json.loads(part.read_text().splitlines()[0]) == {"name": "Teapot", "amount": "12"}
    assert "left out: 1 bad record (" in done.stdout


@pytest.mark.parametrize("name", ["export-for-excel", "export-one-file", "export-parquet", "export-xlsx"])
def test_an_example_for_a_claim_of_its_own_runs_with_a_folder(place: Place, name: str) -> None:
    text = (EXAMPLES / f"{name}.yaml").read_text("utf-8")
    (place.folder / "batchjob.yaml").write_text(
        text[: text.index("    destination:")] + "    destination: {url: out}\n"
    )
    done = place.run()
    assert done.returncode == 0, done.stderr
    (part,) = (path for path in (place.folder / "out").glob(f"{name}-*/*") if path.name != "manifest.json")
    if name == "export-one-file":
        assert part.name == "export-one-file.csv"
        assert part.read_text().splitlines()[1:] == ["A-1,Zoë,12.50", 'A-2,"Müller, Köln",3.00', "A-3,O'Neil,0.99"]
    elif name == "export-for-excel":
        assert part.read_text("utf-8-sig").splitlines() == [
            "Order,Customer,Day,Pieces,Paid",
            "A-1,Zoë,2026-02-28,12,true",
            'A-2,"\'=HYPERLINK(""http://example.com"")",2026-03-01,3,false',
        ]


def test_the_example_for_a_claim_runs_with_a_file(place: Place) -> None:
    (place.folder / "orders.jsonl").write_text('{"id": "a", "total": 1}\n')
    edited(place, "export-on-claim", ("file:///data/orders.jsonl", "orders.jsonl"), ("file:///data/out", "out"))
    done = place.run()
    assert done.returncode == 0, done.stderr
    (part,) = (place.folder / "out").glob("export-orders-*/part-*.csv")
    assert part.read_text().split() == ["id,total", "a,1"]


def test_the_example_for_a_table_runs_with_one(place: Place, neighbours: Neighbours, postgres: PostgresServer) -> None:
    text = (EXAMPLES / "ai-batch-to-a-table.yaml").read_text("utf-8")
    (table,) = re.findall(r"CREATE TABLE .*;", text)
    postgres.execute("DROP TABLE IF EXISTS moods", table)
    edited(
        place, "ai-batch-to-a-table",
        ("postgresql://writer:demo-not-a-secret@database:5432/shop?sslmode=require", postgres.dsn),
        ("neighbours:8000", f"127.0.0.1:{neighbours.ports['chat']}"),
    )  # fmt: skip
    done = place.run()
    assert done.returncode == 0, done.stderr
    postgres.execute("SELECT 1 / (count(mood) = 2)::int FROM moods WHERE result->>'mood' = mood", "DROP TABLE moods")


@pytest.mark.parametrize("name", ["export-sql", "export-sql-ranges"])
def test_an_example_for_a_database_runs_with_one(
    place: Place, neighbours: Neighbours, postgres: PostgresServer, name: str
) -> None:
    postgres.execute(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (number int, customer text, total numeric, ordered_at timestamptz)",
        "INSERT INTO orders VALUES (1, 'Ada', 9.50, '2026-02-01'), (2, 'Alan', 1, '2025-01-01')",
    )
    edited(
        place, name,
        ("postgresql://reader:demo-not-a-secret@database:5432/shop?sslmode=require", postgres.dsn),
        ("neighbours:9000", f"127.0.0.1:{neighbours.ports['s3']}"),
    )  # fmt: skip
    done = place.run()
    postgres.execute("DROP TABLE orders")
    assert done.returncode == 0, done.stderr
    assert ("rowsExported 1" if name == "export-sql" else "rowsExported 2") in done.stdout
    assert "1 of 1 succeeded" in done.stdout


def test_the_example_of_a_report_with_queries_runs_with_a_database(place: Place, postgres: PostgresServer) -> None:
    postgres.execute(
        "DROP TABLE IF EXISTS reviews",
        "CREATE TABLE reviews (written date, country text, stars int)",
        "INSERT INTO reviews VALUES ('2026-02-01', 'Austria', 5), ('2026-02-02', 'Austria', 3)",
    )
    edited(
        place, "report-with-queries",
        ("postgresql://reader:demo-not-a-secret@database:5432/shop?sslmode=require", postgres.dsn),
        ("{url: file:///data/reports}", "{url: out}"),
        ("  worker:\n    volumes:\n      - {claimName: reports, mountPath: /data}\n", ""),
    )  # fmt: skip
    done = place.run()
    postgres.execute("DROP TABLE reviews")
    assert done.returncode == 0, done.stderr
    [page] = place.folder.glob("out/report-with-queries-*/report.html")
    assert "Austria: 2 reviews" in page.read_text()
