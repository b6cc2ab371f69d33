"""Type report: a document becomes files and mails.

The document was noted in the run when it was loaded (worker/sources/report.py), so every delivery has the same, and one
that is made again has it too. An item is one delivery: the files, or the mail to one recipient, sent as type email
sends: with a sent-ledger around the server's answer, and the same Message-ID each time.
"""

import asyncio
import datetime as dt
import hashlib
import mimetypes
from email.message import EmailMessage
from importlib.util import find_spec
from typing import Any, Final

from batchjob.api.blocks.email import OnDoubt
from batchjob.api.blocks.report import Report as Block
from batchjob.api.blocks.report import ReportFormat, ReportMail
from batchjob.api.figures import DOCUMENT_NOTE, Delivery, Document
from batchjob.api.run import Purpose
from batchjob.worker import ConfigurationError, Context, Fail, Files, Item, Processor, Retry, Sealed, check_host
from batchjob_processors.email import Note, read_login, send_once
from batchjob_processors.message import Body, File, address, build_message, message_id
from batchjob_processors.plain_text import plain_text
from batchjob_processors.reporting.letter import write_letter
from batchjob_processors.reporting.page import write_page
from batchjob_processors.reporting.sections import build_view, window_of
from batchjob_processors.reporting.sheets import write_sheets
from batchjob_processors.smtp import Connections

MAIL: Final = "spec.report.deliver.email"
LETTER: Final = "letter"  # among the files, what is the mail's own text


class Report(Processor):
    """Renders and delivers; the block is `spec.report`."""

    async def open(self, context: Context) -> None:
        """Look at what every delivery needs; ConfigurationError for whatever is wrong with the block."""
        block = context.run.spec.report
        if block is None:
            raise ConfigurationError("spec.report is missing")
        _check_libraries(block)
        self._block = block
        self._mail = block.deliver.email
        self._files = _files(block, context)
        self._connections: Connections | None = None
        self._rendering = asyncio.Lock()
        self._made: tuple[Document, dict[str, bytes]] | None = None
        if self._mail:
            _check_addresses(self._mail)
            login = read_login(self._mail.smtp, context, f"{MAIL}.smtp.credentialsSecretRef")
            seconds = context.run.effective.item_timeout_seconds
            limit = self._mail.smtp.max_connections or context.run.spec.concurrency
            self._connections = Connections(self._mail.smtp, login, limit, seconds)
            await check_host(self._mail.smtp.host, f"{MAIL}.smtp.host")

    async def process(self, item: Item, context: Context) -> dict[str, Any]:
        """Make one delivery; returns what was delivered, and where to."""
        if item.data["deliver"] == Delivery.FILES:
            return await self._write(context)
        return await self._send(item, context)

    async def _rendered(self, context: Context) -> tuple[Document, dict[str, bytes]]:
        """The document and what is made of it: once, however many get it."""
        async with self._rendering:
            if self._made is None:
                document = Document.model_validate_json(await context.note(DOCUMENT_NOTE, b"{}"))
                found = await asyncio.to_thread(render, document, self._block, with_letter=self._mail is not None)
                self._made = document, found
            return self._made

    async def _write(self, context: Context) -> dict[str, Any]:
        if self._files is None:
            raise Fail("spec.report.deliver.destination is missing")
        _, made = await self._rendered(context)
        found = {name: body for name, body in made.items() if name != LETTER}
        for name, body in found.items():
            await self._files.put(name, body)
            context.part(name, {"rows": 0, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
            context.usage("bytesWritten", len(body))
        return {"files": [self._files.url(name) for name in found]}

    async def _send(self, item: Item, context: Context) -> dict[str, Any]:
        mail, connections = self._mail, self._connections
        if mail is None or connections is None:
            raise Fail(f"{MAIL} is missing")
        name = message_id(context.run.uid, item.position, mail.sender)
        note = await Note.read(context)
        if not note.is_sent:
            document, found = await self._rendered(context)
            message = _message(mail, item.data["to"], name, document, found)
            try:
                await send_once(connections, mail.smtp, OnDoubt.RESEND, message, note, context)
            except (Fail, Retry) as error:
                raise _renamed(error) from None
        context.usage("emailsSent", 1)
        note.count()
        return {"messageId": name, "to": item.data["to"]}

    async def seal(self, context: Context) -> Sealed | None:
        """Write the manifest of the files, where there are any."""
        return await context.write_manifest(self._files) if self._files else None

    async def close(self) -> None:
        """Say QUIT on every connection."""
        if self._connections:
            await self._connections.close()


def render(document: Document, block: Block, *, with_letter: bool = False) -> dict[str, bytes]:
    """The files of a report by their names, in the order of its formats; with the text of a mail, as LETTER."""
    view = build_view(document, block.shown)
    found = {LETTER: write_letter(view).encode()} if with_letter else {}
    for form in block.formats:
        match form:
            case ReportFormat.HTML:
                found["report.html"] = write_page(view).encode()
            case ReportFormat.JSON:
                found["report.json"] = document.model_dump_json(by_alias=True, indent=2).encode()
            case ReportFormat.CSV:
                found |= write_sheets(view)
            case ReportFormat.PDF:
                from batchjob_processors.reporting.paper import write_paper  # noqa: PLC0415 - its library may not be there

                found["report.pdf"] = write_paper(view)
    return found


def _message(mail: ReportMail, to: str, name: str, document: Document, files: dict[str, bytes]) -> EmailMessage:
    figures = document.figures
    headers = {
        "From": mail.sender,
        "To": to,
        "Subject": " ".join(mail.subject.split()) if mail.subject else f"{document.title}: {window_of(figures)}",
        "Message-ID": name,
    }
    html = files[LETTER].decode()
    kinds = {file: mimetypes.guess_type(file)[0] or "application/octet-stream" for file in files}
    attached = [File(file, body, kinds[file]) for file, body in files.items() if file != LETTER]
    return build_message(headers, Body(plain_text(html), html, attached), dt.datetime.now(dt.UTC))


def _files(block: Block, context: Context) -> Files | None:
    if block.deliver.destination is None:
        return None
    return context.destination(block.deliver.destination, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA)


def _check_libraries(block: Block) -> None:
    if ReportFormat.PDF in block.formats and find_spec("typst") is None:
        raise ConfigurationError(
            "spec.report.formats: pdf needs the library typst, which is not here. In a cluster: leave "
            "spec.worker.image out, or build yours on batchjob/worker-report. Without one: pip install "
            "'batchjob[report]'"
        )


def _check_addresses(mail: ReportMail) -> None:
    """ConfigurationError where a mail would be refused for its sender or its recipient, before any is sent."""
    for field, header, text in (
        ("from", "From", mail.sender),
        *((f"to[{n}]", "To", to) for n, to in enumerate(mail.to)),
    ):
        try:
            address(header, text)
        except Fail as error:
            _, _, said = str(error).partition(") ")
            raise ConfigurationError(f"{MAIL}.{field} {said}: write user@host or Name <user@host>") from None


def _renamed(error: Fail | Retry) -> Fail | Retry:
    """What the mail's machinery says, with the fields of this type."""
    said = str(error).replace("spec.email", MAIL)
    if isinstance(error, Fail):
        return Fail(said, error_class=error.error_class)
    return Retry(said, error.after, error.error_class, counts=error.counts)
