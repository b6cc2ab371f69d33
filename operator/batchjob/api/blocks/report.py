"""The block of type report."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, cel
from batchjob.api.blocks.email import Smtp
from batchjob.api.blocks.export import Destination
from batchjob.api.source import SecretKey

# Of a spec as a whole.
SPEC_RULES: Final = (
    cel(
        "(self.type == 'report') == !has(self.source)",
        "spec.source is where the items come from: every type needs it but report, which may not have it. "
        "spec.report.sections says what a report shows.",
        field=".source",
    ),
    cel(
        "self.type != 'report' || !has(self.results)",
        "spec.results is not for type report: its files are its results, and "
        "spec.report.deliver.destination says where they go. Remove spec.results.",
        field=".results",
    ),
)


class ReportFormat(StrEnum):
    """How a report is written."""

    HTML = "html"
    PDF = "pdf"
    CSV = "csv"
    JSON = "json"


class ReportScope(StrEnum):
    """Whose BatchJobs a report is about."""

    OWNER = "owner"
    ALL = "all"


class Shown(StrEnum):
    """What a section shows of the BatchJobs that ended in the window."""

    SUMMARY = "summary"
    THROUGHPUT = "throughput"
    QUEUES = "queues"
    DURATIONS = "durations"
    FAILURES = "failures"
    JOBS = "jobs"
    USAGE = "usage"


class Chart(StrEnum):
    """How the rows of a query are drawn."""

    BARS = "bars"
    LINE = "line"


class ReportQuery(Model):
    """Rows of a PostgreSQL query."""

    dsn_secret_ref: SecretKey = Field(description="As source.sql.dsnSecretRef.")
    query: Annotated[str, Field(min_length=1, max_length=16384)] = Field(
        description="One SELECT of at most 500 rows and 20 columns, read-only: let the database add up."
    )
    chart: Chart | None = Field(
        None,
        description="bars or line: the first column names the points, the others are numbers, a series each (60 rows "
        "and 6 series at most). Default: a table.",
    )


class Section(Model):
    """A section of a report: exactly one of show and sql."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel("has(self.show) != has(self.sql)", "report.sections[] needs exactly one of show and sql"),
                cel(
                    "!has(self.sql) || has(self.title)",
                    "report.sections[].title is missing: a section of a query needs one",
                    field=".title",
                ),
            ]
        }
    )

    title: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Its heading. Default: what it shows."
    )
    show: Shown | None = Field(
        None,
        description="summary: the figures of all together; throughput: items over time; queues: a line each, with what "
        "waits; durations: of items, p50 and p95; failures: by error class; jobs: those with the most failed items; "
        "usage: tokens, mails, rows. Each with its change against the window before.",
    )
    sql: ReportQuery | None = Field(None, description="Rows of a database of yours, as a table or a chart.")


class ReportMail(Model):
    """Delivery by mail: one mail for each recipient, with the files attached and the tables in its text."""

    smtp: Smtp = Field(description="The mail server.")
    sender: Annotated[str, Field(min_length=3, max_length=320)] = Field(
        alias="from", description="Sender, as user@host or Name <user@host>."
    )
    to: Annotated[list[Annotated[str, Field(min_length=3, max_length=320)]], Field(min_length=1, max_length=20)] = (
        Field(description="Recipients, each as user@host or Name <user@host>.")
    )
    subject: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Subject. Default: the title and the window."
    )


class Deliver(Model):
    """Where a report goes: one or both."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.email) || has(self.destination)",
                    "report.deliver needs email or destination: set at least one",
                )
            ]
        }
    )

    email: ReportMail | None = Field(None, description="By mail.")
    destination: Destination | None = Field(
        None, description="A file for each format, and manifest.json, go below <url>/<name>-<first 8 of uid>/."
    )


class Report(Model):
    """Type report: what became of BatchJobs in a window of time."""

    title: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        "BatchJob report", description="What stands above it."
    )
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[hd]$", max_length=5)] = Field(
        "7d",
        description="How much time it covers, in hours or days, such as 24h or 7d; at most 90d, which is how long "
        "records of BatchJobs that ended are kept. Days are those of the time zone, whose clock may change. It ends at "
        "the time that a BatchSchedule made the BatchJob for, else when that is created, or at spec.startAfter.",
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!self.matches('^([1-9][0-9]{2,}|9[1-9])d$|^([3-9][0-9]{3}|2[2-9][0-9]{2}|21[7-9][0-9]|216[1-9])h$')",
                    "report.window is more than 90d: records of BatchJobs that ended are kept no longer",
                )
            ]
        },
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9+/_-]+$")] = Field(
        "UTC", description="Whose days and hours, such as Europe/Berlin."
    )
    scope: ReportScope = Field(
        ReportScope.OWNER,
        description="owner: BatchJobs of this namespace with the same spec.owner. all: every BatchJob here, for "
        "whoever may update batchqueues (policies.reports of the chart checks it).",
    )
    sections: Annotated[list[Section], Field(min_length=1, max_length=20)] | None = Field(
        None, description="What it shows, in this order. Default: summary, throughput and all that follow it above."
    )
    formats: Annotated[list[ReportFormat], Field(min_length=1, max_length=4)] = Field(
        default=[ReportFormat.HTML],
        description="html (one file that needs nothing else), pdf, csv (every table) and json (every figure).",
        json_schema_extra={
            VALIDATIONS: [
                cel("self.all(a, self.exists_one(b, a == b))", "report.formats names a format twice: remove one")
            ]
        },
    )
    deliver: Deliver = Field(description="Where it goes.")

    def before(self, end: datetime) -> datetime:
        """Where a window begins that ends then: days are those of the clock there, and may have 23 or 25 hours."""
        number = int(self.window[:-1])
        if self.window.endswith("d"):
            return end - timedelta(days=number)  # of one time zone, which Python takes by its clock
        return (end.astimezone(UTC) - timedelta(hours=number)).astimezone(end.tzinfo)

    @property
    def shown(self) -> list[Section]:
        """Its sections."""
        return self.sections or [Section(show=shown) for shown in Shown]
