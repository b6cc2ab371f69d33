"""The block of type email."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Key, Model, Name, Url, cel
from batchjob.api.blocks.template import Template
from batchjob.api.source import CaBundle, Location, SecretKey, SecretName

Subject = Annotated[str, Field(min_length=1, max_length=1024)]  # minijinja over the item's data, as the next
HeaderText = Annotated[str, Field(min_length=1, max_length=1024)]
Html = Annotated[str, Field(min_length=1, max_length=65536)]


class SmtpTls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class MailServer(Model):
    """A mail server."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="Host name of the server.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    r"!self.matches('[\\s/@\\[]|^[^:]*:[0-9]*$')",
                    "smtp.host must be a host name or an address alone, such as mail.example.com: "
                    "the port goes into smtp.port, TLS into smtp.tls",
                )
            ]
        },
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(587, description="Port of the server.")
    tls: SmtpTls = Field(SmtpTls.STARTTLS, description="starttls (587), tls from the first byte (465), or none.")
    credentials_secret_ref: SecretName | None = Field(
        None, description="Secret with SMTP_USERNAME and SMTP_PASSWORD; absent: no sign-in."
    )


class Smtp(MailServer):
    """The mail server of type email."""

    max_connections: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Most connections of one pod. Default: spec.concurrency."
    )


class OnDoubt(StrEnum):
    """What becomes of a mail of which nobody knows whether it was sent."""

    RESEND = "resend"
    DEAD_LETTER = "deadLetter"


class MailHeader(Model):
    """A header of one's own."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-9;-~]+$")] = Field(
        description="Name of the header, such as X-Campaign.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.matches('(?i)^(from|sender|to|cc|bcc|reply-to|subject|date|message-id|return-path|received|"
                    "mime-version|dkim-signature|list-unsubscribe.*|content-.*|resent-.*)$')",
                    "email.headers[].name names a header that is made from other fields, or by the mail server: "
                    "use the field (from, to, replyTo, subject, locale, listUnsubscribe), or remove it",
                )
            ]
        },
    )
    value: HeaderText = Field(description="Its text. A template over the item's data.")


class ListUnsubscribe(Model):
    """How a recipient is taken off the list: a button in the reader's mail program (RFC 2369)."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel("has(self.url) || has(self.mailto)", "email.listUnsubscribe needs url or mailto: set at least one"),
                cel(
                    "!has(self.oneClick) || !self.oneClick || has(self.url)",
                    "email.listUnsubscribe.oneClick is a POST to url: set email.listUnsubscribe.url",
                    field=".oneClick",
                ),
            ]
        }
    )

    url: HeaderText | None = Field(
        None,
        description="An https:// URL that names the recipient, such as https://example.com/off?id={{ id | urlencode }}."
        " A template over the item's data.",
    )
    mailto: HeaderText | None = Field(
        None, description="An address that takes such wishes, such as off@example.com?subject=off. A template."
    )
    one_click: bool = Field(
        False, description="Whether a POST to url is enough, without another question (RFC 8058; the server signs it)."
    )


class Translation(Model):
    """The mail in another language."""

    locale: Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] = Field(
        description="Language, such as de or de-AT: for whoever asks for it or for a variant of it."
    )
    subject: Subject | None = Field(None, description="Subject; default: email.subject. A template.")
    text: Template | None = Field(
        None, description="Plain text. A template. Where text and html are absent, those of the block hold."
    )
    html: Html | None = Field(None, description="HTML or MJML. A template.")


class Place(Location):
    """A place to read files from."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.url.matches('[?#]')",
                    "email.files.url must not contain ? or #: files are read below it. Write %3F or %23.",
                    field=".url",
                )
            ]
        }
    )

    url: Url = Field(
        description="s3://, gs:// or az://bucket/key, https://host/path, or file:///path below a mount of "
        "spec.worker.volumes.",
        pattern=r"^(s3|gs|az|https|file)://",
    )
    endpoint: Url | None = Field(None, description="As source.uri.endpoint.")
    credentials_secret_ref: SecretName | None = Field(None, description="As source.uri.credentialsSecretRef.")
    ca_bundle_ref: CaBundle | None = Field(None, description="As source.uri.caBundleRef.")


class Attachment(Model):
    """A file that goes along."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.path) != has(self.text)",
                    "email.attachments[] needs exactly one of path (a file below email.files) and text",
                )
            ]
        }
    )

    name: HeaderText = Field(description="Name of the file in the mail, such as {{ number }}.pdf. A template.")
    path: HeaderText | None = Field(None, description="The file, below email.files.url. A template.")
    text: Template | None = Field(
        None, description="What is in the file. A template; with source.resultsOf over the result of another BatchJob."
    )
    content_id: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] | None = Field(
        None, description='Makes it an image in the HTML, which shows it by <img src="cid:<this>">.'
    )


