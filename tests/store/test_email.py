"""Type email through a real worker, the store and an SMTP server: each mail once, and what a server's no means."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from redis.asyncio import Redis

from batchjob.api.blocks.email import Smtp, SmtpTls
from batchjob.errors import ConfigurationError
from batchjob.store.keys import run_key
from batchjob.worker.processor import make_processor
from batchjob_processors import smtp
from batchjob_processors.message import Body, build_message
from tests.support import manifests
from tests.support.mailing import mailing, people, received, send
from tests.support.neighbours.client import Neighbours
from tests.support.neighbours.neighbours.certificates import tls_context
from tests.support.ports import free_port
from tests.support.workers import Workers, ended, freeze_when, wait_for

QUICK = {"retry": {"backoff": {"initialDelaySeconds": 0, "maxDelaySeconds": 1}}}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GREYLISTED_SECONDS", "FULL_SECONDS", "BUSY_SECONDS"):
        monkeypatch.setattr(smtp, name, 0.1)


def arrivals(neighbours: Neighbours) -> Counter[str]:
    return Counter(row["rcpt_tos"][0].partition("@")[0] for row in neighbours.ledger("smtp"))


def once(*numbers: int) -> Counter[str]:
    return Counter({f"p{n}": 1 for n in numbers})


async def test_each_mail_is_sent_once_with_a_stable_message_id(workers: Workers, neighbours: Neighbours) -> None:
    run = await workers.open(mailing(neighbours, people(25), {}))
    found = await send(workers, run)
    assert (found.counts.succeeded, found.usage) == (25, {"emailsSent": 25})
    assert arrivals(neighbours) == once(*range(25))
    assert {row["item"] for row in neighbours.ledger("smtp")} == {f"<{run.uid}.{n}@example.com>" for n in range(25)}
    mail = received(neighbours)["p7@mail.example"]
    assert mail["Subject"] == "Hello P7"
    assert mail.get_content().replace("\r\n", "\n") == "Dear P7,\nthis is the text.\n"
    assert mail["Date"]


async def test_a_mail_arrives_as_it_was_written(workers: Workers, neighbours: Neighbours) -> None:
    block = {
        "text": None,
        "html": "<h1>Grüße, {{ name }}</h1><p><a href='https://x.example/{{ id }}'>more</a></p>",
        "replyTo": "Answers <answers@exämple.org>",
        "locale": "{{ locale }}",
        "translations": [{"locale": "de", "subject": "Hallo {{ name }} 👋"}],
        "headers": [{"name": "X-Campaign", "value": "spring"}],
        "listUnsubscribe": {"url": "https://x.example/off?{{ id | urlencode }}", "oneClick": True},
    }
    source = people(1, name="Ada & <b>Co</b>", id="a&1", locale="de_AT")
    found = await send(workers, await workers.open(mailing(neighbours, source, block)))
    assert found.counts.succeeded == 1, found.last_errors
    mail = received(neighbours)["p0@mail.example"]
    assert mail["Subject"] == "Hallo Ada & <b>Co</b> 👋"
    assert mail["Content-Language"] == "de"
    assert mail["Reply-To"].addresses[0].addr_spec == "answers@xn--exmple-cua.org"
    assert mail["X-Campaign"] == "spring"
    assert mail["List-Unsubscribe"] == "<https://x.example/off?a%261>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text, html = (
        part.get_content().replace("\r\n", "\n") for part in mail.iter_parts() if isinstance(part, EmailMessage)
    )
    assert text == "Grüße, Ada & <b>Co</b>\n\nmore (https://x.example/a&1)\n"
    assert "<h1>Grüße, Ada &amp; &lt;b&gt;Co&lt;&#x2f;b&gt;</h1>" in html


async def test_a_name_that_is_not_ascii_goes_to_a_server_that_takes_it(
    workers: Workers, neighbours: Neighbours
) -> None:
    source = {"items": [{"id": "j", "data": {"email": "Jörg <jörg@exämple.org>", "name": "Jörg"}}]}
    found = await send(workers, await workers.open(mailing(neighbours, source, {})))
    assert found.counts.succeeded == 1, found.last_errors
    assert [row["rcpt_tos"] for row in neighbours.ledger("smtp")] == [["jörg@xn--exmple-cua.org"]]


# ---- what a server says


async def test_a_server_decides_what_becomes_of_a_mail(workers: Workers, neighbours: Neighbours) -> None:
    rules = [
        {"match": "p1@", "action": "smtp_code", "status": 451, "times": 2},
        {"match": "p2@", "action": "smtp_code", "status": 550, "words": "5.1.1 no such user"},
        {"match": "p3@", "action": "disconnect", "times": 1},
        {"match": "p4@", "action": "data_code", "status": 451, "words": "4.3.0 later", "times": 1},
        {"match": "p5@", "action": "data_code", "status": 554, "words": "5.7.1 spam"},
    ]
    neighbours.set_faults("smtp", rules)
    run = await workers.open(mailing(neighbours, people(7), {}, **QUICK))
    found = await send(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (5, 2)
    assert found.usage == {"emailsSent": 5}, "whoever says no leaves no doubt"
    said = {error.item_id: (error.error_class, error.message) for error in found.last_errors}
    assert said["p2"][0] == said["p5"][0] == "refused"
    assert "refused: 550 5.1.1 no such user <p2@mail.example>" in said["p2"][1]
    assert "refused: 554 5.7.1 spam <p5@mail.example>" in said["p5"][1]
    assert arrivals(neighbours) == once(0, 1, 3, 4, 6)


class Busy:
    """A server that is too busy for the first two connections."""

    refusals = 2

    async def handle_MAIL(  # noqa: N802 - the hook's name
        self, _server: object, _session: object, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refusals:
            self.refusals -= 1
            return "421 4.7.0 too busy"
        envelope.mail_from = address
        return "250 OK"


async def test_a_server_that_is_too_busy_costs_no_attempt_and_holds_all_who_share_it(
    workers: Workers, neighbours: Neighbours
) -> None:
    server = Controller(Busy(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        block = {"smtp": {"port": server.port}}
        found = await send(workers, await workers.open(mailing(neighbours, people(2), block, retry={"maxAttempts": 1})))
    finally:
        server.stop()
    assert (found.counts.succeeded, found.counts.failed) == (2, 0)


@pytest.mark.parametrize("action", ["smtp_code", "data_code"])
async def test_a_mail_to_which_a_server_always_says_421_comes_to_an_end(
    workers: Workers, neighbours: Neighbours, action: str
) -> None:
    rule = {"match": "p1@", "action": action, "status": 421, "words": "4.7.0 this mail is suspicious"}
    neighbours.set_faults("smtp", [rule])
    run = await workers.open(mailing(neighbours, people(3), {}, retry={"maxAttempts": 2}))
    found = await send(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (2, 1)
    assert "put off: 421 4.7.0 this mail is suspicious" in found.last_errors[0].message


async def test_a_kept_connection_that_has_served_its_time_is_replaced_at_once(
    workers: Workers, neighbours: Neighbours
) -> None:
    rules = [
        {"match": "p1@", "action": "smtp_code", "status": 421, "words": "enough for this connection", "times": 1},
        {"match": "p2@", "action": "disconnect", "times": 1},
    ]
    neighbours.set_faults("smtp", rules)
    run = await workers.open(mailing(neighbours, people(3), {}, concurrency=1, retry={"maxAttempts": 1}))
    found = await send(workers, run)
    assert (found.counts.succeeded, found.counts.failed) == (3, 0)


async def test_a_pod_has_no_more_connections_than_the_limit(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("smtp", [{"action": "answer_late", "delay_seconds": 0.05}])
    block = {"smtp": {"maxConnections": 2}}
    run = await workers.open(mailing(neighbours, people(12), block, concurrency=8))
    found = await send(workers, run)
    assert found.counts.succeeded == 12
    assert len({row["client"] for row in neighbours.ledger("smtp")}) == 2, "and keeps them"


async def test_a_connection_that_nobody_used_for_a_while_is_not_used_again(
    workers: Workers, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "KEPT_SECONDS", 0)
    found = await send(workers, await workers.open(mailing(neighbours, people(3), {}, concurrency=1)))
    assert found.counts.succeeded == 3
    assert len({row["client"] for row in neighbours.ledger("smtp")}) == 3


class Silent:
    """A server that does not answer QUIT."""

    async def handle_QUIT(self, _server: object, _session: object, _envelope: Envelope) -> str:  # noqa: N802
        await asyncio.Event().wait()
        return ""


async def test_a_server_that_does_not_answer_quit_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "QUIT_SECONDS", 0.5)
    server = Controller(Silent(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        connections = smtp.Connections(Smtp(host="127.0.0.1", port=server.port, tls=SmtpTls.NONE), None, 40, 60)
        message = build_message({"From": "a@b.example", "To": "c@d.example"}, Body("text"), datetime.now(UTC))
        begin = partial(asyncio.sleep, 0)
        await asyncio.gather(*(connections.send(message, "c@d.example", begin) for _ in range(40)))
        async with asyncio.timeout(15):  # one after the other they take 20 s
            await connections.close()
    finally:
        server.stop()


# ---- once


async def test_a_mail_that_the_ledger_calls_sent_is_not_sent_again(
    workers: Workers, redis: Redis, neighbours: Neighbours
) -> None:
    """A worker that was lost after the server's 250: its note is there, its outcome and its usage are not."""
    run = await workers.open(mailing(neighbours, people(3), {}))
    await redis.hset(run_key(run.uid, "ledger"), mapping={"1": "sent 0", "2": "sending 1"})
    found = await send(workers, run)
    assert (found.counts.succeeded, found.usage) == (3, {"emailsSent": 3, "mailsInDoubt": 1})
    assert arrivals(neighbours) == once(0, 2), "one in doubt is sent again"


