"""The block of type email."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from batchjob.api.base import VALIDATIONS, Model, cel
from batchjob.api.blocks.template import Template
from batchjob.api.source import SecretName


class SmtpTls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Smtp(Model):
    """The mail server."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Host name of the server.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    r"!self.matches('[\\s/@\\[]|^[^:]*:[0-9]*$')",
                    "email.smtp.host must be a host name or an address alone, such as mail.example.com: "
                    "the port goes into email.smtp.port, TLS into email.smtp.tls",
                )
            ]
        },
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(587, description="Port of the server.")
    tls: SmtpTls = Field(SmtpTls.STARTTLS, description="starttls (587), tls from the first byte (465), or none.")
    credentials_secret_ref: SecretName | None = Field(
        None, description="Secret with SMTP_USERNAME and SMTP_PASSWORD; absent: no sign-in."
    )


class Email(Model):
    """Type email: one mail an item."""

    smtp: Smtp = Field(description="The mail server.")
    sender: Annotated[str, Field(min_length=3, max_length=320)] = Field(
        alias="from", description="Sender, as user@host or Name <user@host>."
    )
    reply_to: Annotated[str, Field(min_length=3, max_length=320)] | None = Field(
        None, description="Where answers go; default: the sender."
    )
    to: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        "{{ email }}", description="Recipient. A template over the item's data."
    )
    subject: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Subject. A template over the item's data."
    )
    text: Template = Field(description="Plain text of the mail. A template over the item's data.")
    rate_per_minute: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="Most mails in any minute, together with all BatchJobs that share the rate (spec.rateLimitKey). "
        "Default: no limit.",
    )
