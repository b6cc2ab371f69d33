"""Type email: one mail an item, over connections that are kept.

A mail is sent once, but for one gap: between DATA and our note of the server's answer. The sent-ledger in the store
brackets it: "sending" before, "sent" after. An item that comes back as "sent" is done without another mail; one that
comes back as "sending" is in doubt, and `onDoubt` decides. A mail that is sent again has the same Message-ID, by which
a server or a reader can recognise the repeat.
"""

import asyncio
import datetime as dt
from email.message import EmailMessage
from typing import Any, Final, Self

import aiosmtplib

from batchjob.api.blocks.email import OnDoubt, Smtp, Suppression
from batchjob.api.run import Purpose
from batchjob.worker import (
    ConfigurationError,
    Context,
    ErrorClass,
    Fail,
    Files,
    Folder,
    Item,
    Processor,
    Retry,
    check_host,
    read_secret,
)
from batchjob_processors.attachments import Attachments
from batchjob_processors.message import address, as_bytes, build_message, check_sender, message_id
from batchjob_processors.smtp import Connections, explain, is_answer
from batchjob_processors.suppression import LIST_BYTES, Suppressed
from batchjob_processors.wording import Wording, Writer

SENDING: Final = b"sending"
SENT: Final = b"sent"


class Email(Processor):
    """Sends mails; the block is `spec.email`."""

    async def open(self, context: Context) -> None:
        """Compile the templates; ConfigurationError for whatever is wrong with the block, whichever the item."""
        block = context.run.spec.email
        if block is None:
            raise ConfigurationError("spec.email is missing")
        self._block = block
        check_sender(block.sender, block.reply_to)
        self._writer = Writer(block)
        folder = None
        if block.files:
            folder = Folder(context, block.files, "spec.email.files", (Purpose.FILES_CREDENTIALS, Purpose.FILES_CA))
        self._attachments = Attachments(block.attachments or [], folder)
        self._suppressed = await _suppressed(block.suppression, folder, context)
        self._dry = _dry_files(context) if block.dry_run else None
        limit = block.smtp.max_connections or context.run.spec.concurrency
        seconds = context.run.effective.item_timeout_seconds
        login = read_login(block.smtp, context, "spec.email.smtp.credentialsSecretRef")
        self._connections = Connections(block.smtp, login, limit, seconds)
        if not block.dry_run:
            await check_host(block.smtp.host, "spec.email.smtp.host")

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Send one mail; returns its Message-ID and recipient."""
        name = message_id(context.run.uid, item.position, self._block.sender)
        wording = self._writer.write(item.data)
        done = {"id": item.id, "messageId": name, "to": wording.to}
        note = await Note.read(context)
        if not note.is_sent:
            if self._suppressed and address("To", wording.to).addr_spec in self._suppressed:
                context.usage("mailsSuppressed", 1)
                return done | {"messageId": None, "suppressed": True}
            message = await self._build(name, wording, item)
            if self._dry:
                file = f"mail-{item.position:012d}.eml"
                await self._dry.put(file, as_bytes(message))
                context.usage("emailsWritten", 1)
                return done | {"file": file}
            await send_once(self._connections, self._block.smtp, self._block.on_doubt, message, note, context)
        context.usage("emailsSent", 1)
        note.count()
        return done

    async def _build(self, name: str, wording: Wording, item: Item) -> EmailMessage:
        fixed = {
            "From": self._block.sender,
            "Reply-To": self._block.reply_to or "",
            "To": wording.to,
            "Message-ID": name,
        }
        body = wording.body._replace(files=await self._attachments.of(item.data))
        return build_message(fixed | wording.headers, body, dt.datetime.now(dt.UTC))

    async def close(self) -> None:
        """Say QUIT on every connection."""
        await self._connections.close()


class Note:
    """What the ledger says of one mail. `doubts`: how often it was given to a server that has not answered.

    The number goes into the usage when the item ends, and not before: so each doubt is counted once, whoever crashes.
    """

    def __init__(self, context: Context, doubts: int, *, is_sent: bool) -> None:
        self.doubts = doubts
        self.is_sent = is_sent
        self._context = context

    @classmethod
    async def read(cls, context: Context) -> Self:
        """As the attempts before left it."""
        word, _, number = (await context.ledger.get() or b"").partition(b" ")
        return cls(context, int(number or word == SENDING), is_sent=word == SENT)

    async def sending(self) -> None:
        """The server is given the mail now: without another word it is in doubt."""
        self.doubts += 1
        await self._write(SENDING)

    async def refused(self) -> None:
        """The server said no: this time nothing is in doubt."""
        self.doubts -= 1
        if self.doubts:
            await self._write(SENDING)
        else:
            await self._context.ledger.clear()

    async def sent(self) -> None:
        """The server took it."""
        self.doubts -= 1
        self.is_sent = True
        await self._write(SENT)

    def count(self) -> None:
        """The item ends: tell its doubts."""
        if self.doubts:
            self._context.usage("mailsInDoubt", self.doubts)

    def give_up(self) -> Fail:
        """The end of a mail in doubt that must not be sent twice."""
        self.count()
        said = "the worker or the connection was lost after DATA and before the server's answer"
        way_out = "ask the recipient or look at the server's log, and redrive the item to send it again"
        return Fail(
            f"the mail may have been sent: {said} (spec.email.onDoubt): {way_out}",
            error_class=ErrorClass.INFRASTRUCTURE,
        )

    async def _write(self, word: bytes) -> None:
        await self._context.ledger.mark(b"%s %d" % (word, self.doubts))


async def send_once(
    connections: Connections, smtp: Smtp, on_doubt: OnDoubt, message: EmailMessage, note: Note, context: Context
) -> None:
    """Send a mail, bracketed by its note. Raises Retry and Fail, with what the server said."""
    if note.doubts and on_doubt is OnDoubt.DEAD_LETTER:
        raise note.give_up()
    recipient = message["To"].addresses[0].addr_spec
    known = note.doubts
    try:
        await connections.send(message, recipient, note.sending)
    except aiosmtplib.SMTPException as error:
        if is_answer(error) and note.doubts > known:
            await note.refused()
        elif note.doubts and on_doubt is OnDoubt.DEAD_LETTER:
            raise note.give_up() from None
        verdict = explain(error, smtp, context.attempt)
        if isinstance(verdict, Fail) or _is_last(verdict, context):
            note.count()
        raise verdict from None
    await note.sent()


def _is_last(retry: Retry, context: Context) -> bool:
    return retry.counts and context.attempt >= context.run.effective.after(retry.error_class).max_attempts


async def _suppressed(block: Suppression | None, folder: Folder | None, context: Context) -> Suppressed | None:
    if block is None:
        return None
    field = "spec.email.suppression"
    if block.path is not None:
        if folder is None:
            raise ConfigurationError("spec.email.files is missing, below which spec.email.suppression.path is")
        body = await folder.read(block.path, LIST_BYTES)
    else:
        place = block.config_map_ref or block.secret_ref
        body = (context.reference(Purpose.SUPPRESSION) / (place.key if place else "")).read_bytes()
    return await asyncio.to_thread(Suppressed, body, block.column, field)


def _dry_files(context: Context) -> Files:
    results = context.run.spec.results
    if results is None or results.destination is None:
        raise ConfigurationError("spec.email.dryRun writes to spec.results.destination: set it")
    return context.destination(results.destination, Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA)


def read_login(smtp: Smtp, context: Context, field: str) -> tuple[str, str] | None:
    """User and password; None where nobody signs in. `field` names the Secret, in the spec."""
    if smtp.credentials_secret_ref is None:
        return None
    folder = context.reference(Purpose.SMTP)
    where = f"the Secret of {field}"
    return read_secret(folder / "SMTP_USERNAME", where), read_secret(folder / "SMTP_PASSWORD", where)
