"""What a mail server's answers mean for an item."""

import base64
import datetime as dt
from typing import Any

import aiosmtplib
import pytest

from batchjob.api.blocks.email import Smtp
from batchjob.worker import ErrorClass, Fail, Retry
from batchjob_processors.message import Body, build_message
from batchjob_processors.smtp import BUSY_SECONDS, FULL_SECONDS, GREYLISTED_SECONDS, Connections, explain

SERVER = Smtp(host="mail", port=25)


def answer(code: int, words: str, attempt: int = 1) -> Retry | Fail:
    return explain(aiosmtplib.SMTPRecipientRefused(code, words, "a@b.example"), SERVER, attempt)


@pytest.mark.parametrize(
    ("code", "words", "seconds"),
    [
        (451, "4.7.1 Greylisted, come back later", GREYLISTED_SECONDS),
        (450, "4.2.0 Recipient address rejected: Greylisted", GREYLISTED_SECONDS),
        (451, "Temporary failure, please try again later.", GREYLISTED_SECONDS),
        (421, "4.7.28 too much mail to this recipient", GREYLISTED_SECONDS),
        (421, "4.3.0 out of order", None),
        (452, "4.2.2 mailbox full", FULL_SECONDS),
        (450, "4.2.1 mailbox busy", None),
        (452, "4.3.1 no space left", None),
        (454, "4.7.0 TLS not available", None),
    ],
)
def test_a_server_that_puts_off_is_asked_again_when_its_kind_of_no_may_be_over(
    code: int, words: str, seconds: float | None
) -> None:
    found = answer(code, words)
    assert isinstance(found, Retry)
    assert (found.after, found.counts, str(found)) == (seconds, True, f"mail:25 put off: {code} {words}")
    later = answer(code, words, attempt=3)
    assert isinstance(later, Retry)
    assert later.after == (seconds and 4 * seconds), "each time twice as long"


@pytest.mark.parametrize(
    "refused",
    [
        aiosmtplib.SMTPConnectResponseError(421, "4.7.0 too many connections"),
        aiosmtplib.SMTPSenderRefused(421, "4.7.0 too many connections", "a@b.example"),
    ],
)
def test_a_server_that_is_too_busy_holds_everybody_and_costs_no_attempt(refused: aiosmtplib.SMTPException) -> None:
    found = explain(refused, SERVER, 1)
    assert isinstance(found, Retry)
    assert (found.after, found.error_class, found.counts) == (BUSY_SECONDS, ErrorClass.RATE_LIMITED, False)


@pytest.mark.parametrize(
    ("code", "words", "error_class"),
    [
        (550, "5.1.1 no such user", ErrorClass.REFUSED),
        (552, "5.2.2 mailbox full for good", ErrorClass.REFUSED),
        (530, "5.7.0 must issue STARTTLS first", ErrorClass.PERMISSION),
        (535, "5.7.8 bad credentials", ErrorClass.PERMISSION),
    ],
)
def test_a_no_for_good_ends_the_item_with_the_servers_words(code: int, words: str, error_class: ErrorClass) -> None:
    found = answer(code, words)
    assert isinstance(found, Fail)
    assert found.error_class is error_class
    assert f"{code} {words}" in str(found)


def test_a_server_without_smtputf8_refuses_for_good() -> None:
    found = explain(aiosmtplib.SMTPNotSupported("no SMTPUTF8"), SERVER, 1)
    assert isinstance(found, Fail)
    assert str(found) == "mail:25 cannot take the mail: no SMTPUTF8"


@pytest.mark.parametrize("said", ["SECRET-1", "\0ada\0SECRET-1"])
@pytest.mark.parametrize("is_encoded", [True, False])
async def test_a_server_that_repeats_the_password_does_not_bring_it_into_the_status(
    said: str, is_encoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated = base64.b64encode(said.encode()).decode() if is_encoded else "SECRET-1"

    async def connect(_: aiosmtplib.SMTP, **__: Any) -> None:
        raise aiosmtplib.SMTPAuthenticationError(535, f"5.5.2 what is {repeated}?")

    monkeypatch.setattr(aiosmtplib.SMTP, "connect", connect)
    message = build_message({"From": "a@b.example", "To": "c@d.example"}, Body("text"), dt.datetime.now(dt.UTC))

    async def begin() -> None:
        """Nothing is at stake."""

    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as error:
        await Connections(SERVER, ("ada", "SECRET-1"), 1, 5).send(message, "c@d.example", begin)
    assert "535 5.5.2 what is ***?" in str(explain(error.value, SERVER, 1))
