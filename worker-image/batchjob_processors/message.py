"""Building one mail: rendered fields become a message that cannot carry a header of the item's choosing. Pure.

Addresses are checked without asking anybody, and made one: the domain in its ASCII form (IDNA), so that any server
takes it. A name before the @ that is not ASCII has no such form: such a mail needs a server with SMTPUTF8 (RFC 6531).
Everything else of a mail is written in ASCII, so that it arrives as it was sent over whatever comes in between.

The lines of headers are made here. Python's own folding decodes the encoded words that a text brings along, line breaks
among them (CVE-2024-6923), drops the quotes around a long name with a comma, and never comes to an end over some names.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, getaddresses
from typing import Final, NamedTuple, Self

import email_validator

from batchjob.worker import ConfigurationError, Fail

# Whether a name such as mail.local can be delivered to is for the mail server to say.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_WRITE: Final = ": write user@host or Name <user@host>"
_FIELDS: Final = {  # of spec.email, by header
    "From": "from",
    "Reply-To": "replyTo",
    "To": "to",
    "Subject": "subject",
    "List-Unsubscribe": "listUnsubscribe",
}
_ADDRESSES: Final = frozenset({"From", "Reply-To", "To"})
_POLICY: Final = SMTP.clone(cte_type="7bit")
LINE_LIMIT: Final = 998  # characters of a line (RFC 5322 §2.1.1)
_LINE: Final = 78  # that a line should have
_PLAIN: Final = re.compile(r"[\t -~]*")  # what a header may hold as it is
_ENCODED: Final = "=?"  # begins an encoded word (RFC 2047), which a reader would decode
_BROKEN: Final = "\r\n\0"  # what ends a header, here or at some server


class File(NamedTuple):
    """A file that goes along; with a content id, the HTML shows it by cid:<that id>."""

    name: str
    body: bytes
    mime_type: str
    content_id: str | None = None


class Body(NamedTuple):
    """What a mail says."""

    text: str
    html: str | None = None
    files: Sequence[File] = ()
    language: str = ""  # such as de-AT; "" where nobody knows it


class Verbatim(str):  # noqa: SLOT000 - the email package asks a header for its name
    """A header that is neither parsed nor folded any more; `addresses` where it holds any."""

    def __new__(cls, name: str, text: str, *addresses: Address) -> Self:
        """A header of that name."""
        made = super().__new__(cls, text)
        made.name = name
        made.addresses = addresses
        return made

    name: str
    addresses: tuple[Address, ...]

    def fold(self, *, policy: EmailPolicy) -> str:
        """The line."""
        return f"{self.name}: {self}{policy.linesep}"


def build_message(headers: Mapping[str, str], body: Body, now: dt.datetime) -> EmailMessage:
    """A mail. `headers` holds From, To, Subject, Message-ID and whatever else; one without a text is left out.

    Raises:
        Fail: a header holds a line break (header injection), or an address is none.
    """
    message = EmailMessage(policy=_POLICY)
    for name, value in headers.items():
        if any(character in value for character in _BROKEN):
            raise Fail(f"{_named(name)} holds a line break, which could smuggle in a header: {value!r:.80}")
        if value:
            _add_header(message, name, value)
    message["Date"] = format_datetime(now)
    message.set_content(_clean(body.text))
    if body.html is not None:
        message.add_alternative(_clean(body.html), subtype="html")
    for file in body.files:
        _add_file(message, file, has_html=body.html is not None)
    if body.language:
        message["Content-Language"] = body.language  # last: a body that becomes several parts takes it along
    return message


def _add_header(message: EmailMessage, name: str, value: str) -> None:
    try:
        if name in _ADDRESSES:
            found = address(name, value)
            made = Verbatim(name, _address_line(name, found), found)
        else:
            # Words that look encoded are words all the same; what a program reads stays as it is.
            keeps = _PLAIN.fullmatch(value) and not (name == "Subject" and _is_encoded_or_long(name, value))
            made = Verbatim(name, value if keeps else _encoded(name, value))
    except (ValueError, MessageError) as error:
        raise Fail(f"{_named(name)} is not valid: {error}") from None
    if max(map(len, f"{name}: {made}".splitlines())) > LINE_LIMIT:
        raise Fail(f"{_named(name)} has {len(value)} characters, and a line may have {LINE_LIMIT}: shorten it")
    message[name] = made


def _address_line(name: str, found: Address) -> str:
    shown = str(found)
    if _PLAIN.fullmatch(shown) and not _is_encoded_or_long(name, shown):
        return shown
    words = _encoded(name, found.display_name) + _POLICY.linesep + " " if found.display_name else ""
    return f"{words}<{found.addr_spec}>"


def _is_encoded_or_long(name: str, value: str) -> bool:
    return _ENCODED in value or len(name) + len(value) + 2 > LINE_LIMIT


def _encoded(name: str, value: str) -> str:
    """In encoded words, as many lines as it takes."""
    return Header(" ".join(value.splitlines()), "utf-8", _LINE, name).encode(linesep=_POLICY.linesep)


def _add_file(message: EmailMessage, file: File, *, has_html: bool) -> None:
    kind, _, subtype = file.mime_type.partition("/")
    params = {"charset": "utf-8"} if kind == "text" else None
    if file.content_id and has_html:
        html = message.get_body(("related", "html"))
        if isinstance(html, EmailMessage):
            html.add_related(
                file.body, kind, subtype, params=params, filename=file.name, disposition="inline",
                cid=f"<{file.content_id}>",
            )  # fmt: skip
            return
    message.add_attachment(file.body, kind, subtype, params=params, filename=file.name)


def as_bytes(message: EmailMessage) -> bytes:
    """The mail as it goes over the wire."""
    policy = _POLICY.clone(utf8=needs_utf8(message))
    return message.as_bytes(policy=policy)


def needs_utf8(message: EmailMessage) -> bool:
    """Whether only a server with SMTPUTF8 can take it."""
    return not all(
        found.addr_spec.isascii() for name in _ADDRESSES if name in message for found in message[name].addresses
    )


def check_sender(sender: str, reply_to: str | None) -> None:
    """ConfigurationError where every mail of the run would be refused for its sender."""
    headers = {"From": sender} | ({"Reply-To": reply_to} if reply_to else {})
    try:
        build_message(headers, Body(""), dt.datetime.now(dt.UTC))
    except Fail as error:
        said = str(error).removesuffix(_WRITE)
        raise ConfigurationError(f"{said}{_WRITE}") from None


def address(header: str, value: str) -> Address:
    """The one address in `user@host` or `Name <user@host>`, normalised; raises Fail where there is none."""
    found = getaddresses([value])
    refused = f"{_named(header)} is not an address: {value!r:.80}"
    if len(found) != 1:
        raise Fail(f"{refused}: there are {len(found)}, or a name with a comma is not in quotes")
    [(name, plain)] = found
    try:
        checked = email_validator.validate_email(
            plain or value, check_deliverability=False, globally_deliverable=False, strict=True
        )
        return Address(display_name=name, username=checked.local_part, domain=checked.ascii_domain)
    except ValueError as error:  # of which the validator's are some
        raise Fail(f"{refused}: {str(error).rstrip('.')}{_WRITE}") from None


def message_id(uid: str, position: int, sender: str) -> str:
    """The same for every attempt of an item (RFC 5322 §3.6.4), so that a repeated mail can be recognised."""
    return f"<{uid}.{position}@{address('From', sender).domain}>"


def _clean(text: str) -> str:
    return text.replace("\0", "")  # no line of a mail may have one (RFC 5322 §2.2)


def _named(header: str) -> str:
    """The header with the field that it is made of."""
    return f"{header} (spec.email.{_FIELDS.get(header, 'headers')})"
