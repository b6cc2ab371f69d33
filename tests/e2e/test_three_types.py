"""The product's promise in one run: three types at once, each item once, counts that equal the neighbours' ledgers."""

import csv
import io
import json
from collections import Counter
from typing import Any

from tests.support.cluster_jobs import Jobs
from tests.support.manifests import ai_batch, email, export, inline, noop
from tests.support.neighbours.client import Neighbours

PEOPLE = 20
SENTENCES = 60
ROWS = 250


def test_a_no_op_batch_runs_in_pods_to_complete(jobs: Jobs) -> None:
    jobs.apply(noop("noop", inline(12), parallelism=2))
    status = jobs.wait_complete("noop")
    assert status["phase"] == "Succeeded"
    assert status["progress"] == "12/12"
    assert status["counts"]["succeeded"] == 12


def test_three_types_at_once_touch_each_item_exactly_once(jobs: Jobs, neighbours: Neighbours) -> None:
    people = {
        "items": [{"id": f"p{n}", "data": {"email": f"p{n}@three.example", "name": f"P{n}"}} for n in range(PEOPLE)]
    }
    jobs.apply(
        ai_batch("three-annotate", inline(SENTENCES), parallelism=2),
        export("three-export", inline(ROWS, amount=7)),
        email("three-mail", people),
    )
    statuses = {name: jobs.wait_complete(name) for name in ("three-annotate", "three-export", "three-mail")}

    answered = chat_answers(neighbours, jobs.uid("three-annotate"))
    assert answered == Counter({f"i{n}": 1 for n in range(SENTENCES)})
    assert statuses["three-annotate"]["counts"]["succeeded"] == answered.total()

    recipients = Counter(
        r for row in neighbours.ledger("smtp") for r in row["rcpt_tos"] if r.endswith("@three.example")
    )
    assert recipients == Counter({f"p{n}@three.example": 1 for n in range(PEOPLE)})
    assert statuses["three-mail"]["usage"]["emailsSent"] == PEOPLE

    rows = exported_rows(neighbours, statuses["three-export"]["results"]["uri"])
    assert Counter(row["id"] for row in rows) == Counter({f"i{n}": 1 for n in range(ROWS)})
    assert statuses["three-export"]["usage"]["rowsExported"] == ROWS


def chat_answers(neighbours: Neighbours, uid: str) -> Counter[str]:
    """How often each item of a run was answered with 200."""
    rows = [row for row in neighbours.ledger("chat") if row["status"] == 200]
    return Counter(row["item"].removeprefix(f"{uid}:") for row in rows if row["item"].startswith(f"{uid}:"))


def exported_rows(neighbours: Neighbours, uri: str) -> list[dict[str, Any]]:
    """Every row that the manifest of an export vouches for."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    manifest = json.loads(neighbours.get_object(bucket, key))
    folder = key.rpartition("/")[0]
    parts = [neighbours.get_object(bucket, f"{folder}/{part['name']}").decode() for part in manifest["parts"]]
    return [row for part in parts for row in csv.DictReader(io.StringIO(part, newline=""))]
