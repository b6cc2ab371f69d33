"""The mail server: connections that are kept, and what its answers mean for an item.

A mail is given over in two steps. First the envelope, MAIL and RCPT, where servers refuse; nothing is at stake, so a
kept connection that turns out to be dead, or to have served its time (421), is replaced by a new one. Then DATA: from
there until the server's answer nobody knows whether it took the mail.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Final

import aiosmtplib

from batchjob.api.blocks.email import Smtp, SmtpTls
from batchjob.worker import PERMANENT, ErrorClass, Fail, Retry, explain_unreached, quoted, refuses_login
from batchjob_processors.message import as_bytes, needs_utf8

CLOSING: Final = 421  # the server has too much to do, or has done enough for this connection

# What lies between us and the server may forget a connection without a word, hardly one within half a minute: to find
# that out would take the time of an attempt.
KEPT_SECONDS: Final = 30.0  # without a mail
QUIT_SECONDS: Final = 2.0  # for a word that is mere courtesy

# Servers put off a stranger, most for five minutes (postgrey, rspamd): the second try after one minute and the fifth
# after fifteen is soon where it can be, and late enough where it has to be.
GREYLISTED_SECONDS: Final = 60.0
FULL_SECONDS: Final = 900.0  # a mailbox is emptied by a person
BUSY_SECONDS: Final = 15.0  # until a server that says 421 to a new connection is asked again, by anybody
_GREYLISTING: Final = re.compile(r"gr[ae]y.?list", re.IGNORECASE)
_PUT_OFF: Final = frozenset({CLOSING, 450, 451})
# Who says 421 to these may do so each time, for what the mail is: as an attempt, that comes to an end.
_ABOUT_THE_MAIL: Final = (aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)
_FULL: Final = frozenset({"4.2.2"})
_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")  # RFC 3463: what kind of no it is


class Connections:
    """Connections to one mail server, as many as mails are on their way, and never more than the limit."""

    def __init__(self, smtp: Smtp, login: tuple[str, str] | None, limit: int, timeout_seconds: float) -> None:
        """Connect to nothing yet. `timeout_seconds`: the most for one answer of the server."""
        self._smtp = smtp
        self._login = login
        self._timeout = timeout_seconds
        self._places = asyncio.Semaphore(limit)
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []  # and since when, the newest last

    async def send(self, message: EmailMessage, recipient: str, begin: Callable[[], Awaitable[None]]) -> None:
        """Send one message; `begin` is awaited when the server may be given it.

        Raises aiosmtplib's SMTPException: of the server's saying, or where it cannot be talked to.
        """
        body = as_bytes(message)
        async with self._places:
            connection = await self._envelope(message, recipient, len(body))
            try:
                await begin()
                await connection.data(body)
            except aiosmtplib.SMTPDataError:
                await self._reset(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._keep(connection)

    async def close(self) -> None:
        """End every connection that is open."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(connection) for connection, _ in idle))

    def _keep(self, connection: aiosmtplib.SMTP) -> None:
        self._idle.append((connection, time.monotonic()))

    def _take_kept(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < KEPT_SECONDS:
                return connection
            connection.close()
        return None

    async def _envelope(self, message: EmailMessage, recipient: str, size: int) -> aiosmtplib.SMTP:
        """A connection on which the server has taken the envelope."""
        while True:
            kept = self._take_kept()
            connection = kept or await self._connect()
            try:
                await self._offer(connection, message, recipient, size)
            except aiosmtplib.SMTPResponseException as error:
                if error.code != CLOSING:
                    await self._reset(connection)
                    raise
                connection.close()
                if kept is None:
                    raise
            except aiosmtplib.SMTPServerDisconnected:
                connection.close()
                if kept is None:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                return connection

    async def _offer(self, connection: aiosmtplib.SMTP, message: EmailMessage, recipient: str, size: int) -> None:
        options, encoding = [], "ascii"
        if connection.supports_extension("size"):
            options.append(f"SIZE={size}")
        if needs_utf8(message):
            if not connection.supports_extension("smtputf8"):
                said = f"the address of sender or recipient {recipient} is not ASCII, and the server has no SMTPUTF8"
                raise aiosmtplib.SMTPNotSupported(said)
            options, encoding = [*options, "SMTPUTF8", "BODY=8BITMIME"], "utf-8"
        await connection.mail(message["From"].addresses[0].addr_spec, options=options, encoding=encoding)
        await connection.rcpt(recipient, encoding=encoding)

    async def _connect(self) -> aiosmtplib.SMTP:
        connection = aiosmtplib.SMTP(
            hostname=self._smtp.host,
            port=self._smtp.port,
            use_tls=self._smtp.tls == SmtpTls.TLS,
            start_tls=self._smtp.tls == SmtpTls.STARTTLS,
            tls_context=ssl.create_default_context() if self._smtp.tls != SmtpTls.NONE else None,
            username=self._login[0] if self._login else None,
            password=self._login[1] if self._login else None,
            timeout=self._timeout,
        )
        try:
            await connection.connect()
            if connection.is_ehlo_or_helo_needed:
                await connection.ehlo()
        except aiosmtplib.SMTPResponseException as error:
            connection.close()
            error.message = quoted(error.message, self._login)
            raise
        except OSError as error:  # of TLS after STARTTLS: the library translates those of connecting alone
            connection.close()
            raise aiosmtplib.SMTPConnectError(str(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection

    async def _reset(self, connection: aiosmtplib.SMTP) -> None:
        """The server said no to this mail; the connection is good for another once the transaction is reset."""
        try:
            await connection.rset()
        except aiosmtplib.SMTPException:
            connection.close()
        else:
            self._keep(connection)


async def _quit(connection: aiosmtplib.SMTP) -> None:
    try:
        await connection.quit(timeout=QUIT_SECONDS)
    except aiosmtplib.SMTPException:
        connection.close()


def is_answer(error: aiosmtplib.SMTPException) -> bool:
    """Whether the server said no: it has not taken the mail."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 0  # below: what it said is no reply


def explain(error: aiosmtplib.SMTPException, smtp: Smtp, attempt: int) -> Retry | Fail:
    """What the server's answer, or its silence, means for an item in this attempt, with the server's words."""
    server = f"{smtp.host}:{smtp.port}"
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 0:
        return _explain_answer(error, server, attempt)
    match error:
        case aiosmtplib.SMTPNotSupported():
            return Fail(f"{server} cannot take the mail: {error}", error_class=ErrorClass.REFUSED)
        case aiosmtplib.SMTPTimeoutError():
            return Retry(f"{server} did not answer in time", error_class=ErrorClass.TIMEOUT)
        case _:
            return Retry(f"spec.email.smtp: {server} cannot be used: {explain_unreached(error).why}")


def _explain_answer(error: aiosmtplib.SMTPResponseException, server: str, attempt: int) -> Retry | Fail:
    code, said = error.code, f"{error.code} {quoted(error.message)}"
    if refuses_login(code, at_login=isinstance(error, aiosmtplib.SMTPAuthenticationError)):
        hint = "check spec.email.smtp.credentialsSecretRef and spec.email.smtp.tls"
        return Fail(f"{server} refused the sign-in: {said} ({hint})", error_class=ErrorClass.PERMISSION)
    if code >= PERMANENT:
        return Fail(f"{server} refused: {said}", error_class=ErrorClass.REFUSED)
    if code == CLOSING and not isinstance(error, _ABOUT_THE_MAIL):
        return Retry(f"{server} is busy: {said}", BUSY_SECONDS, ErrorClass.RATE_LIMITED, counts=False)
    return Retry(f"{server} put off: {said}", _wait(code, error.message, attempt))


def _wait(code: int, words: str, attempt: int) -> float | None:
    """Seconds until another try, from the kind of no; None: the run's back-off."""
    found = _ENHANCED.match(words)
    kind = found[0] if found else ""
    seconds = None
    if kind in _FULL:
        seconds = FULL_SECONDS
    elif code in _PUT_OFF and (not kind or kind.startswith("4.7.") or _GREYLISTING.search(words)):
        seconds = GREYLISTED_SECONDS
    return seconds and seconds * 2.0 ** (attempt - 1)
