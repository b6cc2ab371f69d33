"""The status of a BatchJob: a printed summary (phase, progress, duration), exact counts, and conditions.

Strings that are printed (`progress`, `duration`, `rate`) are strings on purpose: a date column of kubectl would keep
growing after the end.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from batchjob.api.base import Model, Timestamp
from batchjob.api.notifications import MAX_NOTIFICATIONS, Notification

Text = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0)]
ObservedGeneration = Annotated[
    int,
    Field(ge=-1, description="metadata.generation this status was computed from; -1: the operator has yet to see it."),
]


class Phase(StrEnum):
    """One word for people; the conditions are the truth (`core.phases` has the table)."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FINALIZING = "Finalizing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class ConditionType(StrEnum):
    """The conditions of a BatchJob; Reconciling and Stalled as kstatus reads them."""

    QUEUED = "Queued"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Condition(Model):
    """Exactly metav1.Condition."""

    type: Annotated[str, Field(max_length=64)] = Field(description="Name of the condition.")
    status: Annotated[str, Field(pattern=r"^(True|False|Unknown)$", max_length=7)] = Field(
        description="True, False or Unknown."
    )
    reason: Annotated[str, Field(max_length=64)] = Field(description="Why, as one CamelCase word.")
    message: Annotated[str, Field(max_length=2048)] = Field("", description="Why, as a sentence, and what to do.")
    last_transition_time: Timestamp = Field(description="When the status last changed.")
    observed_generation: Count = Field(0, description="metadata.generation this was computed from.")


class ErrorClass(StrEnum):
    """Why an attempt failed: users filter and alert by it."""

    TIMEOUT = "timeout"
    RATE_LIMITED = "rate-limited"
    INVALID_INPUT = "invalid-input"
    UPSTREAM = "upstream"
    INFRASTRUCTURE = "infrastructure"
    PERMISSION = "permission"
    REFUSED = "refused"
    INVALID_ANSWER = "invalid-answer"
    CONTENT_FILTER = "content-filter"
    INTERNAL = "internal"  # an exception of the processor's that says nothing more


class Counts(Model):
    """Items by state; waiting + delayed + active + succeeded + failed + cancelled = total once it is loaded."""

    total: Count = Field(0, description="Items in the run; 0 until the source is loaded.")
    waiting: Count = Field(0, description="Items that wait for a worker.")
    delayed: Count = Field(0, description="Items that wait for their next attempt.")
    active: Count = Field(
        0,
        description="Items leased to a worker, which may hold more than it processes; after a pause, "
        "until they are given back.",
    )
    succeeded: Count = Field(0, description="Items done.")
    failed: Count = Field(0, description="Items given up (dead-lettered).")
    cancelled: Count = Field(0, description="Items not done because the run was cancelled.")
    retried_after_loss: Count = Field(
        0, description="Times an item may have run again because its worker or the store was lost."
    )


class ItemError(Model):
    """One of the last errors."""

    item_id: Annotated[str, Field(max_length=128)] = Field(description="Name of the item.")
    error_class: Annotated[str, Field(max_length=64)] = Field(
        description="timeout, rate-limited, invalid-input, upstream, infrastructure, permission, refused, "
        "invalid-answer, content-filter or internal."
    )
    message: Text = Field(description="What the processor said.")


class JobReference(Model):
    """A child Job."""

    name: Annotated[str, Field(max_length=253)] = Field(description="Name of the Job.")
    uid: Annotated[str, Field(max_length=64)] = Field(description="UID of the Job.")


class ResultsStatus(Model):
    """Where the results are."""

    uri: Annotated[str, Field(max_length=2304)] | None = Field(None, description="Manifest of the written files.")
    manifest_sha256: Annotated[str, Field(max_length=64)] | None = Field(None, description="SHA-256 of the manifest.")
    missing: Count | None = Field(
        None,
        description="Types email and custom, after the store was lost: items that are done and did not run again, and "
        "whose results, if they had any, were lost with it. The manifest names them.",
    )
    expires_at: Timestamp | None = Field(
        None,
        description="When results that went to no destination, dead letters, Jobs and pods are removed "
        "(spec.retention); once it is past, they are gone.",
    )


class SourceStatus(Model):
    """What was loaded."""

    sha256: Annotated[str, Field(max_length=64)] | None = Field(None, description="SHA-256 of the source's bytes.")
    etag: Text | None = Field(None, description="ETag of the source, where it has one.")
    bad_items: Count | None = Field(
        None,
        description="Records that were left out: bad ones (source.onBadItem: skip), or results of the BatchJob of "
        "source.resultsOf that a store lost. They are not in counts.total.",
    )
    bad_item_messages: Annotated[list[Text], Field(max_length=10)] | None = Field(
        None, description="Line and fault of the first of them, or which results are lost."
    )


class Origin(StrEnum):
    """Where a value in force came from."""

    SPEC = "spec"  # the BatchJob says so
    QUEUE = "queue"  # the BatchQueue, spec.defaults
    TYPE = "type"  # the default of its type


