"""The kind BatchJob: spec, and the object as the API server hands it out. The status has a room of its own.

This page holds what works; `crds/` is generated from it (`batchjob.api.crd`). Rules over several fields stand as
CEL beside the class they belong to, so that `kubectl apply` refuses a bad manifest before anything runs.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, JsonValue

from batchjob.api.base import GROUP, MAX_NAME, VALIDATIONS, GivenTime, Model, Name, cel, immutable
from batchjob.api.blocks.ai_batch import AiBatch
from batchjob.api.blocks.custom import Custom
from batchjob.api.blocks.email import Email
from batchjob.api.blocks.export import Export, ExportFormat
from batchjob.api.blocks.report import Report, ReportFormat
from batchjob.api.blocks.rules import SPEC_RULES
from batchjob.api.notify import Notify
from batchjob.api.pods import Variant, Worker
from batchjob.api.policies import YEAR_SECONDS, FailurePolicy, Retention, SuccessPolicy
from batchjob.api.reading import parse_object
from batchjob.api.results import Results
from batchjob.api.retry import Retry
from batchjob.api.source import Source
from batchjob.api.status import BatchJobStatus

KIND: Final = "BatchJob"
PLURAL: Final = "batchjobs"


class JobType(StrEnum):
    """What a BatchJob does with its items."""

    AI_BATCH = "ai-batch"
    EXPORT = "export"
    EMAIL = "email"
    REPORT = "report"
    CUSTOM = "custom"


BLOCKS: Final = {
    JobType.AI_BATCH: "aiBatch",
    JobType.EXPORT: "export",
    JobType.EMAIL: "email",
    JobType.REPORT: "report",
    JobType.CUSTOM: "custom",
}  # the typed block each type needs


_OPTIONAL: Final = (
    "owner",
    "results",
    "worker",
    "retry",
    "itemTimeoutSeconds",
    "startAfter",
    "rateLimitKey",
    "queueName",
)  # immutable, absence too


def _block_rules() -> list[JsonValue]:
    return [
        cel(
            f"(self.type == '{kind}') == has(self.{block})",
            f"type {kind} needs the block spec.{block}, and no other type may have it",
            field=f".{block}",
        )
        for kind, block in BLOCKS.items()
    ]


class BatchJobSpec(Model):
    """What to run: items from a source, a typed block that says what to do with each, and limits."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                *_block_rules(),
                cel(
                    "!(oldSelf.cancel && !self.cancel)",
                    "spec.cancel goes one way: a cancelled BatchJob stays cancelled. Create another one to run again.",
                    field=".cancel",
                ),
                *SPEC_RULES,
                *(
                    cel(
                        f"has(self.{name}) == has(oldSelf.{name})",
                        f"spec.{name} is immutable. Delete the BatchJob, or create one with another name.",
                        field=f".{name}",
                    )
                    for name in _OPTIONAL
                ),
            ]
        }
    )

    type: JobType = Field(
        description="What to do: ai-batch, export, email or custom with items, or report.",
        json_schema_extra=immutable("spec.type"),
    )
    owner: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        None,
        description="The user it belongs to. Where the chart's policies.owners are on: filled in with the name of who "
        "creates it, and nobody may name, edit or delete another's without the verb impersonate-owner on batchjobs. "
        "resultsOf and redriveOf reach BatchJobs of the same owner only.",
        json_schema_extra=immutable("spec.owner"),
    )
    queue_name: Name | None = Field(
        None,
        description="The BatchQueue in which it waits. Default: the queue named like the type.",
        json_schema_extra=immutable("spec.queueName"),
    )
    priority: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None,
        description="1 is most urgent. Decides what starts next, never stops what runs; may change at any time. "
        "Default by queue, else by type: ai-batch 1, export 2, report 2, email 3, custom 5.",
    )
    suspend: bool = Field(
        False, description="true pauses: pods go, items and their attempts stay; false goes on where it was."
    )
    cancel: bool = Field(False, description="true ends the run as Cancelled. There is no way back.")
    resume_token: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="Any new text lets a run go on that is held until somebody decides: reason StoreLost, "
        "FailureThreshold or BudgetExceeded. May change at any time.",
    )
    start_after: GivenTime | None = Field(
        None,
        description="Nothing starts before this time, such as 2026-01-31T09:00:00Z. Default: at once.",
        json_schema_extra=immutable("spec.startAfter"),
    )
    source: Source = Field(
        default_factory=Source,
        description="Where the items come from: exactly one member. Every type but report needs it.",
        json_schema_extra=immutable("spec.source"),
    )
    ai_batch: AiBatch | None = Field(
        None,
        description="For type ai-batch: a model annotates each item. Of it, budget alone may change.",
    )
    export: Export | None = Field(
        None, description="For type export: items out to files.", json_schema_extra=immutable("spec.export")
    )
    email: Email | None = Field(
        None, description="For type email: one mail an item.", json_schema_extra=immutable("spec.email")
    )
    report: Report | None = Field(
        None,
        description="For type report: what became of BatchJobs, by mail and as files.",
        json_schema_extra=immutable("spec.report"),
    )
    custom: Custom | None = Field(
        None,
        description="For type custom: a processor of your own.",
        json_schema_extra=immutable("spec.custom"),
    )
    parallelism: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Worker pods (slots) that share the items. May change while it runs."
    )
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        8, description="Items in flight in one pod.", json_schema_extra=immutable("spec.concurrency")
    )
    retry: Retry | None = Field(
        None,
        description="How often an item is tried, and when. Default by type, shown in status.effective.",
        json_schema_extra=immutable("spec.retry"),
    )
    rate_limit_key: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None,
        description="BatchJobs of a namespace with the same key share one rate limit, and all wait where one is told "
        "to slow down. Default: by server and credentials.",
        json_schema_extra=immutable("spec.rateLimitKey"),
    )
    item_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        None,
        description="Longest time for one attempt of an item. Default by type: 300, export 120, email 60.",
        json_schema_extra=immutable("spec.itemTimeoutSeconds"),
    )
    results: Results | None = Field(
        None, description="Where the results go.", json_schema_extra=immutable("spec.results")
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=10 * YEAR_SECONDS)] | None = Field(
        None,
        description="Longest time for the whole run, counted from its first Running on and not while it is Suspended; "
        "then it fails, reason DeadlineExceeded, and what is left is cancelled. May change at any time. Default: none.",
    )
    failure_policy: FailurePolicy | None = Field(
        None, description="When to stop because too many items fail. May change at any time. Default: never."
    )
    success_policy: SuccessPolicy | None = Field(
        None, description="What counts as success. May change until the end. Default: that no item failed."
    )
    retention: Retention | None = Field(
        None,
        description="How long pods, Jobs, items and results in the store are kept after the end; files at a "
        "destination and the BatchJob itself stay. May change until status.results.expiresAt.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=10 * YEAR_SECONDS)] | None = Field(
        None,
        description="Delete the BatchJob itself so long after its end, with everything it left but files at a "
        "destination. Not for one that Git or another tool applies: it would be created and run again. Not before "
        "all of spec.notify were told or given up, which may take 3.5 days. May change at any time. Default: never.",
    )
    notify: Notify | None = Field(
        None, description="Who is told when it completes, fails, is suspended or cancelled. May change at any time."
    )
    worker: Worker | None = Field(
        None, description="What the worker pods look like.", json_schema_extra=immutable("spec.worker")
    )

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return self.queue_name or self.type

    @property
    def has_destination(self) -> bool:
        """Whether results leave the store."""
        return bool(self.results and self.results.destination)

    @property
    def has_ranges(self) -> bool:
        """Whether an item is a range of a query's key."""
        return bool(self.source.sql and self.source.sql.partition_by)

    @property
    def variant(self) -> Variant | None:
        """The variant of the worker image that has what it needs; None: the plain one has."""
        if self.export and self.export.format is ExportFormat.PARQUET:
            return Variant.PARQUET
        return Variant.REPORT if self.report and ReportFormat.PDF in self.report.formats else None

    @property
    def has_effects_outside(self) -> bool:
        """Whether to run an item again may do harm: then that is never decided here."""
        return self.type in {JobType.EMAIL, JobType.CUSTOM} or bool(self.report and self.report.deliver.email)


