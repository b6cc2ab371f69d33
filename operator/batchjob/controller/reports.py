"""The figures of a report: made by the operator, which alone may read the records of runs, and put into the run.

They are there before its first pod starts, so a worker of a report has no more rights than any other.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from batchjob.api.blocks.report import ReportScope
from batchjob.api.status import Phase
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.status import seconds_since
from batchjob.core.figures import Reckoning, Waiting, Wanted
from batchjob.core.records import owner_key
from batchjob.store import Store


class Reports:
    """Puts figures into runs."""

    def __init__(self, store: Store, known: KnownBatchJobs) -> None:
        self._store = store
        self._known = known

    async def prepare(self, uid: str, wanted: Wanted) -> None:
        """Make the figures and put them into the run; where they are there already, they stay. Errors: StoreError."""
        is_about_all = wanted.scope == ReportScope.ALL
        history = self._store.history
        owner = None if is_about_all else owner_key(wanted.namespace, wanted.owner)
        reckoning = Reckoning(wanted, await history.begins())
        async for record in history.read(wanted.before, wanted.until, owner):
            reckoning.add(record)

        def concerns(entry: Entry) -> bool:
            return is_about_all or (entry.namespace, entry.owner) == (wanted.namespace, wanted.owner)

        waiting = self._waiting(concerns, uid)
        await self._store.put_figures(uid, reckoning.figures(waiting))

    def _waiting(self, concerns: Callable[[Entry], bool], uid: str) -> dict[str, Waiting]:
        """By queue, the BatchJobs that wait for their turn; not the report itself."""
        now, found = datetime.now(UTC), dict[str, Waiting]()
        for entry in self._known.entries():
            if entry.phase == Phase.QUEUED and entry.position and entry.uid != uid and concerns(entry):
                seconds = max(0.0, seconds_since(entry.created, now) or 0.0)
                line = found.get(entry.queue, Waiting())
                found[entry.queue] = Waiting(line.number + 1, max(seconds, line.oldest_seconds or 0.0))
        return found
