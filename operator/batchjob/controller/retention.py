"""What is not kept for ever: what BatchJobs that have ended left, and the objects that say so (`ttl…`).

A part of the leader's sweep, and no timer an object: ten thousand that have ended cost a glance at a few facts in
memory, and a walk through the store's keys only when one more has expired. What to remove follows from
`status.results.expiresAt` alone, so it can be begun again at any line; a queue that has too many that are Complete
moves that time of the oldest of them to now, which is one write, and the next steps are the same for all.

What is deleted does not come back, and a clock may be set wrong: nothing is while ours is far ahead of the store's.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from batchjob import log
from batchjob.controller.informer import Informer
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.status import format_time
from batchjob.controller.users import Users
from batchjob.core.retention import Kept, surplus
from batchjob.errors import ApiUnavailable, Conflict, KubernetesError, NotFound
from batchjob.kube import BATCH_JOBS, JOBS, Kube
from batchjob.metrics import CLOCK_AHEAD
from batchjob.store import Store

AT_ONCE: Final = 500  # writes of one sweep, some seconds' worth: those who work come first
# What was refused is tried again in so many sweeps: it is most likely refused again, and must not fill each of them.
REFUSED_SWEEPS: Final = 10
AHEAD_SECONDS: Final = 300.0  # clocks of one cluster differ by less

logger = log.get(__name__)


class Keeping:
    """Removes what is not to be kept any more; `sweep` is to be called now and then, by the leader alone."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        users: Users,
        jobs: Informer,
        known: KnownBatchJobs,
        keep_completed: Callable[[str], int],
    ) -> None:
        """`keep_completed`: of a queue's BatchJobs that are Complete, so many keep what they left."""
        self._kube = kube
        self._store = store
        self._users = users
        self._jobs = jobs
        self._known = known
        self._keep_completed = keep_completed
        self._emptied: set[str] = set()  # uids: nothing of them is left
        self._deleted: set[str] = set()  # uids: somebody's finalizer may keep the object
        self._refused: dict[tuple[str, str], int] = {}  # what of a uid: sweeps until it is due again

    async def sweep(self) -> None:
        """Remove what is due. Errors: KubernetesError, StoreError; the next sweep goes on."""
        now = datetime.now(UTC)
        ahead = (now - await self._store.now()).total_seconds()
        CLOCK_AHEAD.set(ahead)
        if ahead > AHEAD_SECONDS:
            logger.warning("the clock is ahead of the store's: nothing is deleted", seconds=round(ahead))
            return
        ended = [entry for entry in self._known.entries() if entry.body is None]
        to_go = [entry for entry in ended if entry.is_to_go(now)]
        self._deleted &= {entry.uid for entry in to_go}
        self._refused = {what: left - 1 for what, left in self._refused.items() if left > 1}
        due = [entry for entry in to_go if entry.uid not in self._deleted and not self._is_being_read(entry)]
        for entry in self._not_refused("object", due)[:AT_ONCE]:
            await self._one_of_many("object", entry, self._delete(entry))
        too_many = surplus(self._kept(ended, now), self._keep_completed)
        for entry in self._not_refused("time", too_many)[:AT_ONCE]:
            await self._one_of_many("time", entry, self._let_expire(entry, now))
        await self._empty([entry for entry in ended if entry.has_expired(now)])

    async def _empty(self, expired: list[Entry]) -> None:
        self._emptied &= {entry.uid for entry in expired}
        # Workers that have not heard of the end yet have their user until they have.
        hands_off = self._emptied | self._users.present
        due = [entry for entry in expired if entry.uid not in hands_off and not self._is_being_read(entry)]
        if not (due := self._not_refused("rest", due)):
            return
        found = await self._store.runs()
        for entry in due:
            await self._one_of_many("rest", entry, self._remove(entry, found.get(entry.uid)))

    async def _remove(self, entry: Entry, keys: set[bytes] | None) -> None:
        for job in list(self._jobs.owned_by(entry.namespace, entry.uid)):
            metadata = job["metadata"]
            await self._kube.delete(JOBS, entry.namespace, metadata["name"], uid=metadata["uid"])
        if keys:
            logger.info("removing what a BatchJob left in the store", job=f"{entry.namespace}/{entry.name}")
            await self._store.delete_run(entry.uid, keys)
        self._emptied.add(entry.uid)

    def _is_being_read(self, entry: Entry) -> bool:
        """Whether workers of another BatchJob may be in the middle of its results."""
        return any(reader.started for reader in self._known.readers((entry.namespace, entry.name)))

    def _kept(self, ended: list[Entry], now: datetime) -> Iterator[Kept[Entry]]:
        """Those that are Complete and keep what they left, and for whose results nobody waits."""
        for entry in ended:
            is_awaited = self._known.readers((entry.namespace, entry.name))
            if entry.complete and entry.end and not entry.has_expired(now) and not is_awaited:
                yield Kept(entry.queue, entry.namespace, entry.owner, entry.end.timestamp(), entry)

    async def _let_expire(self, entry: Entry, now: datetime) -> None:
        change = {"status": {"results": {"expiresAt": format_time(now)}}}
        try:
            body = await self._kube.patch(
                BATCH_JOBS,
                entry.namespace,
                entry.name,
                change,
                subresource="status",
                resource_version=str(entry.version),
            )
        except (Conflict, NotFound):
            return  # it has changed, and so may have the order
        self._known.seen(body)

    async def _delete(self, entry: Entry) -> None:
        logger.info("deleting a BatchJob that has ended", job=f"{entry.namespace}/{entry.name}")
        only = {"uid": entry.uid, "resourceVersion": str(entry.version)}
        if await self._kube.delete(BATCH_JOBS, entry.namespace, entry.name, **only):
            self._deleted.add(entry.uid)  # else it has changed, and is looked at as it is now

    def _not_refused(self, what: str, entries: Iterable[Entry]) -> list[Entry]:
        return [entry for entry in entries if (what, entry.uid) not in self._refused]

    async def _one_of_many(self, what: str, entry: Entry, deed: Awaitable[None]) -> None:
        """What is refused for one must not keep the others from it; a server that is away does."""
        try:
            await deed
        except ApiUnavailable:
            raise
        except KubernetesError as error:
            self._refused[what, entry.uid] = REFUSED_SWEEPS
            logger.warning("refused", job=f"{entry.namespace}/{entry.name}", error=str(error))
