"""The operator as a process: its parts put together, started, and stopped on SIGTERM.

Every replica keeps its caches warm: kopf's watch of BatchJobs, our informers of Jobs, queues and schedules. Only the
leader looks at BatchJobs and keeps house.
"""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from operator import itemgetter
from typing import Any, Final

from batchjob import log, traces
from batchjob.api.run import EXIT_CONFIGURATION
from batchjob.controller.carry_out import CarryOut
from batchjob.controller.child_jobs import shorten
from batchjob.controller.clock import notice_jumps
from batchjob.controller.housekeeping import Housekeeping
from batchjob.controller.indexing import Indexing
from batchjob.controller.informer import Informer, Keep, ObjectKey, controller_uid
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.leader import Leader
from batchjob.controller.live import Live
from batchjob.controller.manifests import SELECTOR
from batchjob.controller.notify.outbox import Outbox
from batchjob.controller.observe import Observer
from batchjob.controller.probes import serve_probes
from batchjob.controller.queue_status import QueueStatus
from batchjob.controller.queues import Queues
from batchjob.controller.reconciler import Reconciler
from batchjob.controller.relist import Relist
from batchjob.controller.retention import Keeping
from batchjob.controller.schedules.reconciler import Schedules
from batchjob.controller.series import Series
from batchjob.controller.settings import Settings
from batchjob.controller.supervisor import Supervisor
from batchjob.controller.takeover import restore
from batchjob.controller.totals import Totals
from batchjob.controller.users import Users
from batchjob.controller.workqueue import Workqueue
from batchjob.core.rows import JobRow
from batchjob.errors import ConfigurationError, StoreError
from batchjob.kube import BATCH_QUEUES, JOBS, Access, Kube, Throttle
from batchjob.memory import collect_rarely
from batchjob.metrics import publish_build_info
from batchjob.store import Store

STORE_RETRY_SECONDS: Final = 2.0

logger = log.get(__name__)


