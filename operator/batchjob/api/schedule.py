"""The kind BatchSchedule: BatchJobs from a template, at the times of cron strings.

What the fields mean is what they mean in Kubernetes' CronJob, which keeps the time: each cron string becomes a CronJob.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, JsonValue

from batchjob.api.base import VALIDATIONS, Model, Name, Timestamp, cel
from batchjob.api.reading import parse_object
from batchjob.api.status import Condition, Count, ObservedGeneration
from batchjob.api.v1alpha1 import BatchJobSpec, ObjectMeta

SCHEDULE_KIND: Final = "BatchSchedule"
SCHEDULE_PLURAL: Final = "batchschedules"

# "-" + 12 digits of a time must fit into a BatchJob's 52, "-" + a hash and "-" + 8 digits of a time into a Job's.
MAX_SCHEDULE_NAME: Final = 35
MAX_SCHEDULES: Final = 10
MAX_SHOWN: Final = 50  # names in status.active
MAX_CAUGHT_UP: Final = 100  # spec.catchUp.maxRuns

# Marks a schema node that is the template of another object: its fields may change although that object's may not.
TEMPLATE: Final = "x-batchjob-template"


class ConcurrencyPolicy(StrEnum):
    """What a new run does while an earlier one of its schedule has not ended."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"
    QUEUE = "Queue"


def _cron_pattern() -> str:
    """The cron strings that Kubernetes and we read alike, in RE2: no TZ=, no @every, no star in a list."""
    months = "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    weekdays = "(?i:sun|mon|tue|wed|thu|fri|sat)"
    numbers = (
        "[0-5]?[0-9]",
        "(?:[01]?[0-9]|2[0-3])",
        "(?:0?[1-9]|[12][0-9]|3[01])",
        f"(?:0?[1-9]|1[0-2]|{months})",
        f"(?:[0-6]|{weekdays})",
    )
    step = "/[1-9][0-9]?"
    ranges = [f"{number}(?:-{number}(?:{step})?)?" for number in numbers]
    fields = [f"(?:[*](?:{step})?|{one}(?:,{one})*)" for one in ranges]
    return f"^(?:@(?:hourly|daily|midnight|weekly|monthly|yearly|annually)|{' +'.join(fields)})$"


def _bounded(rule: str, message: str) -> dict[str, JsonValue]:
    return {VALIDATIONS: [cel(rule, message)]}


CronText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        json_schema_extra=_bounded(
            f"self.matches(r'{_cron_pattern()}')",
            "each of spec.schedules is a cron string of five fields (minute, hour, day, month, weekday from 0 for "
            "Sunday to 6), such as '0 9 * * 1', or one of @hourly, @daily, @weekly, @monthly, @yearly; the time zone "
            "has a field of its own, spec.timeZone",
        ),
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Annotation = Annotated[str, Field(max_length=4096)]


class CatchUp(Model):
    """Runs that were missed, made later."""

    max_runs: Annotated[int, Field(ge=1, le=MAX_CAUGHT_UP)] = Field(
        description="Of each cron string, at most so many of the runs that were missed are made, oldest first. The "
        "last one that was missed does not count: Kubernetes makes it by itself."
    )


