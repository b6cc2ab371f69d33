"""Who is told what becomes of a BatchJob (spec.notify); `api.notifications` has the log of it."""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, Url, cel
from batchjob.api.blocks.email import MailServer
from batchjob.api.notifications import MAX_MAILS, MAX_WEBHOOKS, NotifyEvent
from batchjob.api.source import CaBundle, SecretKey

# One plain address: no name, no list, no comment, so that nothing in it has a second meaning in a header; and no
# question mark, so that it holds no encoded word (RFC 2047), which Python's folding would decode (CVE-2024-6923).
_ADDRESS: Final = r"^[A-Za-z0-9.!#$%&'*+/=^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
Address = Annotated[str, Field(min_length=3, max_length=254, pattern=_ADDRESS)]
Events = Annotated[list[NotifyEvent], Field(min_length=1, max_length=len(NotifyEvent))]


def _events() -> Any:
    return Field(
        None, description="What is told. Default: all four.", json_schema_extra={"x-kubernetes-list-type": "set"}
    )


class Webhook(Model):
    """An endpoint that is told by POST, as Standard Webhooks says."""

    url: Url = Field(
        description="https://host/path. Public addresses, and those that the operator's settings allow; http:// for "
        "the latter alone. Redirects are not followed.",
        pattern=r"^https?://[^/?#]",
    )
    secret_ref: SecretKey = Field(
        description="Key of a Secret with the signing secret: whsec_ and 24 to 64 bytes in base64. Several, one a "
        "line, all sign, so that one can take over from another."
    )
    events: Events | None = _events()
    ca_bundle_ref: CaBundle | None = Field(
        None, description="Certificates to trust in place of the public ones, for an authority of one's own."
    )


class Mail(Model):
    """Somebody who is told by mail."""

    to: Address = Field(description="Address of the recipient, user@host.")
    events: Events | None = _events()


class NotifySmtp(MailServer):
    """The mail server that the mails of notify go through."""

    sender: Address = Field(alias="from", description="Address of the sender, user@host.")


class Notify(Model):
    """Who is told when a BatchJob completes, fails, is suspended or cancelled."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.webhooks) || has(self.email)",
                    "notify tells nobody: set notify.webhooks or notify.email, or leave notify out",
                )
            ]
        }
    )

    webhooks: Annotated[list[Webhook], Field(min_length=1, max_length=MAX_WEBHOOKS)] | None = Field(
        None, description="Endpoints that are told. A delivery may come twice, with the same webhook-id."
    )
    email: Annotated[list[Mail], Field(min_length=1, max_length=MAX_MAILS)] | None = Field(
        None, description="Who gets a mail."
    )
    smtp: NotifySmtp | None = Field(
        None, description="The mail server for notify.email. Default: the one in the operator's settings."
    )
