"""Telling receivers: a duty of the leader, beside the looks at BatchJobs and never in their way.

What is to be told, and what became of it, is in the status (see `notices`). Here is only the doing: a queue of keys
with a time, a fresh read of the object, the attempts that are due, side by side, and one write of what they came to.
At least once: a crash, or another leader, between an attempt and that write repeats the attempt with the same id. What
could not be written is remembered until it is, so that an API server that refuses our writes makes no storm at the
receiver. A BatchJob that is deleted is told of no more.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from batchjob import log
from batchjob.api.notifications import Delivery, DeliveryState, Notification
from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.controller.events import Events
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.notify.destinations import Destinations, Network
from batchjob.controller.notify.mails import Server
from batchjob.controller.notify.notices import Outcome, addressed, attempted, build_note, due, merged
from batchjob.controller.notify.places import Places
from batchjob.controller.notify.receivers import Receivers
from batchjob.controller.workqueue import Workqueue
from batchjob.errors import BatchJobError, Conflict, NotFound
from batchjob.kube import BATCH_JOBS, Kube, Regarding
from batchjob.metrics import NOTIFICATIONS

WORKERS: Final = 128  # BatchJobs at a time: most of it is waiting
OF_A_NAMESPACE: Final = 8  # of them: whose receivers are slow holds up none but its own
TRIES: Final = 10  # of a write that others get in the way of; then later

News = dict[tuple[str, str], Delivery]  # by id of the notice and receiver

logger = log.get(__name__)


@dataclass(frozen=True)
class OutboxSettings:
    """What the operator's settings say."""

    allowed_networks: tuple[Network, ...]
    retry_seconds: tuple[float, ...]
    smtp: Server | None


class Outbox:
    """Tells receivers what the status of BatchJobs says that they are to be told."""

    def __init__(
        self, kube: Kube, known: KnownBatchJobs, settings: OutboxSettings, look_at: Callable[[ObjectKey], None]
    ) -> None:
        """`look_at`: a BatchJob is not as it was known."""
        self._kube = kube
        self._known = known
        self._settings = settings
        self._look_at = look_at
        self._events = Events(kube)
        self._receivers = Receivers(kube, Destinations(settings.allowed_networks), settings.smtp)
        self._queue: Workqueue[ObjectKey] = Workqueue(tell_depth=lambda _: None)  # the gauge is of looks at BatchJobs
        self._places = Places(OF_A_NAMESPACE)
        self._unwritten: dict[str, News] = {}  # by uid

    def expect(self, entry: Entry) -> None:
        """Somebody is to be told something of this BatchJob."""
        if entry.tell_at is not None:
            wait = (entry.tell_at - datetime.now(UTC)).total_seconds()
            self._queue.add_after((entry.namespace, entry.name), wait)

    async def lead(self) -> None:
        """Tell, until cancelled."""
        for entry in self._known.entries():
            self.expect(entry)
        try:
            await self._queue.work(self._look, WORKERS)
        finally:
            self._queue.clear()
            self._places = Places(OF_A_NAMESPACE)
            self._unwritten.clear()

    async def _look(self, key: ObjectKey) -> None:
        if not self._places.take(key):
            return
        try:
            await self._tell(key)
        except Exception as error:  # one BatchJob must never stop the others
            seconds = self._queue.back_off(key)
            logger.warning(
                "notifications failed",
                job="/".join(key),
                kind=type(error).__name__,
                error=str(error),
                retry_seconds=round(seconds, 1),
                exc_info=None if isinstance(error, BatchJobError) else error,
            )
        else:
            self._queue.forget_failures(key)
        finally:
            if following := self._places.give_back(key):
                self._queue.add(following)

    async def _tell(self, key: ObjectKey) -> None:
        entry, now = self._known.get(key), datetime.now(UTC)
        if entry is None or entry.tell_at is None:
            return
        if entry.tell_at > now:
            self.expect(entry)
            return
        body = await self._read(key)
        if body is None:
            return
        job = BatchJob.parse(body)
        uid = job.metadata.uid
        news = self._unwritten.get(uid, {})
        notices = merged(job.status.notifications if job.status else (), news)
        todo = list(due(notices, now))
        made = await asyncio.gather(*(self._attempt(job, notice, delivery) for notice, delivery in todo))
        news |= {(notice.id, delivery.to): delivery for (notice, _), delivery in zip(todo, made, strict=True)}
        if news:
            self._unwritten = {known: kept for known, kept in self._unwritten.items() if self._known.key_of(known)}
            self._unwritten[uid] = news
            notes = [build_note(notice, delivery) for (notice, _), delivery in zip(todo, made, strict=True)]
            await self._events.post(Regarding(KIND, *key, uid), [note for note in notes if note])
            await self._write(key, body, news)
            self._unwritten.pop(uid, None)

    async def _read(self, key: ObjectKey) -> dict[str, Any] | None:
        """The object as it is; None where there is none. What is new of it is looked at: the watch may be late."""
        try:
            body = await self._kube.get(BATCH_JOBS, *key)
        except NotFound:
            return None
        for concerned in self._known.seen(body):
            self._look_at(concerned)
        return body

    async def _write(self, key: ObjectKey, body: dict[str, Any] | None, news: News) -> None:
        """Write what became of deliveries, on top of whatever others have written meanwhile."""
        uid = body["metadata"]["uid"] if body else None
        for _ in range(TRIES):
            if body is None or body["metadata"]["uid"] != uid:
                return  # deleted: nobody is told of it any more
            status = BatchJob.parse(body).status
            notices = [notice.to_json() for notice in merged(status.notifications if status else (), news)]
            try:
                written = await self._kube.patch(
                    BATCH_JOBS,
                    *key,
                    {"status": {"notifications": notices}},
                    subresource="status",
                    resource_version=body["metadata"]["resourceVersion"],
                )
            except Conflict:
                body = await self._read(key)
            else:
                self._known.seen(written)
                return
        raise Conflict(f"others wrote the status {TRIES} times meanwhile")

    async def _attempt(self, job: BatchJob, notice: Notification, delivery: Delivery) -> Delivery:
        """Tell one receiver; what became of it."""
        delivery = addressed(job, notice, delivery)
        try:
            outcome = await self._receivers.tell(job, notice, delivery)
        except Exception as error:  # a mistake of ours with one receiver must not cost the others theirs
            logger.warning("a notification went wrong", job="/".join(job.key), to=delivery.to, exc_info=error)
            outcome = Outcome(DeliveryState.PENDING, "an error of the operator's own; its log has it")
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        after = attempted(delivery, outcome, datetime.now(UTC), self._settings.retry_seconds, jitter)
        NOTIFICATIONS.labels(kind=delivery.to.partition("[")[0], outcome=after.state.lower()).inc()
        logger.info(
            "notification",
            job="/".join(job.key),
            told=notice.event,
            id=notice.id,
            to=delivery.to,
            state=after.state,
            attempts=after.attempts,
            message=after.message,
        )
        return after
