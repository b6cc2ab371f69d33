"""What the leader does besides looking at single BatchJobs: three loops between the store and the queue.

Changes: a run that moved in the store is looked at, at most once a second. Users: one that the store forgot at a
restart is made again. Orphans: what a BatchJob left that was deleted while nobody looked is removed, and with
it what is not to be kept any more (see `retention`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from batchjob import log
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.relist import Relist
from batchjob.controller.retention import Keeping
from batchjob.controller.users import Users
from batchjob.controller.workqueue import Workqueue
from batchjob.errors import BatchJobError
from batchjob.metrics import STORE_MEMORY, STORE_MEMORY_LIMIT, STORE_UP
from batchjob.store import Store

CHANGES_SECONDS: Final = 5.0  # one blocking read of the store's changes
SAME_RUN_SECONDS: Final = 1.0  # a run says ten times a second that it moved; a look a second is enough for people
PAUSE_SECONDS: Final = 1.0  # after an error

logger = log.get(__name__)


class Housekeeping:
    """The leader's loops."""

    def __init__(
        self,
        store: Store,
        users: Users,
        known: KnownBatchJobs,
        relist: Relist,
        queue: Workqueue[ObjectKey],
        keeping: Keeping,
        moved: Callable[[str], None],
    ) -> None:
        """`moved`: is called with the uid of each run of which people may have to be told something."""
        self._store = store
        self._users = users
        self._known = known
        self._relist = relist
        self._queue = queue
        self._keeping = keeping
        self._moved = moved
        self._looked_at: dict[ObjectKey, float] = {}

    async def follow_changes(self) -> None:
        """Look at runs that moved, for ever; at all that run once the store is back, since changes may be lost."""
        missed = False
        while True:
            answered = await self._calmly(self._look_at_changes, "changes of the store cannot be followed")
            STORE_UP.set(answered)
            if not answered:
                missed = True
                await asyncio.sleep(PAUSE_SECONDS)
            elif missed:
                self._look_at_running()
                missed = False

    async def keep_users(self, every_seconds: float) -> None:
        """Compare the store's users with the runs, for ever; a difference is worth a look."""
        while True:
            if not await self._calmly(self._compare_users, "users of the store cannot be read"):
                self._look_at_running()
            await asyncio.sleep(every_seconds)

    async def sweep_orphans(self, every_seconds: float) -> None:
        """Remove what belongs to no BatchJob, for ever."""
        while True:
            await asyncio.sleep(every_seconds)
            await self._calmly(self.sweep, "orphans cannot be swept")
            await self._calmly(self._keeping.sweep, "what is not to be kept any more cannot be removed")
            await self._calmly(self._measure_store, "the store does not say how much memory it uses")
            horizon = time.monotonic() - SAME_RUN_SECONDS
            self._looked_at = {key: at for key, at in self._looked_at.items() if at > horizon}

    async def sweep(self) -> None:
        """Remove the runs, and their users, whose BatchJob is gone; those of namespaces we do not serve are not ours.

        The names are listed after the store was read: a run is opened only for a BatchJob that exists, so one that
        is missing from the later list was deleted. A user without a run in our database is none of ours: users belong
        to the whole server, and another installation may have another of its databases.
        """
        found = await self._store.runs()
        if not found.keys() - {entry.uid for entry in self._known.entries()}:
            return
        there, barred = await self._relist.uids()
        for uid in found.keys() - there:
            await self._calmly(partial(self._sweep_run, uid, found[uid], barred), "an orphan cannot be swept")

    async def _measure_store(self) -> None:
        used, limit = await self._store.memory()
        STORE_MEMORY.set(used)
        STORE_MEMORY_LIMIT.set(limit)

    async def _sweep_run(self, uid: str, found: set[bytes], barred: set[str]) -> None:
        """`barred`: namespaces whose BatchJobs we could not list, so that their runs may be no orphans."""
        owner = await self._store.created_for(uid)
        if owner is None:
            if barred:
                return
        elif (namespace := owner.partition("/")[0]) in barred or not self._relist.serves(namespace):
            return
        logger.info("removing what a deleted BatchJob left in the store", uid=uid)
        await self._users.revoke(uid)
        await self._store.delete_run(uid, found)

    async def _look_at_changes(self) -> None:
        for uid in await self._store.changed(CHANGES_SECONDS):
            if key := self._known.key_of(uid):
                self._add(key)
                self._moved(uid)

    async def _compare_users(self) -> None:
        present = await self._users.refresh()
        for entry in self._known.entries():
            key = entry.namespace, entry.name
            if entry.uid not in present and entry.needs_user:
                self._queue.add(key)
            if entry.uid in present and entry.ended and not self._queue.expects(key):
                self._queue.add(key)  # else it has a look to come when its workers should be gone

    def _look_at_running(self) -> None:
        """While the store is away nothing moves that would cause a look, and each run has to say so."""
        for entry in self._known.entries():
            if entry.is_under_way:
                self._queue.add((entry.namespace, entry.name))
                self._moved(entry.uid)

    async def _calmly(self, deed: Callable[[], Awaitable[None]], trouble: str) -> bool:
        """Whether it went well. Nothing that goes wrong in a loop may end the operator, a mistake of ours neither."""
        try:
            await deed()
        except Exception as error:
            logger.warning(trouble, error=str(error), exc_info=None if isinstance(error, BatchJobError) else error)
            return False
        return True

    def _add(self, key: ObjectKey) -> None:
        now = time.monotonic()
        last = self._looked_at.get(key, float("-inf"))
        # A look that is to come is asked for again: its timer may be gone, for a look for another reason ends it.
        due = last if last > now else max(now, last + SAME_RUN_SECONDS)
        self._looked_at[key] = due
        self._queue.add_after(key, due - now)
