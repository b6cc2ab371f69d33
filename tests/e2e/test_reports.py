"""A report that a BatchSchedule made, in pods: its figures are those of the mail server's ledger, and it arrives."""

import json
from email import message_from_bytes
from email.policy import default
from typing import Any

from tests.support.cluster_jobs import Jobs
from tests.support.cluster_schedules import Schedules, batch_schedule
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import destination, email
from tests.support.neighbours.client import Neighbours

OWNER = "reporter"  # who owns nothing else in this namespace
MANAGER = "manager@reports.example"
PEOPLE = 12
REFUSED = 2
BLOCK = {
    "title": "What became of it",
    "window": "24h",
    "formats": ["html", "json"],
    "deliver": {
        "destination": destination("reports"),
        "email": {
            "smtp": {"host": "neighbours", "port": 2525, "tls": "none"},
            "from": "reports@reports.example",
            "to": [MANAGER],
        },
    },
}


def test_a_schedule_makes_a_report_whose_figures_are_those_of_the_ledger(
    jobs: Jobs, namespace: Kubectl, neighbours: Neighbours
) -> None:
    people = [{"id": f"p{n}", "data": {"email": f"p{n}@reported.example", "name": f"P{n}"}} for n in range(PEOPLE)]
    neighbours.set_faults("smtp", [{"match": f"p[0-{REFUSED - 1}]@", "action": "smtp_code", "status": 550}])
    jobs.apply(email("reported", {"items": people}, owner=OWNER))
    jobs.wait_condition("reported", "Failed", "ItemsFailed")
    accepted = [row for row in neighbours.ledger("smtp") if "@reported.example" in row["rcpt_tos"][0]]

    schedules = Schedules(namespace)
    spec = {"type": "report", "report": BLOCK}
    schedules.apply(batch_schedule("minutely", "* * * * *", template={"spec": spec}, owner=OWNER))
    try:
        [made, *_] = wait_until(lambda: complete(jobs), "a report of the schedule to be complete")
    finally:
        namespace("delete", "batchschedule", "minutely")

    bucket, _, key = made["status"]["results"]["uri"].removeprefix("s3://").partition("/")
    folder = key.rpartition("/")[0]
    total = json.loads(neighbours.get_object(bucket, f"{folder}/report.json"))["figures"]["total"]
    assert (total["items"], total["succeeded"], total["failed"]) == (PEOPLE, len(accepted), REFUSED)
    assert total["usage"]["emailsSent"] == len(accepted) == PEOPLE - REFUSED
    assert "reported" in neighbours.get_object(bucket, f"{folder}/report.html").decode()

    [row] = [row for row in neighbours.ledger("smtp") if made["metadata"]["uid"] in row["item"]]
    assert row["rcpt_tos"] == [MANAGER]
    mail = message_from_bytes(neighbours.mail(row["sequence"]), policy=default)
    assert mail["Subject"].startswith("What became of it")
    assert {part.get_filename() for part in mail.iter_attachments()} == {"report.html", "report.json"}


def complete(jobs: Jobs) -> list[dict[str, Any]]:
    """The schedule's reports that are complete."""
    runs = jobs.kubectl.items("batchjobs", "-l", "batchjob.dev/schedule=minutely")
    return [run for run in runs if run.get("status", {}).get("phase") == "Succeeded"]
