"""The SMTP sink: accepts every mail, keeps it as it came, and writes a row for it.

Faults act at RCPT, where real servers refuse, or once the mail is whole: a refused mail has no effect and no row; one
that was taken, and whose sender does not learn it, has its row.
"""

import asyncio
import hashlib
import logging
import time
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from .faults import Faults, Rule
from .ledger import Ledger

MAX_MAIL_BYTES: Final = 32 * 2**20
_parser: Final = BytesHeaderParser(policy=default)


class MailSink:
    """Handler of aiosmtpd's hooks, and the folder of the mails."""

    def __init__(self, ledger: Ledger, faults: Faults, folder: Path) -> None:
        self._ledger = ledger
        self._faults = faults
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        logging.getLogger("mail.log").setLevel(logging.ERROR)

    def build_protocol(self) -> SMTP:
        """The protocol of one connection. Any login is fine, none is needed; there is no TLS."""
        return SMTP(
            self,
            hostname="neighbours",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            authenticator=lambda *_: AuthResult(success=True),
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    async def handle_RCPT(  # noqa: N802  # the hook's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Accept a recipient, or fail the way a rule says."""
        verdict = self._faults.decide(address, address)
        await asyncio.sleep(verdict.delay_seconds)
        if verdict.rule is not None and verdict.rule.action == "disconnect":
            if isinstance(server.transport, asyncio.Transport):
                server.transport.abort()
            return "421 disconnected"
        if verdict.rule is not None:
            return _refusal(verdict.rule, address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail, then write its row: a row's mail is always there to read. Then answer, or not."""
        address = envelope.rcpt_tos[0]
        verdict = self._faults.decide(address, address, at_data=True)
        rule = verdict.rule
        if rule is not None and rule.action == "data_code":
            return _refusal(rule, address)
        self._keep(envelope, str(session.peer), rule)
        await asyncio.sleep(verdict.delay_seconds)
        if rule is not None and rule.action == "lose_answer" and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return "250 accepted"

    def _keep(self, envelope: Envelope, client: str, rule: Rule | None) -> None:
        raw = envelope.original_content or b""
        headers = _parser.parsebytes(raw)
        sha256 = hashlib.sha256(raw).hexdigest()
        (self._folder / sha256).write_bytes(raw)
        message_id = str(headers.get("Message-ID", "")).strip()
        self._ledger.append(
            time=time.time(),
            item=message_id or sha256,
            status=250,
            message_id=message_id,
            rcpt_tos=envelope.rcpt_tos,
            mail_from=envelope.mail_from,
            subject=str(headers.get("Subject", "")),
            sha256=sha256,
            size=len(raw),
            client=client,
            **({"answer": rule.action} if rule else {}),
        )

    def mail(self, row: dict[str, Any]) -> bytes:
        """The mail of a row, byte for byte as it was received."""
        return (self._folder / str(row["sha256"])).read_bytes()


def _refusal(rule: Rule, address: str) -> str:
    return f"{rule.status} {rule.words or 'a fault that a test asked for:'} <{address}>"
