"""The kinds of the API: their names, and what kubectl shows of them."""

from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from batchjob.api.base import GROUP
from batchjob.api.queue import QUEUE_KIND, QUEUE_PLURAL, BatchQueue
from batchjob.api.schedule import SCHEDULE_KIND, SCHEDULE_PLURAL, BatchSchedule
from batchjob.api.v1alpha1 import KIND, PLURAL, BatchJob


class Column(NamedTuple):
    """A column of `kubectl get`; priority 1 shows with `-o wide` only."""

    header: str
    path: str
    description: str
    priority: int = 0
    type: str = "string"


class Kind(NamedTuple):
    """A kind. `model` has the fields spec and status, and the rules over them."""

    model: type[BaseModel]
    kind: str
    plural: str
    short_name: str
    scope: str  # Namespaced or Cluster
    description: str
    columns: tuple[Column, ...]  # the age comes after those of priority 0
    selectable: tuple[str, ...] = ()  # JSON paths for field selectors
    scale: dict[str, Any] | None = None  # the subresource

    @property
    def name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


BATCH_JOB: Final = Kind(
    model=BatchJob,
    kind=KIND,
    plural=PLURAL,
    short_name="bj",
    scope="Namespaced",
    description="A batch of items. Pods work on the items; each item is tried, retried and counted on its own.",
    columns=(
        Column("Type", ".spec.type", "What the BatchJob does with its items."),
        Column("Phase", ".status.phase", "Summary of the conditions."),
        Column("Progress", ".status.progress", "Finished items of all."),
        Column("Failed", ".status.counts.failed", "Items given up.", type="integer"),
        Column("Duration", ".status.duration", "Time since the start, until the end."),
        Column("Queue", ".status.effective.queue", "The queue in which it waits.", 1),
        Column("Owner", ".spec.owner", "The user it belongs to.", 1),
        Column("Percent", ".status.percent", "Finished items in percent.", 1),
        Column("Rate", ".status.rate", "Items finished a second, lately.", 1),
        Column("ETA", ".status.estimatedCompletionTime", "When it would end at that rate.", 1),
        Column(
            "Reason",
            '.status.conditions[?(@.status=="True")].reason',
            "Reason of the first condition that holds.",
            1,
        ),
    ),
    selectable=(".spec.type", ".spec.queueName", ".spec.owner", ".status.phase"),
    scale={
        "specReplicasPath": ".spec.parallelism",
        "statusReplicasPath": ".status.activeWorkers",
        "labelSelectorPath": ".status.selector",
    },
)
BATCH_QUEUE: Final = Kind(
    model=BatchQueue,
    kind=QUEUE_KIND,
    plural=QUEUE_PLURAL,
    short_name="bq",
    scope="Cluster",
    description="Where BatchJobs wait for their turn. Each type has a queue of its name without any object.",
    columns=(
        Column("Waiting", ".status.waiting", "BatchJobs that wait.", type="integer"),
        Column("Active", ".status.active", "BatchJobs that run.", type="integer"),
        Column("Workers", ".status.workers", "Worker pods of those that run.", type="integer"),
        Column("Delayed", ".status.delayed", "BatchJobs that wait for their time.", type="integer"),
        Column("Failed", ".status.failed", "BatchJobs that ended as Failed.", type="integer"),
        Column("Rate", ".status.throughput", "Items finished a second, lately."),
        Column("Paused", ".spec.paused", "Whether nothing starts.", type="boolean"),
    ),
)
BATCH_SCHEDULE: Final = Kind(
    model=BatchSchedule,
    kind=SCHEDULE_KIND,
    plural=SCHEDULE_PLURAL,
    short_name="bsched",
    scope="Namespaced",
    description="BatchJobs at the times of cron strings. Kubernetes' CronJobs keep the time.",
    columns=(
        Column("Schedule", ".spec.schedules", "When it runs."),
        Column("Suspend", ".spec.suspend", "Whether no new runs are made.", type="boolean"),
        Column("Active", ".status.activeRuns", "Runs that have not ended.", type="integer"),
        Column("Last", ".status.lastScheduleTime", "Time since the newest run was due.", type="date"),
        Column("Next", ".status.nextScheduleTime", "When the next run is due."),
        Column("Zone", ".spec.timeZone", "The time zone of the cron strings.", 1),
        Column("Policy", ".spec.concurrencyPolicy", "What a new run does while an earlier one has not ended.", 1),
        Column(
            "Reason",
            '.status.conditions[?(@.status=="True")].reason',
            "Reason of the first condition that holds.",
            1,
        ),
    ),
)
KINDS: Final = (BATCH_JOB, BATCH_QUEUE, BATCH_SCHEDULE)
