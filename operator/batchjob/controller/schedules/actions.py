"""What a plan says about a BatchSchedule, as values. Each action can be done twice: the second changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchjob.controller.actions import Note


@dataclass(frozen=True)
class MakeCronJob:
    """Create a CronJob; one of that name that is ours becomes like it."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class ChangeCronJob:
    """Write what differs; `version` is the one that was looked at."""

    name: str
    change: dict[str, Any]
    version: str


@dataclass(frozen=True)
class DeleteCronJob:
    """Delete a CronJob and, by Kubernetes, its Jobs and their BatchJobs."""

    name: str
    uid: str


@dataclass(frozen=True)
class MakeJob:
    """Create a Job for a time that was missed; one of that name counts as created."""

    manifest: dict[str, Any]
    cron_job: str
    at: datetime


@dataclass(frozen=True)
class MakeRun:
    """Create the BatchJob of a Job; one of that name that is of this schedule counts as created."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class TellJob:
    """Write a Job's status; `version` is the one that was looked at."""

    name: str
    status: dict[str, Any]
    version: str


@dataclass(frozen=True)
class Tell:
    """Post an Event about the BatchSchedule."""

    note: Note


ScheduleAction = Tell | MakeCronJob | ChangeCronJob | DeleteCronJob | MakeJob | MakeRun | TellJob


@dataclass(frozen=True)
class Step:
    """Actions of which each needs the one before it."""

    actions: tuple[ScheduleAction, ...]
