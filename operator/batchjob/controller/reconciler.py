"""One look at one BatchJob: observe, take its place in line, plan, carry out; and what becomes of errors.

A look never raises: whatever goes wrong is logged, counted and tried again later, for this BatchJob alone. Some of it
is an answer and becomes a condition: an object that is none of ours, and what somebody else has to mend (OBSTACLES).
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from batchjob import log
from batchjob.api.reading import read_leniently
from batchjob.api.status import BatchJobStatus, Phase
from batchjob.controller.actions import Plan
from batchjob.controller.begin import PlanSettings
from batchjob.controller.carry_out import CarryOut
from batchjob.controller.ending import plan_ended
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.observe import Memory, Observer
from batchjob.controller.observed import Observed
from batchjob.controller.obstacles import COMMON, Obstacles, build_trouble, plan_obstructed, say_unreadable
from batchjob.controller.plan import make_plan
from batchjob.controller.queueing import held_slots
from batchjob.controller.queues import Queues
from batchjob.controller.status import build_invalid_status
from batchjob.controller.take_place import take_place
from batchjob.controller.traced import named_in_logs
from batchjob.controller.workqueue import Workqueue
from batchjob.core.phases import is_terminal
from batchjob.core.reasons import Reason
from batchjob.errors import (
    BatchJobError,
    Conflict,
    Invalid,
    NotFound,
    StoreDamaged,
    StoreFull,
)
from batchjob.kube import BATCH_JOBS, Kube
from batchjob.metrics import ITEM_OUTCOMES, ITEMS_DONE, JOB_SECONDS, RECONCILE_ERRORS, RECONCILE_SECONDS

CROWD: Final = 16  # BatchJobs that wait to be started; of fewer, each says within a second that it was seen
# What keeps a plan from being made or carried out and is not ours to mend: the reason of the condition, and what to do.
OBSTACLES: Final[Obstacles] = COMMON | {
    Invalid: (Reason.REFUSED, " Correct it, in a new BatchJob where it is immutable."),
    StoreFull: (Reason.STORE_FULL, " Raise the memory of the store, or delete BatchJobs that have ended."),
    StoreDamaged: (Reason.STORE_DAMAGED, " Cancel it, and create it again."),
}

logger = log.get(__name__)


class Reconciler:
    """Looks at BatchJobs; `look` is what the queue's workers call."""

    def __init__(
        self,
        kube: Kube,
        known: KnownBatchJobs,
        queue: Workqueue[ObjectKey],
        observer: Observer,
        carry_out: CarryOut,
        queues: Queues,
        settings: PlanSettings,
    ) -> None:
        self._kube = kube
        self._known = known
        self._queue = queue
        self._observer = observer
        self._carry_out = carry_out
        self._queues = queues
        self._settings = settings
        self._memories: dict[str, Memory] = {}

    async def look(self, key: ObjectKey) -> None:
        """One look at a BatchJob by its key."""
        started = time.monotonic()
        with named_in_logs(key, self._known.get(key)):
            try:
                try:
                    await self._look(key)
                except (Conflict, NotFound):
                    await self._read_again(key)
            except Exception as error:  # noqa: BLE001 - one BatchJob must never stop the others
                self._failed(key, error)
            finally:
                RECONCILE_SECONDS.observe(time.monotonic() - started)

    async def _look(self, key: ObjectKey) -> None:
        for uid in self._known.gone(key):
            self._forget(uid)
            await self._carry_out.tidy(key, uid)
        entry = self._known.get(key)
        if entry is None:
            self._queue.forget_failures(key)
            return
        try:
            plan = self._put_off(entry, await self._plan(entry))
            self._look_at(await self._carry_out(entry, plan))
            if entry.body is not None:
                self._memory(entry).carried_out(plan)
        except tuple(OBSTACLES) as error:
            plan = await self._obstructed(entry, error)
        except ValidationError as error:  # of its items, which are read to be handed on
            plan = _invalid(entry.body or {}, error)
            await self._carry_out(entry, plan)
        if plan.status is not None:
            self._memory(entry).written()
            self._count(entry, plan.status)
        if plan.back_off:
            self._queue.back_off(key)
        else:
            self._queue.forget_failures(key)
        if plan.again_seconds is not None:
            self._queue.add_after(key, plan.again_seconds)

    def _put_off(self, entry: Entry, plan: Plan) -> Plan:
        """Starts go before words: while a crowd waits to be started, the status is left to a later look.

        In a burst that saves most first words: some seconds later there is more to say, often the end.
        """
        if not plan.patient:
            return plan
        memory = self._memory(entry)
        if memory.owes_seconds() is None and self._queue.first_waiting >= CROWD:
            memory.owe(self._settings.pace.seconds)
        left = memory.owes_seconds() or 0.0
        if left <= 0:
            return plan
        again = left if plan.again_seconds is None else min(left, plan.again_seconds)
        return replace(plan, status=None, again_seconds=again)

    def _count(self, entry: Entry, status: BatchJobStatus) -> None:
        """What a status has that the one before it had not, for /metrics; a queue that is none is no label."""
        if not self._queues.spec(entry.queue):
            return
        for outcome in ITEM_OUTCOMES:
            more = getattr(status.counts, outcome) - getattr(entry.row, outcome)
            ITEMS_DONE.labels(entry.queue, outcome).inc(max(0, more))  # less: the store was lost
        if status.phase not in {Phase.SUCCEEDED, Phase.FAILED} or entry.phase == status.phase:
            return
        if status.start_time and status.completion_time:
            seconds = datetime.fromisoformat(status.completion_time) - datetime.fromisoformat(status.start_time)
            JOB_SECONDS.labels(entry.queue).observe(seconds.total_seconds())

    async def _plan(self, entry: Entry) -> Plan:
        if entry.body is None:
            ended = self._observer.ended(entry)
            self._queues.ended(entry.uid, held_slots(ended.child))
            self._memories.pop(entry.uid, None)
            return plan_ended(ended, self._settings.linger_seconds)
        try:
            seen = await self._observe(entry)
        except ValidationError as error:
            if not held_slots(self._observer.ended(entry).child):  # an earlier leader could read it
                self._queues.forget(entry.uid)  # here it keeps nobody waiting
            return _invalid(entry.body, error)
        return self._memory(entry).patient(make_plan(seen, self._settings))

    async def _observe(self, entry: Entry) -> Observed:
        return take_place(self._queues, await self._observer.observe(entry, self._memory(entry)))

    async def _obstructed(self, entry: Entry, error: Exception) -> Plan:
        if entry.body is None:
            raise error  # it has ended: nobody waits for it
        try:
            seen = await self._observe(entry)
        except ValidationError:
            raise error from None  # none of ours: its condition could not be written
        except tuple(OBSTACLES):  # it is in the way of looking, too
            seen = self._observer.glance(entry, self._memory(entry))
        plan = plan_obstructed(seen, build_trouble(error, OBSTACLES), self._settings.pace)
        await self._carry_out(entry, plan)
        return plan

    async def _read_again(self, key: ObjectKey) -> None:
        """Somebody changed or deleted the object since we saw it: see it as it is, and look again."""
        entry = self._known.get(key)
        try:
            concerned = self._known.seen(await self._kube.get(BATCH_JOBS, *key))
        except NotFound:
            concerned = self._known.deleted(*key, entry.uid) if entry is not None else set()
        self._look_at(concerned - {key})
        self._queue.back_off(key)

    def _look_at(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key)

    def _failed(self, key: ObjectKey, error: Exception) -> None:
        RECONCILE_ERRORS.inc()
        seconds = self._queue.back_off(key)
        logger.warning(
            "reconcile failed",
            kind=type(error).__name__,
            error=str(error),
            retry_seconds=round(seconds, 1),
            exc_info=None if isinstance(error, BatchJobError) else error,
        )

    def clear(self) -> None:
        """We lead no longer: what we remember of runs is another replica's to change."""
        self._memories.clear()

    def _forget(self, uid: str) -> None:
        """It is gone."""
        self._queues.forget(uid)
        self._memories.pop(uid, None)

    def _memory(self, entry: Entry) -> Memory:
        return self._memories.setdefault(entry.uid, Memory())


def _invalid(body: dict[str, Any], error: ValidationError) -> Plan:
    """An object that the API server took and we cannot read: written by a newer version, or past its schema."""
    old = read_leniently(BatchJobStatus, body.get("status")) or BatchJobStatus()
    generation = body["metadata"].get("generation", 0)
    if is_terminal(old):
        status = old.model_copy(update={"observed_generation": generation})
    else:
        status = build_invalid_status(old, generation, say_unreadable("BatchJob", error), datetime.now(UTC))
    return Plan(status=status if status != old else None)
