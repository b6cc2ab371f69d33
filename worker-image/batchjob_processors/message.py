"""Building one mail: rendered fields become a message that cannot carry a header of the item's choosing. Pure."""

import datetime as dt
from collections.abc import Mapping
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final

from batchjob.worker import ConfigurationError, Fail

_FIELDS: Final = {"From": "from", "Reply-To": "replyTo", "To": "to", "Subject": "subject"}  # of spec.email, by header


def build_message(headers: Mapping[str, str], text: str, now: dt.datetime) -> EmailMessage:
    """A text mail. `headers` holds From, To, Subject, Message-ID and whatever else.

    Raises:
        Fail: a header holds a line break (header injection), or an address is none.
    """
    message = EmailMessage(policy=SMTP)
    for name, value in headers.items():
        if any(character in value for character in "\r\n\0"):
            raise Fail(f"{_named(name)} holds a line break, which could smuggle in a header: {value!r:.80}")
        try:
            message[name] = address(name, value) if name in {"From", "To", "Reply-To"} else value
        except (ValueError, MessageError) as error:
            raise Fail(f"{_named(name)} is not valid: {error}") from None
    message["Date"] = format_datetime(now)
    message.set_content(text)
    return message


def check_sender(sender: str, reply_to: str | None) -> None:
    """ConfigurationError where every mail of the run would be refused for its sender."""
    headers = {"From": sender} | ({"Reply-To": reply_to} if reply_to else {})
    try:
        build_message(headers, "", dt.datetime.now(dt.UTC))
    except Fail as error:
        raise ConfigurationError(f"{error}: write user@host or Name <user@host>") from None


def address(header: str, value: str) -> Address:
    """The one address in `user@host` or `Name <user@host>`; raises Fail where there is none."""
    name, plain = parseaddr(value)
    user, at, host = plain.rpartition("@")
    if not (user and at and host) or any(character.isspace() for character in plain):
        raise Fail(f"{_named(header)} is not an address: {value!r:.80}")
    return Address(display_name=name, username=user, domain=host)


def message_id(uid: str, position: int, sender: str) -> str:
    """The same for every attempt of an item (RFC 5322 §3.6.4), so that a repeated mail can be recognised."""
    return f"<{uid}.{position}@{address('From', sender).domain}>"


def _named(header: str) -> str:
    """The header with the field that it is made of, where a user wrote one."""
    return f"{header} (spec.email.{_FIELDS[header]})" if header in _FIELDS else header
