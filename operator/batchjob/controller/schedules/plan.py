"""The decision about a BatchSchedule: from what was observed to what is done. Pure.

CronJobs first: one for each cron string, as the spec says, the others gone once their runs have ended. Then the times
that were missed become Jobs, then Jobs become BatchJobs, oldest first; last, what became of a BatchJob is written to
its Job, which tells the CronJob. Each step may be repeated: every name follows from the time that it is for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from batchjob.api.schedule import BatchScheduleStatus, ConcurrencyPolicy, ScheduleConditionType
from batchjob.controller.actions import Note
from batchjob.controller.observed import Trouble
from batchjob.controller.rows import moment
from batchjob.controller.schedules.actions import (
    ChangeCronJob,
    DeleteCronJob,
    MakeCronJob,
    MakeJob,
    MakeRun,
    Step,
    Tell,
    TellJob,
)
from batchjob.controller.schedules.manifests import (
    build_cron_job,
    build_missed_job,
    build_run_of,
    cron_job_name,
    fits,
    job_begun,
    job_complete,
    job_failed,
    parts_of,
)
from batchjob.controller.schedules.observed import SeenCronJob, SeenJob, SeenRun, SeenSchedule
from batchjob.controller.status import format_time
from batchjob.core.cron import Cron
from batchjob.core.reasons import Reason
from batchjob.core.zones import find_zone

# Times looked through for missed ones: a schedule of minutes has 43,200 a month. No more are told of.
MAX_MISSED: Final = 1000
MAX_PAUSE_SECONDS: Final = 3600.0  # the longest between two looks: a clock may be set


@dataclass(frozen=True)
class SchedulePlan:
    """What to do, and what the status says afterwards if all of it went well."""

    steps: tuple[Step, ...] = ()
    trouble: Trouble | None = None
    # CronJob → every time until then is dealt with, but for the Jobs that could not be made; None: as it was.
    settled: dict[str, datetime] | None = None
    next_time: datetime | None = None
    due_time: datetime | None = None  # the first time that nothing was done about: in the past where Kubernetes is late
    active: tuple[str, ...] = ()  # BatchJobs that have not ended, oldest first
    missed: int = 0  # times that are given up
    again_seconds: float | None = None


@dataclass(frozen=True)
class CatchUp:
    """What is to be done about the times that one CronJob missed."""

    jobs: tuple[MakeJob, ...]
    missed: int
    settled: datetime
    notes: tuple[Tell, ...] = ()


def plan_schedule(seen: SeenSchedule) -> SchedulePlan:
    """What to do about a BatchSchedule now."""
    try:
        crons = _crons(seen)
    except ValueError as error:
        steps, active = _runs(seen)
        return SchedulePlan(tuple(steps), Trouble(Reason.INVALID_SPEC, str(error)), active=active)
    steps = [*_cron_jobs(seen), *_leftovers(seen)]
    there = {one.name: one for one in seen.cron_jobs}
    caught = {name: _catch_up(seen, there[name], *crons[name]) for name in crons if name in there}
    steps += [Step((tell,)) for one in caught.values() for tell in one.notes]
    jobs = [action for one in caught.values() for action in one.jobs]
    steps += [Step((job,)) for job in jobs]
    # The times that were missed are older than what Kubernetes made since: in a queue they come first.
    queue = seen.schedule.spec.concurrency_policy is ConcurrencyPolicy.QUEUE
    runs, active = _runs(seen, begin=not (jobs and queue))
    steps += runs
    next_time = _next_time(seen, crons)
    return SchedulePlan(
        tuple(steps),
        settled={name: one.settled for name, one in caught.items()},
        next_time=next_time,
        due_time=_due_time(seen, [(crons[name][1], one.settled) for name, one in caught.items()], busy=bool(active)),
        active=active,
        missed=sum(one.missed for one in caught.values()),
        again_seconds=0 if jobs else _pause(seen.now, next_time),
    )


def _crons(seen: SeenSchedule) -> dict[str, tuple[str, Cron]]:
    """The cron strings and their times by the names of their CronJobs; ValueError says what is wrong."""
    spec = seen.schedule.spec
    try:
        zone = find_zone(spec.time_zone)
    except ValueError as error:
        advice = "Use a name of the IANA list, such as Europe/Berlin, or UTC."
        raise ValueError(f"spec.timeZone: {error}. {advice}") from None
    found = {}
    for number, text in enumerate(spec.schedules):
        try:
            name = cron_job_name(seen.schedule.metadata.name, text, spec.time_zone)
            found[name] = text, Cron(text, zone)
        except ValueError as error:
            raise ValueError(f"spec.schedules[{number}]: '{text}': {error}. Correct it.") from None
    return found


def _cron_jobs(seen: SeenSchedule) -> Iterator[Step]:
    """One CronJob for each cron string, and each as it should be."""
    there = {one.name: one for one in seen.cron_jobs}
    for text in seen.schedule.spec.schedules:
        wanted = build_cron_job(seen.schedule, text, seen.image)
        one = there.get(wanted["metadata"]["name"])
        parts = parts_of(wanted)
        if one is None:
            yield Step((MakeCronJob(wanted),))
        elif not fits(one.body, parts):
            yield Step((ChangeCronJob(one.name, parts, one.version),))


def _leftovers(seen: SeenSchedule) -> Iterator[Step]:
    """CronJobs of cron strings that were removed: no new runs, and they go once the last of theirs has ended."""
    spec = seen.schedule.spec
    kept = {cron_job_name(seen.schedule.metadata.name, text, spec.time_zone) for text in spec.schedules}
    busy = {job.cron_job_uid for job in seen.jobs if not job.ended}
    for one in seen.cron_jobs:
        if one.name in kept or "deletionTimestamp" in one.body["metadata"]:
            continue
        if one.uid not in busy:
            yield Step((DeleteCronJob(one.name, one.uid),))
        elif not one.body["spec"].get("suspend"):
            yield Step((ChangeCronJob(one.name, {"spec": {"suspend": True}}, one.version),))


def _catch_up(seen: SeenSchedule, one: SeenCronJob, text: str, cron: Cron) -> CatchUp:
    """The times between the last one dealt with and the newest one that Kubernetes ran: it skips those between.

    And those that are owed: of what was to be made up for before, the Jobs that could not be made then.
    """
    spec = seen.schedule.spec
    settled, owed = _settled(seen, one.name)
    # One that has run and of which nothing is settled is of a string that was removed meanwhile: nothing was due then,
    # and of what was before it Jobs may be gone that were done.
    since = settled or (max(one.created, seen.now) if one.last else one.created)
    if _was_suspended(seen) and not spec.suspend:
        since = max(since, seen.now)  # what a pause left out is not made up for
    made = {job.at: job for job in seen.jobs if job.cron_job_uid == one.uid and not job.by_hand}
    newest = max([since, *made, *([one.last] if one.last else [])])
    owed = [time for time in owed if time not in made]
    gap = list(islice(cron.between(since, newest), MAX_MISSED))
    missing = [*owed, *(time for time in gap if time not in made)]
    wanted = []
    if spec.catch_up is not None:
        deadline = timedelta(seconds=spec.starting_deadline_seconds or 0)
        first = max(since, seen.now - deadline - timedelta(seconds=1)) if deadline else since
        in_time = [*owed, *(time for time in islice(cron.between(first, newest), MAX_MISSED) if time not in made)]
        in_time = [time for time in in_time if not deadline or seen.now - time <= deadline]
        caught_up = sum(since < at < newest and job.caught_up for at, job in made.items())  # before a crash
        wanted = in_time[: max(0, spec.catch_up.max_runs - caught_up)]
    manifest, zone = build_cron_job(seen.schedule, text, seen.image), find_zone(spec.time_zone)
    jobs = tuple(MakeJob(build_missed_job(manifest, one.uid, time, zone), one.name, time) for time in wanted)
    lost = [time for time in missing if time not in wanted]
    # Forbid leaves runs out on purpose, and nothing tells those from missed ones.
    forbidden = spec.concurrency_policy is ConcurrencyPolicy.FORBID
    notes = list[Tell]()
    if lost:
        number = f"{'at least ' if len(gap) == MAX_MISSED else ''}{len(lost)}"
        which = f"{number} of '{text}' from {format_time(lost[0])} to {format_time(lost[-1])}"
        notes.append(Tell(_lost(which, f"{one.name} {newest} {lost[0]}", forbidden=forbidden)))
    return CatchUp(jobs, 0 if forbidden else len(lost), newest, tuple(notes))


def _lost(which: str, about: str, *, forbidden: bool) -> Note:
    """The Event about times of which there is no run. `about`: what it tells of, once for all."""
    if forbidden:
        message = (
            f"Runs that were left out: {which}. spec.concurrencyPolicy is Forbid, and an earlier one had not ended, or "
            "Kubernetes' controllers were down."
        )
        return Note("Normal", Reason.RUNS_LEFT_OUT, message, about)
    message = f"Runs that were missed and are not made up for: {which}. spec.catchUp says how many of them are."
    return Note("Warning", Reason.RUNS_MISSED, message, about)


def _settled(seen: SeenSchedule, name: str) -> tuple[datetime | None, list[datetime]]:
    """Until when the status says that all is dealt with, and the times that are owed all the same."""
    status = seen.schedule.status or BatchScheduleStatus()
    one = next((one for one in status.cron_jobs if one.name == name), None)
    if one is None:
        return None, []
    return datetime.fromisoformat(one.settled_until), [datetime.fromisoformat(time) for time in one.owed]


def _was_suspended(seen: SeenSchedule) -> bool:
    condition = seen.schedule.status and seen.schedule.status.condition(ScheduleConditionType.SUSPENDED)
    return bool(condition and condition.status == "True")


def _runs(seen: SeenSchedule, *, begin: bool = True) -> tuple[list[Step], tuple[str, ...]]:
    """BatchJobs for Jobs (`begin`) and news for Jobs, oldest first; and the BatchJobs that have not ended."""
    steps, active = [], []
    for job in sorted(seen.jobs, key=lambda job: (job.at, job.name)):
        if job.ended:
            continue
        run = seen.run_of(job)
        begun = (Tell(_created(job)), TellJob(job.name, job_begun(seen.now), job.version))
        if run is None and job.start is None:
            manifest = build_run_of(seen.schedule, dict(seen.template), job.run, job.at, (job.name, job.uid))
            steps += [Step((MakeRun(manifest), *begun))] if begin else []
        elif run is None or run.ended:
            steps.append(Step((TellJob(job.name, _end(job, run, seen.now), job.version),)))
            continue
        elif job.start is None:
            steps.append(Step(begun))
        active.append(job.run)
    return steps, tuple(dict.fromkeys(active))


def _created(job: SeenJob) -> Note:
    if job.caught_up:
        message = f"Made BatchJob {job.run} for {format_time(job.at)}, which had been missed."
        return Note("Normal", Reason.RUN_CAUGHT_UP, message, job.uid)
    when = "of a Job made by hand" if job.by_hand else f"for {format_time(job.at)}"
    return Note("Normal", Reason.RUN_CREATED, f"Made BatchJob {job.run} {when}.", job.uid)


def _end(job: SeenJob, run: SeenRun | None, now: datetime) -> dict[str, Any]:
    start = job.start or job.created
    if run is None:
        message = f"BatchJob {job.run} was deleted before it had ended."
        return job_failed(start, Reason.RUN_DELETED, message, now)
    if run.complete:
        end = run.completion_time or start
        return job_complete(start, max(start, end), now)  # its clock may differ from the API server's
    return job_failed(start, run.reason or Reason.CANCELLED, f"BatchJob {run.name}: {run.message}", now)


def _next_time(seen: SeenSchedule, crons: dict[str, tuple[str, Cron]]) -> datetime | None:
    if seen.schedule.spec.suspend:
        return None
    times = (cron.next(seen.now) for _, cron in crons.values())
    return min((time for time in times if time is not None), default=None)


def _due_time(seen: SeenSchedule, settled: Iterable[tuple[Cron, datetime]], *, busy: bool) -> datetime | None:
    """The first time after those that are settled. Forbid leaves out on purpose what comes while a run goes on."""
    spec = seen.schedule.spec
    if spec.suspend:
        return None
    free = datetime.min.replace(tzinfo=UTC)
    if spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        ends = (moment(run.completion_time) for run in seen.runs.values())
        free = seen.now if busy else max((end for end in ends if end), default=free)
    times = (cron.next(max(since, free)) for cron, since in settled)
    return min((time for time in times if time is not None), default=None)


def _pause(now: datetime, next_time: datetime | None) -> float | None:
    """When to look again for status.nextScheduleTime: Kubernetes tells nothing of a time that it leaves out."""
    if next_time is None:
        return None
    return min(MAX_PAUSE_SECONDS, (next_time - now).total_seconds() + 1)
