"""What a report says: the document that its formats are made from, and that the format json is.

The operator makes the figures, since it alone may read the records of all runs; the loader adds the rows of queries.
Amounts of what nothing was counted of are null, never 0. `before` is the window before, null where records do not reach
back so far; where they do not reach back to `since` either, `coversWindow` is false.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from batchjob.api.base import Model

Cell = str | int | float | bool | None


class Measures(Model):
    """What some runs did that ended in a window."""

    runs: int = 0
    succeeded_runs: int = 0
    failed_runs: int = 0
    cancelled_runs: int = 0
    items: int = 0  # that ended: succeeded or were given up
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0  # records of sources that were left out
    retried: int = 0  # attempts that were made again
    repeated: int = 0  # items that may have run again after a loss
    success_percent: float | None = None  # of the items that ended
    items_per_hour: float | None = None  # of the window
    items_per_active_hour: float | None = None  # of the time in which the runs were at work, one after the other
    p50_seconds: float | None = None  # of attempts of items
    p95_seconds: float | None = None
    usage: dict[str, int] = Field(default_factory=dict)


class QueueFigures(Model):
    """One queue."""

    queue: str
    now: Measures
    before: Measures | None = None
    waiting: int = 0  # BatchJobs, when the report was made
    oldest_waiting_seconds: float | None = None


class FailureFigures(Model):
    """Items that were given up, of one error class."""

    error_class: str
    items: int
    before: int | None = None


class Span(Model):
    """A part of the window: a day, or an hour."""

    start: str  # RFC 3339
    label: str
    succeeded: int = 0
    failed: int = 0


class FailingJob(Model):
    """A BatchJob with failed items."""

    namespace: str
    name: str
    queue: str
    owner: str | None = None
    phase: str
    reason: str = ""
    failed: int
    total: int
    ended: str


class Figures(Model):
    """What became of the runs that ended in a window."""

    since: str  # RFC 3339, in the time zone of the report
    until: str
    time_zone: str
    scope: str  # owner or all
    namespace: str
    owner: str | None = None
    records_since: str | None = None  # when the oldest run ended that is remembered; null: none is
    covers_window: bool = True  # false: runs that ended in the window may be unknown, they were before recordsSince
    queues_left_out: bool = False  # more than have a line here; they are in the sums
    usage_left_out: bool = False  # counters of more names than are shown
    total: Measures = Measures()
    before: Measures | None = None
    queues: list[QueueFigures] = Field(default_factory=list)
    failures: list[FailureFigures] = Field(default_factory=list)
    spans: list[Span] = Field(default_factory=list)
    failing_jobs: list[FailingJob] = Field(default_factory=list)


class Rows(Model):
    """The rows of a query."""

    columns: list[str]
    rows: list[list[Cell]]
    exact: list[int] = Field(default_factory=list)  # columns of numbers that are texts, with the database's digits


class Delivery(StrEnum):
    """What an item of a report does."""

    FILES = "files"
    MAIL = "mail"


class Document(Model):
    """A report."""

    title: str
    batch_job: Annotated[str, Field(description="namespace/name")]
    figures: Figures
    queries: dict[str, Rows] = Field(default_factory=dict)  # by the section's number, from 0


FIGURES_NOTE = "report-figures"  # of a run, by the operator: Figures
DOCUMENT_NOTE = "report-document"  # of a run, by its loader: Document