@pytest.mark.parametrize("on_doubt", ["resend", "deadLetter"])
async def test_a_mail_whose_answer_is_lost_is_in_doubt_and_the_spec_decides(
    workers: Workers, neighbours: Neighbours, on_doubt: str
) -> None:
    neighbours.set_faults("smtp", [{"match": "p1@", "action": "lose_answer", "times": 1}])
    run = await workers.open(mailing(neighbours, people(3), {"onDoubt": on_doubt}, **QUICK))
    found = await send(workers, run)
    is_repeated = on_doubt == "resend"
    assert (found.counts.succeeded, found.counts.failed) == ((3, 0) if is_repeated else (2, 1))
    assert found.usage == {"emailsSent": found.counts.succeeded, "mailsInDoubt": 1}
    assert arrivals(neighbours) == once(0, 1, 2) + (Counter(p1=1) if is_repeated else Counter())
    assert len({row["item"] for row in neighbours.ledger("smtp")}) == 3, "a repeat has the same Message-ID"
    for error in found.last_errors:
        assert (error.item_id, error.error_class) == ("p1", "infrastructure")
        assert error.message.startswith("the mail may have been sent: ")


async def test_doubts_are_counted_where_every_attempt_ends_in_one(workers: Workers, neighbours: Neighbours) -> None:
    neighbours.set_faults("smtp", [{"action": "lose_answer"}])
    run = await workers.open(mailing(neighbours, people(1), {}, retry={"maxAttempts": 3} | QUICK["retry"]))
    found = await send(workers, run)
    assert (found.counts.failed, found.usage) == (1, {"mailsInDoubt": 3})
    assert arrivals(neighbours) == Counter(p0=3)


