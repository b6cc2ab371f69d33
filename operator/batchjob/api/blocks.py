"""The typed blocks of a BatchJob: what to do with each item, one block a type."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, Url, cel
from batchjob.api.source import Location, SecretKey, SecretName

Template = Annotated[str, Field(min_length=1, max_length=16384)]  # minijinja over the item's data
FieldName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class FormFieldType(StrEnum):
    """What a form field holds."""

    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUM = "enum"
    LIST = "list"


class FormField(Model):
    """One field the model has to fill in."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.type != 'enum' || has(self.enum)",
                    "a field of type enum needs its choices: list them in formSchema.fields[].enum",
                    field=".enum",
                ),
                cel(
                    "self.type == 'enum' || !has(self.enum)",
                    "formSchema.fields[].enum lists choices, which a field of type enum alone has: "
                    "remove it, or set type: enum",
                    field=".enum",
                ),
                cel(
                    "!(has(self.minimum) || has(self.maximum)) || self.type in ['number', 'integer']",
                    "minimum and maximum bound fields of type number and integer only",
                    field=".type",
                ),
            ]
        }
    )

    name: FieldName = Field(description="Name of the field in the answer.")
    type: FormFieldType = Field(description="What the field holds; a list holds strings.")
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="What the model should put here."
    )
    enum: Annotated[list[Annotated[str, Field(max_length=128)]], Field(min_length=1, max_length=64)] | None = Field(
        None, description="The choices of a field of type enum."
    )
    required: bool = Field(True, description="Whether an answer without this field is invalid.")
    minimum: float | None = Field(None, description="Smallest value of a number or integer.")
    maximum: float | None = Field(None, description="Largest value of a number or integer.")


class FormSchema(Model):
    """The form that each answer has to fill."""

    fields: Annotated[list[FormField], Field(min_length=1, max_length=64)] = Field(
        description="The fields of the form, by name.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class ModelEndpoint(Model):
    """An OpenAI-compatible endpoint and how to ask it."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Model to ask, as the endpoint names it."
    )
    base_url: Url = Field(
        "https://api.openai.com/v1",
        description="Base URL of an OpenAI-compatible API, ending before /chat/completions.",
        pattern=r"^https?://",
    )
    api_key_secret_ref: SecretKey | None = Field(
        None, description="Key of a Secret with the API key (the usual key is OPENAI_API_KEY)."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="Sampling temperature; absent: the endpoint's default."
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Most tokens of an answer; absent: the endpoint's default."
    )


class AiBatch(Model):
    """Type ai-batch: a model annotates each item."""

    instructions: Template = Field(
        description="What the model shall do with each item. A template: {{ field }} inserts a field of the item."
    )
    form_schema: FormSchema = Field(description="The form each answer has to fill; an answer that does not is retried.")
    model: ModelEndpoint = Field(description="The endpoint and the model.")


class ExportFormat(StrEnum):
    """How exported files are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Column(Model):
    """One column of an export."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Field of the item; a dot reaches into nested data."
    )
    header: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Name of the column in the file; default: the field's."
    )


class Destination(Location):
    """A place to write files below."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.url.startsWith('s3://') || self.url.startsWith('file:///')",
                    "destination.url must begin with s3:// or file:///",
                    field=".url",
                ),
                cel(
                    "!self.url.contains('?') && !self.url.contains('#')",
                    "destination.url must not contain ? or #: files are written below it. Write %3F or %23.",
                    field=".url",
                ),
            ]
        }
    )


class Export(Model):
    """Type export: items out to files."""

    format: ExportFormat = Field(ExportFormat.CSV, description="How the files are written.")
    columns: Annotated[list[Column], Field(min_length=1, max_length=256)] | None = Field(
        None,
        description="Columns and their order; default: the fields of the first item, in its order. Those for which no "
        "item has a value are named in manifest.json, as emptyColumns.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "self.all(c, self.exists_one(d, "
                    "(has(d.header) ? d.header : d.name) == (has(c.header) ? c.header : c.name)))",
                    "export.columns must not name a column of the file twice: give one of them another header",
                )
            ]
        },
    )
    escape_formulas: bool = Field(
        True,
        description="For csv: put an apostrophe before text that a spreadsheet would run as a formula, which is what "
        "begins with =, +, -, @, a tab or a carriage return and is not a number such as -5 or +1.5e3. "
        "Set it to false where programs read the files.",
    )
    destination: Destination = Field(
        description="Where to write: part files and manifest.json, in a folder of the run's own below the url, "
        "<name>-<start of its uid>/; status.results.uri says where."
    )
    rows_per_file: Annotated[int, Field(ge=1, le=10_000)] = Field(1000, description="Rows in one part file.")


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


class Custom(Model):
    """Type custom: a processor of your own, found by entry point in the worker image."""

    processor: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Entry point of the group batchjob.processors in the worker image."
    )
    params: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=dict, description="Parameters for the processor; it reads them as context.params."
    )
