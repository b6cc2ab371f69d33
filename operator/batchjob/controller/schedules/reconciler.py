"""BatchSchedules: four informers, a queue of their own, and one look at a time: observe, plan, carry out.

A look never raises: whatever goes wrong is logged, counted and tried again later, for this BatchSchedule alone. What
somebody else has to mend becomes its condition Stalled, and the other steps of the plan are taken all the same.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from batchjob import log
from batchjob.api.reading import read_leniently
from batchjob.api.schedule import SCHEDULE_KIND, BatchSchedule, BatchScheduleStatus
from batchjob.controller.events import Events
from batchjob.controller.informer import Informer, Keep, ObjectKey, controller_uid, object_key
from batchjob.controller.notes import notes_of
from batchjob.controller.obstacles import say_unreadable
from batchjob.controller.schedules.carry_out import CarryOutSchedule
from batchjob.controller.schedules.observed import (
    SeenJob,
    SeenRun,
    SeenSchedule,
    read_cron_job,
    read_job,
    read_run,
    shorten_cron_job,
    shorten_job,
    shorten_run,
    shorten_schedule,
    whole,
)
from batchjob.controller.schedules.plan import plan_schedule
from batchjob.controller.schedules.status import build_schedule_status, build_unreadable_status
from batchjob.controller.schedules.turns import Turns, schedule_of
from batchjob.controller.workqueue import Workqueue
from batchjob.core.schedule_runs import SCHEDULE_LABEL
from batchjob.errors import BatchJobError, Conflict, NotFound
from batchjob.kube import BATCH_JOBS, BATCH_SCHEDULES, CRON_JOBS, JOBS, Kube, Regarding
from batchjob.metrics import RECONCILE_ERRORS, SCHEDULE_MISSED

WORKERS: Final = 2  # looks at a time: schedules have a run a minute at most

logger = log.get(__name__)


class Schedules:
    """The BatchSchedules of an installation. Every replica keeps the copies, the leader alone looks."""

    def __init__(
        self, kube: Kube, namespaces: Sequence[str | None], image: str, look_at_run: Callable[[ObjectKey], None]
    ) -> None:
        """`image`: of the Jobs' templates, which no pod is made of. `look_at_run`: a BatchJob may have its turn."""
        self._kube = kube
        self._events = Events(kube)
        self._image = image
        self._queue: Workqueue[ObjectKey] = Workqueue(tell_depth=lambda _: None)  # the gauge is of BatchJobs
        # What a write of ours did is looked at when the watch tells of it.
        schedules, cron_jobs, jobs = (
            Keep(shorten, tells_of_rest=True) for shorten in (shorten_schedule, shorten_cron_job, shorten_job)
        )
        self._schedules = Informer(kube, BATCH_SCHEDULES, namespaces, None, self._moved, keep=schedules)
        self._cron_jobs = Informer(kube, CRON_JOBS, namespaces, SCHEDULE_LABEL, self._child_moved, keep=cron_jobs)
        self._jobs = Informer(kube, JOBS, namespaces, SCHEDULE_LABEL, self._child_moved, keep=jobs)
        runs = Keep(shorten_run)
        self._runs = Informer(
            kube, BATCH_JOBS, namespaces, SCHEDULE_LABEL, self._run_moved, index=schedule_of, keep=runs
        )
        self._copies = (self._schedules, self._cron_jobs, self._jobs, self._runs)
        # Runs that had ended and were deleted before their Job was told: by schedule, by name. Kept while we lead.
        self._last_words: dict[ObjectKey, dict[str, SeenRun]] | None = None
        self._due: dict[ObjectKey, datetime] = {}
        self._carry_out = CarryOutSchedule(kube, self._cron_jobs, self._jobs, self._runs)
        self.turns = Turns(self._runs, look_at_run)

    def statuses(self) -> Iterator[BatchScheduleStatus]:
        """What the status of each BatchSchedule says, as far as we can read it."""
        for key in self._schedules.known_keys():
            body = self._schedules.get(key) or {}
            yield read_leniently(BatchScheduleStatus, body.get("status")) or BatchScheduleStatus()

    def due(self) -> datetime | None:
        """The first time of all BatchSchedules that nothing was done about; the leader's."""
        return min(self._due.values(), default=None)

    async def run(self) -> None:
        """Keep the copies for ever."""
        async with asyncio.TaskGroup() as group:
            for copy in self._copies:
                group.create_task(copy.run())

    async def lead(self) -> None:
        """Look at every BatchSchedule, and again when something of it moves, until cancelled."""
        for copy in self._copies:
            await copy.synced.wait()
        self._queue.clear()
        self._last_words = {}
        self.look_at_all()
        try:
            await self._queue.work(self._look, WORKERS)
        finally:
            self._last_words = None
            self._due.clear()
            self._queue.clear()

    def look_at_all(self) -> None:
        """Look at every BatchSchedule, where we lead."""
        for key in self._schedules.known_keys():
            self._look_at(key)

    async def _look(self, key: ObjectKey) -> None:
        try:
            await self._look_once(key)
        except (Conflict, NotFound):  # somebody was faster: the watch will tell
            self._queue.back_off(key)
        except Exception as error:  # one BatchSchedule must never stop the others
            RECONCILE_ERRORS.inc()
            seconds = self._queue.back_off(key)
            logger.warning(
                "reconcile failed",
                batchschedule="/".join(key),
                kind=type(error).__name__,
                error=str(error),
                retry_seconds=round(seconds, 1),
                exc_info=None if isinstance(error, BatchJobError) else error,
            )

    async def _look_once(self, key: ObjectKey) -> None:
        body = self._schedules.get(key)
        # In foreground deletion the children go first; making new ones would never end.
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._queue.forget_failures(key)
            self._due.pop(key, None)
            self._hear_last_words(key, ())
            return
        try:
            seen = await self._observe(body)
        except ValidationError as error:
            self._due.pop(key, None)
            await self._say_unreadable(body, error)
            return
        plan = plan_schedule(seen)
        if plan.due_time is None:
            self._due.pop(key, None)
        else:
            self._due[key] = plan.due_time
        obstacle, undone = await self._carry_out(seen, plan)
        trouble = obstacle or plan.trouble
        status = build_schedule_status(seen, plan, trouble, undone)
        if status != seen.schedule.status:
            await self._write(body, seen.schedule.status, status)
            SCHEDULE_MISSED.inc(plan.missed)
        if trouble:
            self._queue.back_off(key)
            return
        self._queue.forget_failures(key)
        if plan.again_seconds is not None:
            self._queue.add_after(key, plan.again_seconds)

    async def _observe(self, packed: dict[str, Any]) -> SeenSchedule:
        body = whole(packed)
        schedule = BatchSchedule.parse(body)
        namespace, name = object_key(body)
        cron_jobs = [read_cron_job(one) for one in self._cron_jobs.owned_by(namespace, schedule.metadata.uid)]
        jobs = [
            job
            for one in cron_jobs
            for found in self._jobs.owned_by(namespace, one.uid)
            if (job := read_job(found, name, one.uid))
        ]
        runs = {
            run["metadata"]["name"]: read_run(run, controller_uid(run)) for run in self._runs.owned_by(namespace, name)
        }
        runs |= self._hear_last_words((namespace, name), [job.run for job in jobs if not job.ended])
        return SeenSchedule(
            schedule=schedule,
            template=body["spec"]["jobTemplate"],
            now=datetime.now(UTC),
            image=self._image,
            cron_jobs=cron_jobs,
            jobs=jobs,
            runs=await self._confirmed(namespace, jobs, runs),
        )

    def _hear_last_words(self, key: ObjectKey, waiting: Collection[str]) -> dict[str, SeenRun]:
        """Runs that ended and are gone, of those that a Job waits for; the others are forgotten."""
        if self._last_words is None:
            return {}
        kept = {name: run for name, run in self._last_words.pop(key, {}).items() if name in waiting}
        if kept:
            self._last_words[key] = kept
        return kept

    async def _confirmed(self, namespace: str, jobs: list[SeenJob], runs: dict[str, SeenRun]) -> dict[str, SeenRun]:
        """Our copy of the BatchJobs may be behind that of the Jobs: one that has begun is not gone before we asked."""
        for job in jobs:
            if job.start is None or job.ended or job.run in runs:
                continue
            try:
                found = await self._kube.get(BATCH_JOBS, namespace, job.run)
            except NotFound:
                continue
            runs[job.run] = read_run(found, controller_uid(found))
        return runs

    async def _say_unreadable(self, body: dict[str, Any], error: ValidationError) -> None:
        """The API server took it and we cannot read it: written by a newer version, or past its schema."""
        old = read_leniently(BatchScheduleStatus, body.get("status")) or BatchScheduleStatus()
        message = say_unreadable(SCHEDULE_KIND, error)
        status = build_unreadable_status(old, body["metadata"].get("generation", 0), datetime.now(UTC), message)
        if status != old:
            await self._write(body, old, status)

    async def _write(self, body: dict[str, Any], old: BatchScheduleStatus | None, status: BatchScheduleStatus) -> None:
        """The Event first, as for BatchJobs. Nulls go out too: in a merge patch they remove what is no longer said."""
        change = {"status": status.model_dump(mode="json", by_alias=True)}
        version = body["metadata"]["resourceVersion"]
        namespace, name = object_key(body)
        about = Regarding(SCHEDULE_KIND, namespace, name, body["metadata"]["uid"])
        await self._events.post(about, notes_of(old.conditions if old else (), status.conditions))
        written = await self._kube.patch(
            BATCH_SCHEDULES, namespace, name, change, subresource="status", resource_version=version
        )
        self._schedules.remember(written)

    def _moved(self, schedule: dict[str, Any], _: bool) -> None:
        self._look_at(object_key(schedule))

    def _child_moved(self, child: dict[str, Any], _: bool) -> None:
        if name := schedule_of(child):
            self._look_at((child["metadata"]["namespace"], name))

    def _look_at(self, key: ObjectKey) -> None:
        """While another replica leads nobody here takes keys; whoever begins to lead looks at all."""
        if self._last_words is not None:
            self._queue.add(key)

    def _run_moved(self, run: dict[str, Any], gone: bool) -> None:
        last, name = read_run(run, controller_uid(run)), schedule_of(run)
        if gone and last.ended and name and self._last_words is not None:
            self._last_words.setdefault((run["metadata"]["namespace"], name), {})[last.name] = last
        self._child_moved(run, gone)
        self.turns.moved(run, gone=gone)
