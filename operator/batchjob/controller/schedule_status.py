"""The status of a BatchSchedule from what was observed and what was done. Pure."""

from collections.abc import Iterable
from datetime import datetime

from batchjob.api.schedule import (
    MAX_SHOWN,
    BatchScheduleStatus,
    CronJobStatus,
    ScheduleConditionType,
)
from batchjob.api.status import Condition
from batchjob.controller.observed import Trouble
from batchjob.controller.schedule_manifests import cron_job_name
from batchjob.controller.schedule_observed import SeenSchedule
from batchjob.controller.schedule_plan import SchedulePlan
from batchjob.controller.status import MESSAGE_LIMIT, clip, format_time
from batchjob.core.reasons import Reason

SUSPENDED = "spec.suspend is true. Set it to false to go on: the last run that was missed is made at once."


def build_schedule_status(seen: SeenSchedule, plan: SchedulePlan, trouble: Trouble | None) -> BatchScheduleStatus:
    """The status to write. `trouble`: what kept the plan, or a part of it, from being carried out."""
    schedule = seen.schedule
    old = schedule.status or BatchScheduleStatus()
    newest = [one.last for one in seen.cron_jobs] + [None if job.by_hand else job.at for job in seen.jobs]
    return BatchScheduleStatus(
        observed_generation=schedule.metadata.generation,
        last_schedule_time=_latest(old.last_schedule_time, newest),
        next_schedule_time=format_time(plan.next_time) if plan.next_time else None,
        last_successful_time=_latest(old.last_successful_time, (one.succeeded for one in seen.cron_jobs)),
        active_runs=len(plan.active),
        active=list(plan.active[:MAX_SHOWN]),
        # Where something went wrong, what was missed is looked at again.
        cron_jobs=old.cron_jobs if trouble or plan.settled is None else _cron_jobs(seen, plan.settled),
        conditions=_conditions(old, schedule.metadata.generation, seen.now, trouble, suspend=schedule.spec.suspend),
    )


def build_unreadable_status(
    old: BatchScheduleStatus, generation: int, now: datetime, message: str
) -> BatchScheduleStatus:
    """The status of an object that cannot be read as a BatchSchedule."""
    conditions = _conditions(old, generation, now, Trouble(Reason.INVALID_SPEC, message), suspend=False)
    return old.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _cron_jobs(seen: SeenSchedule, settled: dict[str, datetime]) -> list[CronJobStatus]:
    spec = seen.schedule.spec
    named = {cron_job_name(seen.schedule.metadata.name, text, spec.time_zone): text for text in spec.schedules}
    return [
        CronJobStatus(name=name, schedule=text, settled_until=format_time(settled[name]))
        for name, text in named.items()
    ]


def _latest(old: str | None, times: Iterable[datetime | None]) -> str | None:
    """The latest of these times and of what was known: the object that said so may be gone."""
    known = [*(time for time in times if time is not None), *([datetime.fromisoformat(old)] if old else [])]
    return format_time(max(known)) if known else None


def _conditions(
    old: BatchScheduleStatus, generation: int, now: datetime, trouble: Trouble | None, *, suspend: bool
) -> list[Condition]:
    reason = trouble.reason if trouble else Reason.SUSPENDED_BY_USER if suspend else Reason.SCHEDULED
    holds = {
        ScheduleConditionType.STALLED: trouble.message if trouble else None,
        ScheduleConditionType.SUSPENDED: SUSPENDED if suspend else None,
    }
    found = []
    for kind in ScheduleConditionType:
        message = holds.get(kind)
        status = "False" if message is None else "True"
        before = old.condition(kind)
        found.append(
            Condition(
                type=kind,
                status=status,
                reason=Reason.SUSPENDED_BY_USER if kind is ScheduleConditionType.SUSPENDED and suspend else reason,
                message=clip(message or "", MESSAGE_LIMIT),
                last_transition_time=before.last_transition_time
                if before and before.status == status
                else format_time(now),
                observed_generation=generation,
            )
        )
    return found
