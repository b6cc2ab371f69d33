"""What the operator makes of a mail server's answers, and what of them comes into a status that others read."""

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib
import pytest

from batchjob.api.blocks.email import SmtpTls
from batchjob.api.notifications import DeliveryState
from batchjob.controller.notify import destinations, mails
from batchjob.controller.notify.destinations import Destinations
from batchjob.controller.notify.mails import Server, judge, send
from batchjob.controller.notify.notices import Outcome
from batchjob.core.smtp import WORDS, quoted
from batchjob.errors import ConfigurationError

LOGIN = ("ada", "SECRET-1")
SERVER = Server("mail.example", 25, SmtpTls.STARTTLS, "batch@example.com", LOGIN, trusted=False)
Answer = type[aiosmtplib.SMTPResponseException]


@pytest.mark.parametrize(
    ("kind", "code", "state"),
    [
        (aiosmtplib.SMTPAuthenticationError, 535, DeliveryState.PENDING),
        (aiosmtplib.SMTPAuthenticationError, 501, DeliveryState.PENDING),
        (aiosmtplib.SMTPSenderRefused, 530, DeliveryState.PENDING),
        (aiosmtplib.SMTPSenderRefused, 501, DeliveryState.FAILED),
        (aiosmtplib.SMTPDataError, 554, DeliveryState.FAILED),
        (aiosmtplib.SMTPDataError, 451, DeliveryState.PENDING),
    ],
)
def test_a_no_to_the_sign_in_may_be_mended_and_one_to_the_mail_from_500_on_may_not(
    kind: Answer, code: int, state: DeliveryState
) -> None:
    error = kind(code, "no", "batch@example.com") if kind is aiosmtplib.SMTPSenderRefused else kind(code, "no")
    assert judge(error, SERVER).state is state


@pytest.mark.parametrize("said", ["SECRET-1", "\0ada\0SECRET-1"])
@pytest.mark.parametrize("is_encoded", [True, False])
def test_a_server_that_repeats_the_password_does_not_bring_it_into_the_status(said: str, is_encoded: bool) -> None:
    repeated = base64.b64encode(said.encode()).decode() if is_encoded else "SECRET-1"
    outcome = judge(aiosmtplib.SMTPAuthenticationError(535, f"5.5.2 what is {repeated}?"), SERVER)
    assert outcome.message == "mail.example:25 refused the sign-in: 535 5.5.2 what is ***?"


def test_what_a_server_says_is_one_line_in_bounds_that_no_terminal_obeys() -> None:
    assert quoted("a\r\n b\x1b[2J\x07 c\udce4") == "a b?[2J? c?"
    assert len(quoted("x" * 5000)) == WORDS


@pytest.mark.parametrize("tls", list(SmtpTls))
async def test_a_password_goes_to_no_public_address_in_plain_text(
    tls: SmtpTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(_: Destinations, *__: object, secure: bool = True, **___: object) -> list[str]:
        raise ConfigurationError(f"secure: {secure}")

    monkeypatch.setattr(Destinations, "find", find)
    for login in (LOGIN, None):
        server = Server("8.8.8.8", 25, tls, SERVER.sender, login, trusted=False)
        with pytest.raises(ConfigurationError, match=f"secure: {tls is not SmtpTls.NONE or login is None}"):
            await send(Destinations([]), server, EmailMessage())


class Neighbour:
    """A mail server at the other end of a pair of sockets; to a command that it has no answer to it says nothing."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = answers
        self.heard: list[str] = []
        self.asked = asyncio.Event()  # something that it says nothing to

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        in_text = False
        while line := await reader.readline():
            word = line.decode().strip()[:4].upper()
            if in_text and word != ".":
                continue
            in_text = word == "DATA"
            self.heard.append(word)
            if answer := self._answers.get(word):
                writer.write(f"{answer}\r\n".encode())
            else:
                self.asked.set()
        writer.close()


OK = dict.fromkeys(("EHLO", "MAIL", "RCPT", "RSET", "."), "250 ok")
ANSWERS = OK | {"DATA": "354 go on", "QUIT": "221 bye"}


@asynccontextmanager
async def a_server(
    monkeypatch: pytest.MonkeyPatch, **answers: str
) -> AsyncIterator[tuple[Neighbour, asyncio.Task[Outcome]]]:
    """A mail server, and the attempt to send it a mail."""
    neighbour = Neighbour(ANSWERS | answers)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    monkeypatch.setattr(mails, "_connect", lambda *_: asyncio.sleep(0, ours))
    reader, writer = await asyncio.open_connection(sock=theirs)
    serving = asyncio.ensure_future(neighbour.serve(reader, writer))
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SERVER.sender, "ada@example.com", "done"
    message.set_content("it is")
    plain = Server(SERVER.host, 25, SmtpTls.NONE, SERVER.sender, None, trusted=False)
    yield neighbour, asyncio.ensure_future(send(Destinations([]), plain, message))
    await asyncio.wait_for(serving, 5)  # the connection has ended


async def test_the_name_of_the_installations_server_is_looked_up_by_threads_of_our_own_whatever_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by: list[str] = []

    def look_up(host: str, _: int) -> list[str]:
        by.append(f"{host} {threading.current_thread().name}")
        if len(by) > 1:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["10.1.2.3"]

    monkeypatch.setattr(destinations, "_look_up", look_up)
    server = Server("mail.internal", 25, SmtpTls.NONE, SERVER.sender, LOGIN, trusted=True)
    assert await mails._find(Destinations([]), server) == ["10.1.2.3"]
    outcome = await send(Destinations([]), server, EmailMessage())
    assert outcome.message == "mail.internal:25 cannot be reached: Name or service not known"
    assert by == ["mail.internal lookup_0"] * 2


async def test_a_server_that_says_nothing_does_not_keep_one_that_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_server(monkeypatch, MAIL="") as (neighbour, attempt):
        await asyncio.wait_for(neighbour.asked.wait(), 5)
        attempt.cancel()
        done, _ = await asyncio.wait((attempt,), timeout=5)
    assert done, "it waits for the answer to a QUIT"
    assert neighbour.heard == ["EHLO", "MAIL"]


async def test_a_mail_that_was_accepted_is_delivered_though_the_server_says_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mails, "QUIT_SECONDS", 0.05)
    async with a_server(monkeypatch, QUIT="") as (neighbour, attempt):
        outcome = await attempt
    assert outcome.state is DeliveryState.DELIVERED
    assert neighbour.heard[-2:] == [".", "QUIT"]


async def test_a_server_that_refused_is_taken_leave_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_server(monkeypatch, RCPT="550 nobody here") as (neighbour, attempt):
        outcome = await attempt
    assert (outcome.state, outcome.message) == (DeliveryState.FAILED, "mail.example:25 refused: 550 nobody here")
    assert neighbour.heard[-1] == "QUIT"