async def _rows(neighbours: Neighbours, count: int) -> bool | None:
    return len(neighbours.ledger("smtp")) >= count or None


@pytest.mark.parametrize("on_doubt", ["resend", "deadLetter"])
async def test_a_worker_that_is_killed_repeats_at_most_what_it_had_in_doubt(
    workers: Workers, redis: Redis, neighbours: Neighbours, on_doubt: str
) -> None:
    count, concurrency = 40, 4
    neighbours.set_faults("smtp", [{"action": "answer_late", "delay_seconds": 0.5}])  # most of a mail's time
    spec = mailing(neighbours, people(count), {"onDoubt": on_doubt}, concurrency=concurrency)
    run = await workers.open(spec | {"retry": {"maxLosses": 10}}, lease_ms=1500)
    short = {"BATCHJOB_LEASE_SECONDS": "1.5"}
    with workers.process(run, "victim", **short) as victim:
        await wait_for(lambda: _rows(neighbours, 10), "mails to arrive")

        async def is_in_doubt() -> bool:
            notes: Any = await redis.hvals(run_key(run.uid, "ledger"))
            return any(note.startswith(b"sending ") for note in notes)

        await freeze_when(victim, redis, is_in_doubt, "the victim to have a mail in doubt")
        victim.kill()
    neighbours.clear_faults()  # the heir need not be slow
    with workers.process(run, "heir", **short) as heir:
        assert await ended(heir) == 0
    found = await workers.snapshot(run)
    arrived = arrivals(neighbours)
    repeats = arrived.total() - len(arrived)
    assert len({row["item"] for row in neighbours.ledger("smtp")}) == len(arrived)
    assert len(arrived) >= found.counts.succeeded
    assert found.counts.succeeded + found.counts.failed == count
    doubts = found.usage.get("mailsInDoubt", 0)
    assert 1 <= doubts <= concurrency, "else the kill hit nothing"
    assert repeats <= doubts
    if on_doubt == "deadLetter":
        assert (repeats, found.counts.failed) == (0, doubts)
    else:
        assert found.counts.failed == 0


