"""Type email: one mail an item, over connections that are kept.

A mail is sent at most once but for one gap: between the server's 250 and our note of it. The sent-ledger in the store
brackets the sending: "sending" before, "sent" after. An item that comes back as "sent" is done without another mail;
one that comes back as "sending" is in doubt and is sent again with the same Message-ID, by which a server or a reader
can recognise the repeat.
"""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import aiosmtplib

from batchjob.api.blocks.email import Smtp, SmtpTls
from batchjob.api.run import Purpose
from batchjob.worker import (
    ConfigurationError,
    Context,
    ErrorClass,
    Fail,
    Item,
    Processor,
    Retry,
    check_host,
    explain_unreached,
)
from batchjob_processors.message import address, build_message, check_sender, message_id
from batchjob_processors.templates import Templates

SENDING: Final = b"sending"
SENT: Final = b"sent"
PERMANENT: Final = 500  # SMTP replies from here on say no for good (RFC 5321 §4.2.1)


class Email(Processor):
    """Sends mails; the block is `spec.email`."""

    async def open(self, context: Context) -> None:
        """Compile the templates; ConfigurationError for whatever is wrong with the block, whichever the item."""
        block = context.run.spec.email
        if block is None:
            raise ConfigurationError("spec.email is missing")
        self._block = block
        check_sender(block.sender, block.reply_to)
        self._templates = Templates("spec.email", to=block.to, subject=block.subject, text=block.text)
        self._connections = Connections(block.smtp, _login(block.smtp, context))
        await check_host(block.smtp.host, "spec.email.smtp.host")

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Send one mail; returns its Message-ID and recipient."""
        to = self._templates.render("to", item.data).strip()
        name = message_id(context.run.uid, item.position, self._block.sender)
        done = {"id": item.id, "messageId": name, "to": to}
        if await context.ledger.get() == SENT:
            return done
        headers = {
            "From": self._block.sender,
            "To": to,
            "Subject": self._templates.render("subject", item.data),
            "Message-ID": name,
        }
        if self._block.reply_to:
            headers["Reply-To"] = self._block.reply_to
        text = self._templates.render("text", item.data)
        message = build_message(headers, text, dt.datetime.now(dt.UTC))
        await context.ledger.mark(SENDING)
        try:
            await self._connections.send(message, address("To", to).addr_spec)
        except aiosmtplib.SMTPException as error:
            _translate(error, self._block.smtp)
        await context.ledger.mark(SENT)
        context.usage("emailsSent", 1)
        return done

    async def close(self) -> None:
        """Say QUIT on every connection."""
        await self._connections.close()


class Connections:
    """Idle connections to one mail server; as many as mails are in flight."""

    def __init__(self, smtp: Smtp, login: tuple[str, str] | None) -> None:
        """Connect to nothing yet."""
        self._smtp = smtp
        self._login = login
        self._idle: list[aiosmtplib.SMTP] = []

    async def send(self, message: Any, recipient: str) -> None:
        """Send one message; raises aiosmtplib's SMTPException."""
        async with self._connection() as connection:
            await connection.send_message(message, recipients=[recipient])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        connection = await self._take()
        try:
            yield connection
        except aiosmtplib.SMTPResponseException:
            # The server said no to this mail; the connection is good once the transaction is reset.
            await self._give_back(connection, reset=True)
            raise
        except BaseException:
            connection.close()
            raise
        await self._give_back(connection)

    async def _take(self) -> aiosmtplib.SMTP:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_connected:
                return connection
        connection = aiosmtplib.SMTP(
            hostname=self._smtp.host,
            port=self._smtp.port,
            use_tls=self._smtp.tls == SmtpTls.TLS,
            start_tls=self._smtp.tls == SmtpTls.STARTTLS,
            tls_context=ssl.create_default_context() if self._smtp.tls != SmtpTls.NONE else None,
            username=self._login[0] if self._login else None,
            password=self._login[1] if self._login else None,
        )
        await connection.connect()
        return connection

    async def _give_back(self, connection: aiosmtplib.SMTP, *, reset: bool = False) -> None:
        try:
            if reset:
                await connection.rset()
        except aiosmtplib.SMTPException:
            connection.close()
            return
        self._idle.append(connection)

    async def close(self) -> None:
        """End every connection that is open."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.quit()
            except aiosmtplib.SMTPException:
                connection.close()


def _login(smtp: Smtp, context: Context) -> tuple[str, str] | None:
    if smtp.credentials_secret_ref is None:
        return None
    folder = context.reference(Purpose.SMTP)
    return _secret(folder / "SMTP_USERNAME"), _secret(folder / "SMTP_PASSWORD")


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        field = "spec.email.smtp.credentialsSecretRef"
        raise ConfigurationError(f"the Secret of {field} has no key {path.name}: add it") from None


def _translate(error: aiosmtplib.SMTPException, smtp: Smtp) -> NoReturn:
    """Raise what the server's answer means for the item."""
    server = f"{smtp.host}:{smtp.port}"
    code, said = _answer(error)
    match error:
        case aiosmtplib.SMTPAuthenticationError() if code >= PERMANENT:
            hint = "check spec.email.smtp.credentialsSecretRef"
            raise Fail(f"{server} refused the sign-in: {said} ({hint})", error_class=ErrorClass.PERMISSION) from None
        case aiosmtplib.SMTPTimeoutError():
            raise Retry(f"{server} did not answer in time", error_class=ErrorClass.TIMEOUT) from None
        case _ if code >= PERMANENT:
            raise Fail(f"{server} refused: {said}", error_class=ErrorClass.REFUSED) from None
        case _ if code:
            raise Retry(f"{server} put off: {said}") from None
        case _:
            raise Retry(f"spec.email.smtp: {server} cannot be used: {explain_unreached(str(error)).why}") from None


def _answer(error: aiosmtplib.SMTPException) -> tuple[int, str]:
    """The server's code and words; (0, "") where it said nothing."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        return _answer(error.recipients[0])
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return error.code, f"{error.code} {error.message}"
    return 0, ""
