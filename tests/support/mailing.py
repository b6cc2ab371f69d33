"""Runs of type email against the SMTP sink of the neighbours."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from batchjob.api.run import EXIT_CLOSED, Run
from batchjob.core.snapshot import Snapshot
from batchjob.worker.processor import make_processor
from tests.support import manifests
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers


def people(count: int, **data: Any) -> dict[str, Any]:
    """A source of `count` recipients p0, p1, …"""
    return {
        "items": [
            {"id": f"p{n}", "data": {"email": f"p{n}@mail.example", "name": f"P{n}", **data}} for n in range(count)
        ]
    }


def mailing(neighbours: Neighbours, source: dict[str, Any], block: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The spec of a mailing through the sink; `block` adds or replaces fields of spec.email, None removes one."""
    found: dict[str, Any] = manifests.email("m", source, **spec)["spec"]
    found["email"]["smtp"] |= {"host": "127.0.0.1", "port": neighbours.ports["smtp"]} | block.pop("smtp", {})
    found["email"] = {name: value for name, value in (found["email"] | block).items() if value is not None}
    return found


async def send(workers: Workers, run: Run) -> Snapshot:
    """One worker until the end; returns what became of the run."""
    assert await workers.work(run, make_processor("email")) == EXIT_CLOSED
    return await workers.snapshot(run)


def received(neighbours: Neighbours) -> dict[str, EmailMessage]:
    """The last mail to each recipient."""
    return {
        row["rcpt_tos"][0]: message_from_bytes(neighbours.mail(row["sequence"]), policy=default)
        for row in neighbours.ledger("smtp")
    }
