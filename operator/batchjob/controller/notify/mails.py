"""The door to the mail server of spec.notify: one mail, one connection, and what the server's answer means.

Type email sends in bulk, from worker pods, with templates and a ledger; that is the processors' and not for the
operator, whose few mails are plain text. Both have the same block for the server and the same library.
"""

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

import aiosmtplib

from batchjob.api.blocks.email import SmtpTls
from batchjob.api.notifications import DeliveryState, Notification
from batchjob.controller.notify.destinations import Destinations, trusting
from batchjob.controller.notify.notices import Outcome
from batchjob.core.smtp import PERMANENT, quoted, refuses_login

SECONDS: Final = 30.0  # for all of an attempt
QUIT_SECONDS: Final = 2.0  # by then all that matters was said


@dataclass(frozen=True)
class Server:
    """A mail server, and who signs in there."""

    host: str
    port: int
    tls: SmtpTls
    sender: str
    login: tuple[str, str] | None
    trusted: bool  # named by whoever runs the operator: it may have any address

    @property
    def at(self) -> str:
        """Where it is, for people."""
        return f"{self.host}:{self.port}"


async def send(destinations: Destinations, server: Server, message: EmailMessage) -> Outcome:
    """One attempt. ConfigurationError where the server may not be called."""
    at = server.at
    try:
        await _send(destinations, server, message)
    except (TimeoutError, aiosmtplib.SMTPTimeoutError):
        why = f"{at} did not answer in time"
    except aiosmtplib.SMTPRecipientsRefused as error:
        return judge(error.recipients[0], server)
    except aiosmtplib.SMTPResponseException as error:
        return judge(error, server)
    except aiosmtplib.SMTPException as error:
        why = f"{at} cannot be used: {quoted(str(error), server.login)}"
    except OSError as error:
        why = f"{at} cannot be reached: {error.strerror or type(error).__name__}"
    else:
        return Outcome(DeliveryState.DELIVERED, f"accepted by {at}")
    return Outcome(DeliveryState.PENDING, why)


def judge(error: aiosmtplib.SMTPResponseException, server: Server) -> Outcome:
    """What a no means: for good from 500 on, but for one to the sign-in: a Secret is mended, a recipient is not."""
    at, said = server.at, f"{error.code} {quoted(error.message, server.login)}"
    if refuses_login(error.code, at_login=isinstance(error, aiosmtplib.SMTPAuthenticationError)):
        return Outcome(DeliveryState.PENDING, f"{at} refused the sign-in: {said}")
    state = DeliveryState.FAILED if error.code >= PERMANENT else DeliveryState.PENDING
    return Outcome(state, f"{at} refused: {said}")


async def _find(destinations: Destinations, server: Server) -> list[str]:
    if server.trusted:
        return await destinations.look_up(server.host, server.port)
    secure = server.tls is not SmtpTls.NONE or server.login is None
    way_out = "the password would go there in plain text. Set spec.notify.smtp.tls to starttls or tls"
    return await destinations.find(server.host, server.port, secure=secure, way_out=way_out)


async def _connect(destinations: Destinations, server: Server) -> socket.socket:
    """A connection to one of its addresses: the library would look the name up by the threads that all share."""
    addresses = await _find(destinations, server)
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, (address, server.port))
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last or OSError("no address")


async def _send(destinations: Destinations, server: Server, message: EmailMessage) -> None:
    """The mail, and QUIT once the server has said what it makes of it.

    To one that says nothing the connection is just closed: as a context manager the library would send QUIT first and
    wait for its answer, also where we are cancelled, and a leader that goes would wait with it.
    """
    client = _client(server)
    try:
        async with asyncio.timeout(SECONDS):
            connection = await _connect(destinations, server)
            await client.connect(sock=connection, port=None)
            await client.send_message(message)
    except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused):
        await _quit(client)
        raise
    else:
        await _quit(client)
    finally:
        client.close()


async def _quit(client: aiosmtplib.SMTP) -> None:
    """Nothing that becomes of it changes what the server has said of the mail."""
    if client.is_connected:
        with suppress(aiosmtplib.SMTPException):
            await client.quit(timeout=QUIT_SECONDS)


def _client(server: Server) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        use_tls=server.tls is SmtpTls.TLS,
        start_tls=server.tls is SmtpTls.STARTTLS,
        tls_context=trusting() if server.tls is not SmtpTls.NONE else None,
        username=server.login[0] if server.login else None,
        password=server.login[1] if server.login else None,
        local_hostname=socket.gethostname(),  # else it is looked up, which may take long
        timeout=SECONDS,
    )


def build_mail(body: dict[str, Any], notice: Notification, place: str, sender: str, recipient: str) -> EmailMessage:
    """The mail; its Message-ID is the same for every attempt."""
    data = body["data"]
    name = f"{data['namespace']}/{data['name']}"
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = sender, recipient
    message["Subject"] = f"BatchJob {name}: {data['phase']} ({data['reason']})"
    message["Date"] = format_datetime(datetime.fromisoformat(notice.time))
    domain = sender.rpartition("@")[2]
    message["Message-ID"] = f"<{notice.id}.{place.strip(']').replace('[', '-')}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is told to us
    lines = [f"BatchJob {name} ({data['type']}): {data['phase']}, {data['reason']}.", "", data["message"], ""]
    facts = {"owner": data["owner"], "at": notice.time, "uid": data["uid"]}
    lines += [f"{key}: {value}" for key, value in (facts | data["counts"] | data["usage"]).items() if value]
    lines += ["", f"kubectl -n {data['namespace']} describe batchjob {data['name']}"]
    message.set_content("\n".join(lines), cte="quoted-printable")
    return message
