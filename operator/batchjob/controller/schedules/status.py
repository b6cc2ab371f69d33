"""The status of a BatchSchedule from what was observed and what was done. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime

from batchjob.api.schedule import (
    MAX_SHOWN,
    BatchScheduleStatus,
    CronJobStatus,
    ScheduleConditionType,
)
from batchjob.api.status import Condition
from batchjob.controller.observed import Trouble
from batchjob.controller.schedules.actions import MakeJob, ScheduleAction
from batchjob.controller.schedules.manifests import cron_job_name
from batchjob.controller.schedules.observed import SeenSchedule
from batchjob.controller.schedules.plan import SchedulePlan
from batchjob.controller.status import MESSAGE_LIMIT, clip, format_time, transition_time
from batchjob.core.reasons import Reason

SUSPENDED = "spec.suspend is true. Set it to false to go on: the last run that was missed is made at once."

Holds = dict[ScheduleConditionType, Trouble]  # the conditions that are True, with reason and message


def build_schedule_status(
    seen: SeenSchedule, plan: SchedulePlan, trouble: Trouble | None, undone: Collection[ScheduleAction] = ()
) -> BatchScheduleStatus:
    """The status to write. `trouble`: what kept the plan, or the actions `undone`, from being carried out."""
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
        cron_jobs=old.cron_jobs if plan.settled is None else _cron_jobs(seen, plan.settled, undone),
        conditions=_conditions(old, schedule.metadata.generation, seen.now, _holds(seen, trouble)),
    )


def build_unreadable_status(
    old: BatchScheduleStatus, generation: int, now: datetime, message: str
) -> BatchScheduleStatus:
    """The status of an object that cannot be read as a BatchSchedule."""
    holds = {ScheduleConditionType.STALLED: Trouble(Reason.INVALID_SPEC, message)}
    return old.model_copy(
        update={"observed_generation": generation, "conditions": _conditions(old, generation, now, holds)}
    )


def _cron_jobs(
    seen: SeenSchedule, settled: dict[str, datetime], undone: Collection[ScheduleAction]
) -> list[CronJobStatus]:
    """What is settled is so whatever else went wrong, else runs that are done and gone would count as missed."""
    named = _named(seen)
    old = {one.name: one for one in (seen.schedule.status or BatchScheduleStatus()).cron_jobs}
    owed = [action for action in undone if isinstance(action, MakeJob)]
    return [
        CronJobStatus(
            name=name,
            schedule=text,
            settled_until=format_time(settled[name]),
            owed=[format_time(action.at) for action in owed if action.cron_job == name],
        )
        if name in settled
        else old[name]
        for name, text in named.items()
        if name in settled or name in old
    ]


def _latest(old: str | None, times: Iterable[datetime | None]) -> str | None:
    """The latest of these times and of what was known: the object that said so may be gone."""
    known = [*(time for time in times if time is not None), *([datetime.fromisoformat(old)] if old else [])]
    return format_time(max(known)) if known else None


def _named(seen: SeenSchedule) -> dict[str, str]:
    """The cron strings by the names of their CronJobs."""
    metadata, spec = seen.schedule.metadata, seen.schedule.spec
    return {cron_job_name(metadata.name, text, spec.time_zone): text for text in spec.schedules}


def _holds(seen: SeenSchedule, trouble: Trouble | None) -> Holds:
    holds: Holds = {}
    if trouble:
        holds[ScheduleConditionType.STALLED] = trouble
    elif missing := _named(seen).keys() - {one.name for one in seen.cron_jobs}:
        message = f"Not seen yet: CronJob {', '.join(sorted(missing))}."
        holds[ScheduleConditionType.RECONCILING] = Trouble(Reason.SCHEDULED, message)
    if seen.schedule.spec.suspend:
        holds[ScheduleConditionType.SUSPENDED] = Trouble(Reason.SUSPENDED_BY_USER, SUSPENDED)
    return holds


def _conditions(old: BatchScheduleStatus, generation: int, now: datetime, holds: Holds) -> list[Condition]:
    otherwise = next((held.reason for held in holds.values()), Reason.SCHEDULED)
    found = []
    for kind in ScheduleConditionType:
        held = holds.get(kind)
        status = "True" if held else "False"
        found.append(
            Condition(
                type=kind,
                status=status,
                reason=held.reason if held else otherwise,
                message=clip(held.message if held else "", MESSAGE_LIMIT),
                last_transition_time=transition_time(old.condition(kind), status, now),
                observed_generation=generation,
            )
        )
    return found
