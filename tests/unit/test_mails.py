"""What the operator makes of a mail server's answers, and what of them comes into a status that others read."""

import base64
from email.message import EmailMessage

import aiosmtplib
import pytest

from batchjob.api.blocks.email import SmtpTls
from batchjob.api.notifications import DeliveryState
from batchjob.controller.destinations import Destinations
from batchjob.controller.mails import Server, judge, send
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