class Operator:
    """The operator of one installation. `kube` is open, `store` connects with its first call; both ask `leader`."""

    def __init__(self, settings: Settings, access: Access, kube: Kube, leader: Leader, store: Store) -> None:
        namespaces: list[str | None] = [*settings.watch_namespaces] or [None]
        self._settings = settings
        self._store = store
        self._queue: Workqueue[ObjectKey] = Workqueue(group=itemgetter(0))  # by namespace
        self._leads = False
        self._known = KnownBatchJobs(self._owes, self._row_moved, self._turned)
        self._relist = Relist(kube, namespaces, self._known)
        self._indexing = Indexing(store, self._known, self._relist)
        self._jobs = Informer(kube, JOBS, namespaces, SELECTOR, self._job_moved, keep=Keep(shorten))
        self._queues = Queues(self._run_moved)
        self._batch_queues = Informer(kube, BATCH_QUEUES, [None], None, self._queue_moved)
        self._schedules = Schedules(kube, namespaces, settings.worker_image, self._look_at)
        self._users = Users(kube, store, settings.worker_store())
        keeping = Keeping(kube, store, self._users, self._jobs, self._known, self._queues.keep_completed)
        self._live = Live(kube, self._known, store)
        self._housekeeping = Housekeeping(
            store, self._users, self._known, self._relist, self._queue, keeping, self._live.moved
        )
        self._outbox = Outbox(kube, self._known, settings.outbox(), self._look_at)
        self._totals = Totals(store)
        self._queue_status = QueueStatus(kube, self._queues, self._known, self._queue.add)
        self._supervisors = [
            Supervisor(access, namespace, self._batch_job_moved, self._relist.ask) for namespace in namespaces
        ]
        self._leader = leader
        self._reconciler = Reconciler(
            kube,
            self._known,
            self._queue,
            Observer(kube, store, self._users, self._jobs, self._known, self._queues, self._schedules.turns),
            CarryOut(kube, store, self._users, self._jobs, self._known),
            self._queues,
            settings.plan(),
        )

    @property
    def is_ready(self) -> bool:
        """Whether Jobs and queues are known. BatchJobs and schedules are waited for by whoever leads."""
        return self._jobs.synced.is_set() and self._batch_queues.synced.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; raises what ended a part."""
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(part)
                for part in (
                    *(supervisor.run() for supervisor in self._supervisors),
                    self._jobs.run(),
                    self._batch_queues.run(),
                    self._schedules.run(),
                    self._relist.keep_comparing(self._settings.relist_seconds, self._look_at),
                    self._check_store(),
                    self._leader.run(self._lead),
                )
            ]
            await stop.wait()
            for part in parts:
                part.cancel()

    async def _lead(self) -> None:
        """What the leader does, until cancelled."""
        await self._jobs.synced.wait()  # a child that we do not see yet would be made twice
        await self._batch_queues.synced.wait()  # a limit that we do not see yet would be broken
        await self._relist.complete()  # and so would one by a BatchJob that runs and that we do not see yet
        restore(self._queues, self._known, self._jobs)
        self._leads = True
        for key in self._known.all_keys():  # also what an earlier lead of ours left to tidy up
            self._add(key)
        series = Series(
            self._queues, self._known, self._jobs, self._schedules.statuses, self._schedules.due, self._totals
        )
        try:
            with series.shown():
                await self._keep_house()
        finally:
            self._leads = False
            self._queue.clear()
            self._reconciler.clear()
            self._users.clear()

    async def _keep_house(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.work(self._reconciler.look, self._settings.workers))
            group.create_task(self._queue_status.keep_writing())
            group.create_task(self._totals.keep_reading())
            group.create_task(self._schedules.lead())
            group.create_task(self._outbox.lead())
            group.create_task(self._indexing.lead())
            group.create_task(self._live.lead())
            group.create_task(notice_jumps(self._clock_jumped))
            group.create_task(self._housekeeping.follow_changes())
            group.create_task(self._housekeeping.keep_users(self._settings.users_seconds))
            group.create_task(self._housekeeping.sweep_orphans(self._settings.sweep_seconds))

    def _clock_jumped(self) -> None:
        """Whoever waits for a time of the clock reckons anew."""
        for entry in self._known.entries():
            self._owes(entry)
            if entry.body is not None:
                self._look_at((entry.namespace, entry.name))
        self._schedules.look_at_all()

    async def _check_store(self) -> None:
        """Refuse a store that would lose items; one that does not answer yet is waited for."""
        while True:
            try:
                await self._store.check()
            except StoreError as error:
                logger.warning("the store cannot be checked yet", error=str(error))
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                return

    def _batch_job_moved(self, kind: str | None, body: dict[str, Any]) -> None:
        if kind is None:
            self._relist.ask()
        metadata = body["metadata"]
        if kind == "DELETED":
            keys = self._known.deleted(metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            keys = self._known.seen(body)
        for key in keys:
            self._add(key)

    def _owes(self, entry: Entry) -> None:
        if self._leads:
            self._outbox.expect(entry)

    def _row_moved(self, row: JobRow) -> None:
        self._indexing.moved(row)
        if self._leads and self._known.key_of(row.uid) is None:
            self._live.moved(row.uid)  # gone: it forgets it

    def _turned(self, entry: Entry, body: dict[str, Any]) -> None:
        if self._leads:
            self._live.turned(entry, body)

    def _job_moved(self, job: dict[str, Any], _gone: bool) -> None:
        key = self._known.key_of(controller_uid(job) or "")
        if key and key[0] == job["metadata"]["namespace"]:
            self._look_at(key)

    def _queue_moved(self, queue: dict[str, Any], gone: bool) -> None:
        if self._queues.seen(queue, gone):
            for entry in self._known.entries():
                if entry.body is not None and entry.queue == queue["metadata"]["name"]:
                    self._look_at((entry.namespace, entry.name))

    def _run_moved(self, uid: str) -> None:
        if key := self._known.key_of(uid):
            self._look_at(key, first=True)

    def _add(self, key: ObjectKey) -> None:
        """Those go first of which nothing has been said yet."""
        entry = self._known.get(key)
        self._look_at(key, first=entry is not None and entry.phase is None)

    def _look_at(self, key: ObjectKey, *, first: bool = False) -> None:
        """Have a BatchJob looked at; while another replica leads, it does so, and nobody here takes keys."""
        if self._leads:
            self._queue.add(key, first=first)
        else:
            self._known.forget_gone(key)


def main() -> int:
    """The command `batchjob operator`; returns its exit code."""
    collect_rarely()
    log.configure()
    try:
        settings = Settings.read()
        log.configure(settings.log_level)
        logging.getLogger("kopf").setLevel(logging.ERROR)  # it tells of each event, and of what we handle
        publish_build_info()
        with traces.sending("batchjob-operator"):
            asyncio.run(serve(settings, Access.find()))
    except* ConfigurationError as errors:
        reasons = "; ".join(str(error) for error in errors.exceptions)
        logger.critical("cannot run like this", error=reasons)
    else:
        return 0
    return EXIT_CONFIGURATION


async def serve(settings: Settings, access: Access) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        leader = Leader(await stack.enter_async_context(Kube(access)), settings.lease())
        throttle = Throttle(settings.kube_qps, settings.kube_burst)
        kube = await stack.enter_async_context(Kube(access, throttle, may_write=leader.may_write))
        store = await stack.enter_async_context(
            Store.connect(settings.store(), name="batchjob-operator", reread=settings.store, may_ask=leader.may_write)
        )
        operator = Operator(settings, access, kube, leader, store)
        await stack.enter_async_context(
            serve_probes(settings.probe_host, settings.probe_port, lambda: operator.is_ready)
        )
        logger.info("started", server=access.server, namespaces=settings.watch_namespaces or "all")
        await operator.run(stop)
    logger.info("stopped")