class TemplateMetadata(Model):
    """What the metadata of the BatchJobs begin with."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = Field(None, description="Labels.")
    annotations: Annotated[dict[str, Annotation], Field(max_length=32)] | None = Field(None, description="Annotations.")


class JobTemplate(Model):
    """What each run is made from."""

    metadata: TemplateMetadata | None = Field(None, description="Labels and annotations of the BatchJobs.")
    spec: BatchJobSpec = Field(
        description="The spec of the BatchJobs. May change: later runs are made from what it says then.",
        json_schema_extra={TEMPLATE: True},
    )


class BatchScheduleSpec(Model):
    """When to run what."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    "!has(self.catchUp) || self.concurrencyPolicy in ['Allow', 'Queue']",
                    "spec.catchUp goes with spec.concurrencyPolicy Allow or Queue: Forbid and Replace drop runs on "
                    "purpose",
                    field=".catchUp",
                ),
                cel(
                    "!has(self.jobTemplate.spec.owner)",
                    "spec.jobTemplate.spec.owner is not for schedules: runs belong to spec.owner",
                    field=".jobTemplate.spec.owner",
                ),
                cel(
                    "has(self.owner) == has(oldSelf.owner)",
                    "spec.owner is immutable. Delete the BatchSchedule, or create one with another name.",
                    field=".owner",
                ),
            ]
        }
    )

    owner: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        None,
        description="The user it belongs to, and the BatchJobs it makes. Filled in and checked as spec.owner of a "
        "BatchJob.",
        json_schema_extra=_bounded(
            "self == oldSelf", "spec.owner is immutable. Delete the BatchSchedule, or create one with another name."
        ),
    )
    schedules: Annotated[list[CronText], Field(min_length=1, max_length=MAX_SCHEDULES)] = Field(
        description="When to run, as cron strings such as '0 9 * * 1' (Monday at 9). A minute that several name is one "
        "run.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[-A-Za-z0-9_.+]+(/[-A-Za-z0-9_.+]+)*$")] = (
        Field(
            "UTC",
            description="The time zone of the cron strings, by its name in the IANA list, such as Europe/Berlin. A "
            "time that its clock skips in spring is skipped, one that it shows twice in autumn runs twice.",
        )
    )
    suspend: bool = Field(
        False, description="true: no new runs; those that have begun go on. false: the last one missed is made at once."
    )
    concurrency_policy: ConcurrencyPolicy = Field(
        ConcurrencyPolicy.ALLOW,
        description="What a new run does while an earlier one has not ended. Allow: both run. Forbid: the new one is "
        "left out. Replace: the earlier one is deleted. Queue: the new one waits, reason PreviousRunActive. Forbid and "
        "Replace look at runs of the same cron string, Queue at those of the whole BatchSchedule.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_622_400)] | None = Field(
        None, description="A run that could not be made in time is made so many seconds later at most. Default: ever."
    )
    catch_up: CatchUp | None = Field(
        None,
        description="Make up for runs that were missed while Kubernetes' controllers were down, besides the last one. "
        "Default: the last one alone. What falls into spec.suspend is not missed.",
    )
    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        3, description="Complete BatchJobs to keep for each cron string; older ones are deleted."
    )
    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        1, description="Failed BatchJobs to keep for each cron string; older ones are deleted."
    )
    job_template: JobTemplate = Field(description="What to run.")


class ScheduleConditionType(StrEnum):
    """The conditions of a BatchSchedule; Reconciling and Stalled as kstatus reads them."""

    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SUSPENDED = "Suspended"


class CronJobStatus(Model):
    """The CronJob of one cron string."""

    name: Annotated[str, Field(max_length=52)] = Field(description="Its name; for kubectl create job --from=cronjob/….")
    schedule: Annotated[str, Field(max_length=100)] = Field(description="Its cron string.")
    settled_until: Timestamp = Field(
        description="Every time until then was run, made up for or given up, but for those that are owed."
    )
    owed: Annotated[list[Timestamp], Field(max_length=MAX_CAUGHT_UP)] = Field(
        default_factory=list,
        description="Times that were missed and are still to be made up for: their Jobs could not be made yet.",
    )


class BatchScheduleStatus(Model):
    """What became of a BatchSchedule, as the operator last saw it."""

    observed_generation: ObservedGeneration = 0
    last_schedule_time: Timestamp | None = Field(None, description="The time of the newest run.")
    next_schedule_time: Timestamp | None = Field(None, description="The time of the next run.")
    last_successful_time: Timestamp | None = Field(None, description="When a run was last Complete.")
    active_runs: Count = Field(0, description="Runs that have not ended.")
    active: Annotated[list[Name], Field(max_length=MAX_SHOWN)] = Field(
        default_factory=list, description="Their BatchJobs, oldest first; the first 50."
    )
    cron_jobs: Annotated[list[CronJobStatus], Field(max_length=MAX_SCHEDULES)] = Field(
        default_factory=list, description="The CronJobs that keep the time."
    )
    conditions: Annotated[list[Condition], Field(max_length=4)] = Field(
        default_factory=list,
        description="Reconciling, Stalled, Suspended.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )

    def condition(self, kind: ScheduleConditionType) -> Condition | None:
        """The condition of that type, if present."""
        return next((c for c in self.conditions if c.type == kind), None)


class BatchSchedule(Model):
    """A BatchSchedule as the API server hands it out."""

    model_config = ConfigDict(
        json_schema_extra={
            VALIDATIONS: [
                cel(
                    f"size(self.metadata.name) <= {MAX_SCHEDULE_NAME}",
                    f"metadata.name must be at most {MAX_SCHEDULE_NAME} characters: "
                    "BatchJobs are named after it, with their time. Choose a shorter one.",
                ),
                cel(
                    "!self.metadata.name.contains('.')",
                    "metadata.name must not contain a dot: BatchJobs are named after it. Use a dash.",
                ),
            ]
        }
    )

    metadata: ObjectMeta
    spec: BatchScheduleSpec = Field(description="When to run what.")
    status: BatchScheduleStatus | None = Field(None, description="What became of it, as the operator last saw it.")

    @classmethod
    def parse(cls, body: Any) -> "BatchSchedule":
        """Read an object of the API server's, its status as far as it can be; raises ValidationError for its spec."""
        return parse_object(cls, BatchScheduleStatus, body)