# ---- what is wrong with the spec or an item


async def test_a_sender_that_is_none_ends_the_worker_as_misconfigured(workers: Workers, neighbours: Neighbours) -> None:
    run = await workers.open(mailing(neighbours, people(1), {"from": "nobody"}))
    with pytest.raises(ConfigurationError, match=r"spec.email.from"):
        await workers.work(run, make_processor("email"))


async def test_a_mail_server_that_is_not_there_is_named(workers: Workers, neighbours: Neighbours) -> None:
    nowhere = {"smtp": {"host": "127.0.0.1", "port": 1}}
    run = await workers.open(mailing(neighbours, people(1), nowhere, retry={"maxAttempts": 1}))
    found = await send(workers, run)
    said = "spec.email.smtp: 127.0.0.1:1 cannot be used: nothing answers there"
    assert found.last_errors[0].message.startswith(said)
    assert found.usage == {}


async def test_a_server_whose_certificate_nobody_trusts_is_named(workers: Workers, tmp_path: Path) -> None:
    context = tls_context(tmp_path, ["127.0.0.1"])
    server = Controller(object(), hostname="127.0.0.1", port=free_port(), tls_context=context)
    server.start()
    try:
        spec: dict[str, Any] = manifests.email("m", people(1), retry={"maxAttempts": 1})["spec"]
        spec["email"]["smtp"] = {"host": "127.0.0.1", "port": server.port, "tls": "starttls"}
        found = await send(workers, await workers.open(spec))
    finally:
        server.stop()
    [error] = found.last_errors
    assert (error.error_class, found.counts.failed) == ("upstream", 1)
    said = f"spec.email.smtp: 127.0.0.1:{server.port} cannot be used: its certificate is not trusted ("
    assert error.message.startswith(said)


async def test_an_item_cannot_smuggle_in_a_header(workers: Workers, neighbours: Neighbours) -> None:
    source = people(1, name="x\r\nBcc: everyone@mail.example")
    found = await send(workers, await workers.open(mailing(neighbours, source, {})))
    assert (found.counts.failed, found.last_errors[0].error_class) == (1, "invalid-input")
    assert "Subject (spec.email.subject) holds a line break" in found.last_errors[0].message
    assert neighbours.ledger("smtp") == []
