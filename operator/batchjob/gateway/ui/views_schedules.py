"""BatchSchedules, as they are shown. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchjob.api.schedule import BatchSchedule, BatchScheduleStatus, ScheduleConditionType
from batchjob.core.schedule_runs import SCHEDULE_LABEL
from batchjob.gateway.ui import words
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.cron_words import in_words
from batchjob.gateway.ui.views_jobs import job_path, search_path


@dataclass(frozen=True)
class ScheduleLine:
    """A BatchSchedule."""

    name: str
    namespace: str
    path: str
    runs: str  # path of the BatchJobs that it made
    owner: str
    type: str
    times: tuple[tuple[str, str], ...]  # in words, and as it is written
    zone: str
    is_suspended: bool
    trouble: str
    last: words.When | None
    following: words.When | None
    active: tuple[tuple[str, str], ...]  # name and path of its BatchJobs that have not ended
    active_runs: int


def build_schedules(schedules: Sequence[BatchSchedule], now: float) -> tuple[ScheduleLine, ...]:
    """BatchSchedules, those that run next first, and those that do not run last."""
    ordered = sorted(schedules, key=lambda one: (_next(one) or float("inf"), one.metadata.namespace, one.metadata.name))
    return tuple(_line(schedule, now) for schedule in ordered)


def _next(schedule: BatchSchedule) -> float | None:
    if schedule.spec.suspend or schedule.status is None:
        return None
    return words.parse_time(schedule.status.next_schedule_time)


def _line(schedule: BatchSchedule, now: float) -> ScheduleLine:
    metadata, spec, status = schedule.metadata, schedule.spec, schedule.status or BatchScheduleStatus()
    stalled = status.condition(ScheduleConditionType.STALLED)
    return ScheduleLine(
        name=metadata.name,
        namespace=metadata.namespace,
        path=f"{ROOT}/schedules/{metadata.namespace}/{metadata.name}",
        runs=search_path(f"label.{SCHEDULE_LABEL}:{metadata.name} namespace:{metadata.namespace}"),
        owner=spec.owner or "",
        type=spec.job_template.spec.type,
        times=tuple((in_words(cron), cron) for cron in spec.schedules),
        zone=spec.time_zone,
        is_suspended=spec.suspend,
        trouble=f"{stalled.reason}: {stalled.message}" if stalled and stalled.status == "True" else "",
        last=words.since(status.last_schedule_time, now),
        following=words.when(_next(schedule), now),
        active=tuple((name, job_path(metadata.namespace, name)) for name in status.active[:5]),
        active_runs=status.active_runs,
    )
