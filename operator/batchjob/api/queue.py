"""The kind BatchQueue: where BatchJobs wait, how many run at once, and what they may ask for.

Every job type has a queue of its own name without any object; an object of that name overrides it. All fields are
optional: what is absent is not limited, and defaults are those of the job's type.
"""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from batchjob.api.base import VALIDATIONS, Model, Name, Timestamp, cel
from batchjob.api.reading import parse_object
from batchjob.api.retry import Retry
from batchjob.api.status import Count, ObservedGeneration

QUEUE_KIND: Final = "BatchQueue"
QUEUE_PLURAL: Final = "batchqueues"

Limit = Annotated[int, Field(ge=1, le=1_000_000)]
Owner = Annotated[str, Field(min_length=1, max_length=253)]


class Weight(Model):
    """The share of one owner."""

    owner: Owner = Field(description="As in spec.owner of BatchJobs.")
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="BatchJobs of this owner that start for each of an owner with weight 1."
    )


class FairShare(Model):
    """How owners share a queue where more BatchJobs wait than may run."""

    weights: Annotated[list[Weight], Field(max_length=256)] = Field(
        default_factory=list,
        description="Owners with another weight than 1.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["owner"]},
    )


class RateLimit(Model):
    """How fast the BatchJobs of a queue go together."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "has(self.requests) || has(self.tokens)",
                    "each of spec.rateLimits needs requests, tokens or both: without them it limits nothing",
                )
            ]
        }
    )

    key: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Names the limit, such as a-minute. What was used is remembered under this name."
    )
    requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Attempts of items that may start in perSeconds."
    )
    tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None,
        description="Tokens of models that may be used in perSeconds (promptTokens and completionTokens of "
        "status.usage). An attempt's tokens are known when it ends: until then the average of its worker counts.",
    )
    per_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(60, description="The time that the limit is for.")


class QueueDefaults(Model):
    """What a BatchJob of this queue gets where it says nothing; else the defaults of its type hold."""

    priority: Annotated[int, Field(ge=1, le=10)] | None = Field(None, description="1 is most urgent.")
    retry: Retry | None = Field(None, description="As spec.retry of a BatchJob.")
    item_timeout_seconds: Annotated[int, Field(ge=1, le=86400)] | None = Field(
        None, description="As spec.itemTimeoutSeconds of a BatchJob."
    )


class QueueLimits(Model):
    """What a BatchJob of this queue may ask for; more is reason LimitExceeded."""

    max_items: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(None, description="Items of a source.")
    max_payload_bytes: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        None, description="Bytes of a source, as read and unpacked."
    )
    max_parallelism: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="spec.parallelism.")
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description="spec.retry.maxAttempts.")
    min_priority: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None,
        description="The most urgent spec.priority; what holds by default counts too.",
    )
    max_active_jobs_per_owner: Limit | None = Field(
        None, description="BatchJobs of one owner that run at once; the others wait with reason OwnerLimit."
    )


class Kueue(Model):
    """Kueue decides when a BatchJob's pods may start."""

    queue_name: Name = Field(description="The LocalQueue, in the namespace of the BatchJob.")


class QueueRetention(Model):
    """What of its BatchJobs is kept."""

    keep_completed: Annotated[int, Field(ge=0, le=100_000)] = Field(
        1000,
        description="Of the BatchJobs that are Complete, so many keep pods, items and results until their "
        "spec.retention is over. Of more, the oldest of the namespace that has most (in it, of the owner who has most) "
        "lose them at once.",
    )


class BatchQueueSpec(Model):
    """Limits, shares and defaults. What is absent is not limited."""

    paused: bool = Field(False, description="true: nothing of this queue starts; what runs goes on.")
    max_active_jobs: Limit | None = Field(None, description="BatchJobs that run at once; the others wait.")
    max_workers: Limit | None = Field(
        None, description="Worker pods of all its BatchJobs together; one that finds none left waits."
    )
    rate_limits: Annotated[list[RateLimit], Field(max_length=8)] = Field(
        default_factory=list,
        description="How fast all its BatchJobs go together, on top of what each says of itself. All of them hold.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
    )
    fair_share: FairShare = Field(
        default_factory=FairShare,
        description="Of equal priority, owners take turns; an owner's own BatchJobs go by age.",
    )
    defaults: QueueDefaults = Field(default_factory=QueueDefaults, description="Where a BatchJob says nothing.")
    limits: QueueLimits = Field(default_factory=QueueLimits, description="What a BatchJob may ask for.")
    retention: QueueRetention = Field(default_factory=QueueRetention, description="What of its BatchJobs is kept.")
    allowed_namespaces: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=1000)] = (
        Field(
            default_factory=list,
            description="Namespaces whose BatchJobs may use this queue. Default: all.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        )
    )
    kueue: Kueue | None = Field(None, description="Kueue admits the pods; suspend and parallelism are left to it.")


class BatchQueueStatus(Model):
    """What is in the queue, as the operator last saw it: BatchJobs, not items."""

    observed_generation: ObservedGeneration = 0
    waiting: Count = Field(0, description="BatchJobs that wait for this queue.")
    active: Count = Field(0, description="BatchJobs that it let start and that have not ended.")
    delayed: Count = Field(0, description="BatchJobs that wait for their time, or for another BatchJob.")
    failed: Count = Field(0, description="BatchJobs that ended as Failed and are still there.")
    workers: Count = Field(0, description="Worker pods that its BatchJobs may have.")
    throughput: Annotated[str, Field(max_length=16)] = Field("", description="Items finished a second, lately.")
    oldest_waiting_since: Timestamp | None = Field(None, description="When the oldest of those that wait was created.")


class QueueMeta(Model):
    """The part of Kubernetes' metadata that we read."""

    name: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""


class BatchQueue(Model):
    """A BatchQueue as the API server hands it out."""

    metadata: QueueMeta
    spec: BatchQueueSpec = Field(default_factory=BatchQueueSpec, description="Limits, shares and defaults.")
    status: BatchQueueStatus | None = Field(None, description="What is in the queue, as the operator last saw it.")

    @classmethod
    def parse(cls, body: Any) -> "BatchQueue":
        """Read an object of the API server's, its status as far as it can be; raises ValidationError for its spec."""
        return parse_object(cls, BatchQueueStatus, body)