class ConfigMapKey(Model):
    """One key of a ConfigMap in the BatchJob's namespace."""

    name: Name = Field(description="Name of the ConfigMap.")
    key: Key = Field(description="Key in the ConfigMap.")


class Suppression(Model):
    """A list of addresses that get no mail: exactly one place."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "[has(self.configMapRef), has(self.secretRef), has(self.path)].exists_one(x, x)",
                    "email.suppression needs exactly one of configMapRef, secretRef and path (below email.files)",
                )
            ]
        }
    )

    config_map_ref: ConfigMapKey | None = Field(None, description="A key of a ConfigMap that holds the list.")
    secret_ref: SecretKey | None = Field(None, description="A key of a Secret that holds the list.")
    path: HeaderText | None = Field(None, description="The list, a file below email.files.url.")
    column: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="The list is CSV, and this column has the addresses. Default: one address a line."
    )


class Email(Model):
    """Type email: one mail an item."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel("has(self.text) || has(self.html)", "a mail needs email.text or email.html: set at least one"),
                cel(
                    "!has(self.translations) || has(self.locale)",
                    "email.translations are chosen by email.locale: set it, such as '{{ locale }}'",
                    field=".translations",
                ),
                cel(
                    "has(self.files) || (!has(self.attachments) || self.attachments.all(a, has(a.text))) && "
                    "(!has(self.suppression) || !has(self.suppression.path))",
                    "a path in email.attachments and email.suppression is a file below email.files.url: set it",
                ),
            ]
        }
    )

    smtp: Smtp = Field(description="The mail server.")
    sender: Annotated[str, Field(min_length=3, max_length=320)] = Field(
        alias="from", description="Sender, as user@host or Name <user@host>."
    )
    reply_to: Annotated[str, Field(min_length=3, max_length=320)] | None = Field(
        None, description="Where answers go; default: the sender."
    )
    to: HeaderText = Field(
        "{{ email }}",
        description="Recipient, as user@host or Name <user@host>. A template over the item's data.",
    )
    subject: Subject = Field(description="Subject. A template over the item's data.")
    text: Template | None = Field(
        None, description="Plain text of the mail. A template over the item's data. Default: what html says, as text."
    )
    html: Html | None = Field(
        None,
        description="HTML of the mail, or MJML, which begins with <mjml>. A template over the item's data, whose "
        "values are escaped; {{ field | safe }} inserts HTML as it is.",
    )
    locale: HeaderText | None = Field(
        None,
        description="Language of the recipient, such as {{ locale }}: chooses a translation, and becomes "
        "Content-Language. A template over the item's data; empty for one that is not known.",
    )
    translations: Annotated[list[Translation], Field(min_length=1, max_length=8)] | None = Field(
        None,
        description="The mail in other languages. Who asks for de-AT gets de-AT, else de, else the mail of the block.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["locale"]},
    )
    headers: Annotated[list[MailHeader], Field(min_length=1, max_length=32)] | None = Field(
        None,
        description="Headers of one's own.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    list_unsubscribe: ListUnsubscribe | None = Field(
        None, description="The unsubscribe button of mail programs; large mail providers ask senders in bulk for it."
    )
    attachments: Annotated[list[Attachment], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Files that go along with each mail, and images in its HTML; at most 10 MiB a mail."
    )
    files: Place | None = Field(None, description="The folder with the files of attachments and suppression.")
    suppression: Suppression | None = Field(
        None,
        description="Addresses that get no mail, whatever their case. Their items succeed, with suppressed: true in "
        "the result; usage.mailsSuppressed counts them. A pod reads the list when it starts.",
    )
    dry_run: bool = Field(
        False,
        description="Send nothing: each mail becomes a file mail-<position>.eml in the run's folder below "
        "spec.results.destination.",
    )
    on_doubt: OnDoubt = Field(
        OnDoubt.RESEND,
        description="A mail is in doubt where the connection or the worker was lost after DATA and before the server's "
        "answer. resend: it is sent again, with the same Message-ID. deadLetter: it is not, and its item fails, class "
        "infrastructure. usage.mailsInDoubt counts the doubts.",
    )
    rate_per_minute: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="Most mails in any minute, together with all BatchJobs that share the rate (spec.rateLimitKey). "
        "Default: no limit.",
    )
