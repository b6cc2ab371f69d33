"""What the HTTP API answers: the gateway's description and the Python client are made of these; tests hold them true.

A client reads answers tolerantly: fields that it does not know are left out, those that are not there have a default.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

STATES: Final = ("pending", "queued", "running", "suspended", "finalizing", "succeeded", "failed", "cancelled")
ENDED: Final = frozenset(STATES[-3:])

State = Annotated[str, Meta(description="Where it stands.", extra_json_schema={"enum": [*STATES]})]
Links = Annotated[dict[str, str], Meta(description="Where the rest of it is, as paths.")]
Excerpt = Annotated[
    Any, Meta(description="Any JSON; one that is long has only truncated, bytes and begin, the beginning of its text.")
]
Time = Annotated[str, Meta(description="RFC 3339, UTC.")]
Seconds = Annotated[float, Meta(description="Seconds since 1970 (UTC).")]


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What all of them are."""


class Accepted(Answer, frozen=True):
    """Something that was asked for will be done."""

    job_id: Annotated[str, Meta(description="The BatchJob: <namespace>.<name>.")]
    status: str
    success: bool = True
    message: str = ""
    links: Links = {}


class Counts(Answer, frozen=True):
    """Items by state."""

    total: int = 0
    waiting: int = 0
    delayed: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retried_after_loss: int = 0


class ReturnValue(Answer, frozen=True):
    """What came of a BatchJob that has ended."""

    processed: int
    succeeded: int
    failed: int
    cancelled: int


class Job(Answer, frozen=True):
    """One BatchJob."""

    id: str
    name: str
    namespace: str
    type: str
    state: State
    queue: str | None = None
    owner: str | None = None
    labels: dict[str, str] = {}
    created_at: Time | None = None
    progress: Annotated[float, Meta(description="Percent, from 0 to 100.")] = 0.0
    counts: Counts = Counts()
    duration: str = ""
    rate: str = ""
    queue_position: int | None = None
    estimated_start_time: Time | None = None
    estimated_completion_time: Time | None = None
    start_time: Time | None = None
    completion_time: Time | None = None
    failed_items: Annotated[str, Meta(description="Positions of failed items, as ranges such as 17,301-303.")] = ""
    last_errors: list[dict[str, Any]] = []
    usage: dict[str, int] = {}
    conditions: list[dict[str, Any]] = []
    results: dict[str, Any] | None = None
    effective: dict[str, Any] | None = None
    data: Annotated[dict[str, Any], Meta(description="Its spec.")] = {}
    returnvalue: ReturnValue | None = None
    links: Links = {}

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or was cancelled."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state == "succeeded"


class FoundJob(Answer, frozen=True):
    """A BatchJob in a list."""

    id: str
    name: str
    namespace: str
    type: str
    state: State
    queue: str | None = None
    owner: str | None = None
    labels: dict[str, str] = {}
    reason: str | None = None
    created: Seconds | None = None
    started: Seconds | None = None
    ended: Seconds | None = None
    counts: Counts = Counts()
    links: Links = {}


class JobItem(Answer, frozen=True):
    """An item that was given up, or one that left a result in the store."""

    id: str
    position: Annotated[int, Meta(description="In the source, from 0.")]
    status: Annotated[str, Meta(extra_json_schema={"enum": ["failed", "succeeded"]})]
    error_class: str | None = None
    message: str | None = None
    attempts: int | None = None
    losses: int | None = None
    data: Excerpt = None
    result: Excerpt = None


class Result(Answer, frozen=True):
    """A line of results."""

    id: str
    result: Any = None


class ErrorKind(Answer, frozen=True):
    """What made items fail: by fingerprint, a class and a message."""

    fingerprint: Annotated[str, Meta(description="What messages of one cause have in common.")]
    error_class: str
    message: str
    count: int
    example_item: str


class Errors(Answer, frozen=True):
    """What made the items of a BatchJob fail; the most frequent first."""

    errors: list[ErrorKind]
    success: bool = True
    items_read: int = 0
    complete: Annotated[bool, Meta(description="False: there are more failed items than were read.")] = True


class Queue(Answer, frozen=True):
    """A queue."""

    name: str
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class Schedule(Answer, frozen=True):
    """A schedule."""

    id: str
    name: str
    namespace: str
    schedules: list[str]
    type: str
    owner: str | None = None
    time_zone: str = "UTC"
    suspend: bool = False
    status: dict[str, Any] = {}


class JobAnswer(Answer, frozen=True):
    """One BatchJob."""

    job: Job
    success: bool = True


class JobPage(Answer, frozen=True):
    """A page of BatchJobs."""

    jobs: list[FoundJob]
    success: bool = True
    next: Annotated[str | None, Meta(description="The cursor of the next page.")] = None


class ItemPage(Answer, frozen=True):
    """A page of items."""

    items: list[JobItem]
    success: bool = True
    next: Annotated[int | None, Meta(description="The cursor of the next page.")] = None


class QueueAnswer(Answer, frozen=True):
    """One queue."""

    queue: Queue
    success: bool = True


class QueuesAnswer(Answer, frozen=True):
    """All queues."""

    queues: list[Queue]
    success: bool = True


class ScheduleAnswer(Answer, frozen=True):
    """One schedule."""

    schedule: Schedule
    success: bool = True


class SchedulesAnswer(Answer, frozen=True):
    """Schedules."""

    schedules: list[Schedule]
    success: bool = True


class AuditRecord(Answer, frozen=True):
    """What somebody did, or was refused; null: not known."""

    time: Time
    verb: str
    outcome: Annotated[str, Meta(extra_json_schema={"enum": ["done", "refused", "failed"]})]
    id: str
    user: str | None = None
    kind: str | None = None
    object: str | None = None
    owner: Annotated[str | None, Meta(description="Of the object.")] = None
    made: Annotated[str | None, Meta(description="What was created by it, where that is another object.")] = None
    code: Annotated[int | None, Meta(description="The status of the answer.")] = None
    address: Annotated[str | None, Meta(description="Where the request came from.")] = None
    via: Annotated[str | None, Meta(description="api or ui.")] = None
    request: Annotated[str | None, Meta(description="The id of the request, as the log has it.")] = None


class AuditTrail(Answer, frozen=True):
    """What was done, newest first."""

    entries: list[AuditRecord]
    next: str | None = None
    success: bool = True


class SeedJob(Answer, frozen=True):
    """A BatchJob in the words of the earlier queue."""

    id: str
    state: Annotated[str, Meta(extra_json_schema={"enum": ["waiting", "active", "paused", "completed", "failed"]})]
    progress: float
    data: dict[str, Any]
    returnvalue: ReturnValue | None = None


class SeedAnswer(Answer, frozen=True):
    """One of them."""

    job: SeedJob
    success: bool = True