TRACEPARENT: Final = f"{GROUP}/traceparent"  # annotation: the span of the request that made the BatchJob
SCHEDULED_AT: Final = f"{GROUP}/scheduled-at"  # annotation of a BatchJob of a schedule: the time that the run is for


class ObjectMeta(Model):
    """The part of Kubernetes' metadata that we read."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, Any] | None = None


class BatchJob(Model):
    """A BatchJob as the API server hands it out."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    f"size(self.metadata.name) <= {MAX_NAME}",
                    f"metadata.name must be at most {MAX_NAME} characters: "
                    "pods are named after it. Choose a shorter one.",
                ),
                cel(
                    "!self.metadata.name.contains('.')",
                    "metadata.name must not contain a dot: pods are named after it. Use a dash.",
                ),
                *(
                    cel(
                        f"!has(self.spec.source) || !has(self.spec.source.{name}) || "
                        f"self.spec.source.{name}.batchJobName != self.metadata.name",
                        f"spec.source.{name}.batchJobName names the BatchJob itself: name another one",
                    )
                    for name in ("resultsOf", "redriveOf")
                ),
            ]
        }
    )

    metadata: ObjectMeta
    spec: BatchJobSpec = Field(description="What to run.")
    status: BatchJobStatus | None = Field(None, description="What became of it, as the operator last saw it.")

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.metadata.namespace, self.metadata.name

    @classmethod
    def parse(cls, body: Any) -> "BatchJob":
        """Read an object of the API server's, its status as far as it can be; raises ValidationError for its spec."""
        return parse_object(cls, BatchJobStatus, body)
