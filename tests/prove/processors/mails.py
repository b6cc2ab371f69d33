"""Mails through a server that puts off, refuses and drops connections, by workers that are killed while they send.

Whoever the server accepts gets the mail under one Message-ID, and gets it twice only where nobody could know that it
had been taken: the connection, or the worker, died between DATA and 250. Who does not want that (`onDoubt: deadLetter`)
gets no mail twice, and finds each mail in doubt among the dead letters.
"""

import json
import time
from collections import Counter
from random import Random
from typing import Any, Final, NamedTuple

from batchjob.api.run import Run
from batchjob_processors.smtp import GREYLISTED_SECONDS
from tests.support.crew import LEASE_MS, Crew
from tests.support.mailing import mailing
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers, wait_for

PODS: Final = 2
CONCURRENCY: Final = 4
LATE_SECONDS: Final = 0.2  # of the server's answer to DATA: a kill finds mails in the gap
PATIENCE_SECONDS: Final = 900
GREYLISTED: Final = "4.7.1 greylisted, try again later"
RETRY: Final = {"maxAttempts": 5, "maxLosses": 100, "backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}
SOURCE: Final = {"configMapRef": {"name": "people", "key": "items.jsonl"}}


class Case(NamedTuple):
    """`put_off`: what the server says to those whom it greylists."""

    recipients: int
    kills: int = 0
    on_doubt: str = "resend"
    put_off: str = GREYLISTED


class Fates(NamedTuple):
    """Who meets what at the server; all others are accepted at once."""

    greylisted: frozenset[str]
    unknown: frozenset[str]  # refused at RCPT
    spam: frozenset[str]  # refused once the mail is whole
    unanswered: frozenset[str]  # taken, and the connection is dropped in place of the 250
    cut: frozenset[str]  # the connection is dropped before DATA

    @property
    def refused(self) -> frozenset[str]:
        """Who gets no mail."""
        return self.unknown | self.spam


THOUSANDTHS: Final = (50, 15, 15, 30, 20)  # of the recipients, by fate


async def trial(workers: Workers, neighbours: Neighbours, case: Case, seed: int) -> dict[str, Any]:
    """Send the mails of one run while workers are killed; AssertionError where the promise does not hold."""
    random = Random(seed)
    fates = draw(random, case.recipients)
    neighbours.set_faults("smtp", rules(fates, case.put_off))
    before = len(neighbours.ledger("smtp"))
    block = {"onDoubt": case.on_doubt}
    run = await workers.open(
        mailing(neighbours, SOURCE, block, parallelism=PODS, concurrency=CONCURRENCY, retry=RETRY), lease_ms=LEASE_MS
    )
    lines = (json.dumps({"id": f"p{n}", "email": address(n), "name": f"P{n}"}) for n in range(case.recipients))
    workers.reference(run, "source", items__jsonl="\n".join(lines))
    began = time.time()
    async with Crew(workers, run, PODS) as crew:
        for number in sorted(random.sample(range(case.recipients // 20, case.recipients * 3 // 4), case.kills)):

            async def have_arrived(most: int = before + number) -> bool | None:
                return bool(neighbours.ledger("smtp", after=most - 1)) or None

            await wait_for(have_arrived, f"{number} mails", PATIENCE_SECONDS)
            crew.kill()
        await crew.finish()
    put_off, *_ = (rule["hits"] for rule in neighbours.faults()["smtp"])
    neighbours.clear_faults("smtp")
    assert put_off == len(fates.greylisted), "not everybody was put off"
    rows = neighbours.ledger("smtp", after=before - 1)
    mails = judge_ids(run, rows)
    if not case.kills:  # a worker that is lost before it could say when leaves no time to wait for
        waited = min(row["time"] - began for row in rows if row["rcpt_tos"][0] in fates.greylisted)
        assert case.put_off != GREYLISTED or waited >= GREYLISTED_SECONDS
    answers = sum(row.get("answer") == "lose_answer" for row in rows)
    in_doubt = await judge_end(workers, run, case, fates, mails, answers)
    return {
        "recipients": case.recipients,
        "greylisted": len(fates.greylisted),
        "refused": len(fates.refused),
        "accepted": len(mails),
        "under_two_message_ids": 0,
        "answers_lost": answers,
        "kills": case.kills,
        f"in_doubt_with_{case.on_doubt}": in_doubt,
        f"repeats_with_{case.on_doubt}": mails.total() - len(mails),
    }


def draw(random: Random, recipients: int) -> Fates:
    """The fates of so many, each of which somebody meets."""
    left = random.sample(range(recipients), recipients)
    counts = [max(1, recipients * share // 1000) for share in THOUSANDTHS]
    return Fates(*(frozenset(address(left.pop()) for _ in range(count)) for count in counts))


def rules(fates: Fates, put_off: str) -> list[dict[str, Any]]:
    """The server's faults; the first is the greylist."""
    found: list[tuple[frozenset[str], dict[str, Any]]] = [
        (fates.greylisted, {"action": "smtp_code", "status": 451, "words": put_off, "times": 1}),
        (fates.unknown, {"action": "smtp_code", "status": 550, "words": "5.1.1 no such user"}),
        (fates.spam, {"action": "data_code", "status": 554, "words": "5.7.1 looks like spam"}),
        (fates.unanswered, {"action": "lose_answer", "delay_seconds": LATE_SECONDS, "times": 1}),
        (fates.cut, {"action": "disconnect", "times": 1}),
    ]
    late = {"action": "answer_late", "delay_seconds": LATE_SECONDS}
    return [*(rule | {"match": f"^(?:{'|'.join(sorted(who))})$"} for who, rule in found), late]


def address(number: int) -> str:
    """Of a recipient."""
    return f"p{number}@mail.example"


def judge_ids(run: Run, rows: list[dict[str, Any]]) -> Counter[str]:
    """How many mails everybody got: all under one Message-ID, which is nobody else's."""
    for row in rows:
        [recipient] = row["rcpt_tos"]
        number = recipient.removeprefix("p").partition("@")[0]
        assert row["message_id"] == f"<{run.uid}.{number}@example.com>"
    return Counter(row["rcpt_tos"][0] for row in rows)


async def judge_end(workers: Workers, run: Run, case: Case, fates: Fates, mails: Counter[str], answers: int) -> int:
    """Nobody is missing, and what repeats was in doubt; returns how often a mail was."""
    found = await workers.snapshot(run)
    letters = {
        f"{letter.id}@mail.example": letter.error_class
        for letter in await workers.store.dead_letters(run.uid, case.recipients)
    }
    assert not fates.refused & mails.keys(), "a mail arrived that was refused"
    assert fates.refused <= letters.keys()
    assert mails.keys() | letters.keys() == {address(n) for n in range(case.recipients)}, "somebody is missing"
    assert found.counts.succeeded == found.usage["emailsSent"] == case.recipients - len(letters)
    repeats, doubts = mails.total() - len(mails), found.usage.get("mailsInDoubt", 0)
    assert doubts <= answers + case.kills * CONCURRENCY, "more was in doubt than was in flight"
    if case.on_doubt == "resend":
        assert letters == dict.fromkeys(fates.refused, "refused")
        assert repeats <= doubts, "a mail was sent again that was not in doubt"
        assert case.kills or repeats == answers
    else:
        in_doubt = {who for who, why in letters.items() if why == "infrastructure"}
        assert letters.keys() - in_doubt <= fates.refused, "a dead letter without a reason"
        assert (repeats, len(in_doubt)) == (0, doubts)
    return doubts