class EffectiveRetry(Model):
    """How often an item is tried, and when."""

    max_attempts: Count = Field(description="Attempts of an item.")
    backoff_strategy: Annotated[str, Field(max_length=16)] = Field(description="exponential or fixed.")
    initial_delay_seconds: Count = Field(description="Wait before the second attempt.")
    max_delay_seconds: Count = Field(description="Longest wait.")
    jitter_percent: Count = Field(description="Random part of the wait.")
    origins: Annotated[dict[Annotated[str, Field(max_length=64)], Origin], Field(max_length=16)] = Field(
        default_factory=dict,
        description="Where each of these values came from: spec (of the BatchJob), queue (spec.defaults of the "
        "BatchQueue) or type (its default).",
    )


class EffectiveClassRetry(EffectiveRetry):
    """The same, after errors of one class."""

    error_class: ErrorClass = Field(description="Which errors.")


class Effective(EffectiveRetry):
    """The values in force after defaults: the BatchJob's own, else its queue's, else its type's."""

    queue: Annotated[str, Field(max_length=253)] = Field("", description="The queue in which it waits.")
    owner: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Whose turn it takes in its queue; where nobody is named, its namespace has turns of its own."
    )
    priority: Count = Field(0, description="1 is most urgent.")
    max_losses: Count = Field(description="Losses of an item.")
    item_timeout_seconds: Count = Field(description="Longest time for one attempt.")
    per_error_class: Annotated[list[EffectiveClassRetry], Field(max_length=len(ErrorClass))] | None = Field(
        None,
        description="The values in force after errors of a class that spec.retry.perErrorClass names.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["errorClass"]},
    )

    def after(self, error_class: ErrorClass) -> EffectiveRetry:
        """The values in force after an error of that class."""
        return next((own for own in self.per_error_class or () if own.error_class is error_class), self)


class BatchJobStatus(Model):
    """What became of a BatchJob, as the operator last saw it."""

    observed_generation: ObservedGeneration = 0
    phase: Phase = Field(Phase.PENDING, description="Summary of the conditions in one word.")
    progress: Annotated[str, Field(max_length=32)] = Field(
        "",
        description="Finished items of all, such as 1200/1500; 0/? until the source is loaded. Items that "
        "are cancelled with their run are not finished.",
    )
    percent: Annotated[str, Field(max_length=8)] = Field(
        "", description="Finished items in percent, with what their processor says is done of those in hand."
    )
    duration: Annotated[str, Field(max_length=16)] = Field(
        "", description="Time since the start, pauses included, as last told."
    )
    rate: Annotated[str, Field(max_length=16)] = Field("", description="Items finished a second, lately.")
    queue_position: Count | None = Field(None, description="While it waits for its queue: its place in line, from 1.")
    estimated_start_time: Timestamp | None = Field(
        None,
        description="When it would start, as its queue let others start in the hour before this was written.",
    )
    estimated_completion_time: Timestamp | None = Field(
        None, description="When it would end at the rate of late; absent where nothing moves."
    )
    counts: Counts = Field(default_factory=Counts, description="Items by state.")
    failed_items: Annotated[str, Field(max_length=1024)] = Field(
        "", description="Positions of failed items in the source from 0, as ranges such as 17,301-303."
    )
    last_errors: Annotated[list[ItemError], Field(max_length=10)] = Field(
        default_factory=list, description="The last errors that ended an item."
    )
    usage: Annotated[dict[Annotated[str, Field(max_length=64)], int], Field(max_length=16)] = Field(
        default_factory=dict,
        description="What the run used: promptTokens, completionTokens, emailsSent, rowsExported, bytesWritten; with "
        "model.prices its cost, in millionths of the currency, such as costMicroUSD.",
    )
    start_time: Timestamp | None = Field(None, description="When the first pod could run.")
    completion_time: Timestamp | None = Field(None, description="When it ended.")
    active_seconds: Count = Field(
        0,
        description="Time that counts towards spec.activeDeadlineSeconds, up to the last pause or the end: all of it "
        "since startTime but where it was Suspended, or Queued again.",
    )
    jobs_created: Count = Field(0, description="Child Jobs made so far.")
    jobs: Annotated[list[JobReference], Field(max_length=4)] = Field(
        default_factory=list, description="The current child Job."
    )
    active_workers: Count = Field(0, description="Worker pods that run.")
    selector: Annotated[str, Field(max_length=128)] = Field(
        "", description="Label selector of its pods, for the scale subresource."
    )
    store_epoch: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="Names the store's memory of this run; another one means that the store was lost."
    )
    checkpoint: Annotated[str, Field(max_length=8192)] = Field(
        "",
        description="Types email and custom: positions that succeeded, as ranges such as 0-1199,1204. Should the store "
        "be lost, these are certain not to run again.",
    )
    resume_token: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="The spec.resumeToken that was acted upon, or that was there while nothing was held."
    )
    source: SourceStatus | None = Field(None, description="What was loaded.")
    effective: Effective | None = Field(None, description="The values in force after defaults.")
    results: ResultsStatus | None = Field(None, description="Where the results are.")
    notifications: Annotated[list[Notification], Field(max_length=MAX_NOTIFICATIONS)] = Field(
        default_factory=list, description="What spec.notify had told of late, oldest first, and how far that is."
    )
    conditions: Annotated[list[Condition], Field(max_length=8)] = Field(
        default_factory=list,
        description="Queued, Reconciling, Stalled, Suspended, Complete, Failed.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of that type, if present."""
        return next((c for c in self.conditions if c.type == kind), None)
