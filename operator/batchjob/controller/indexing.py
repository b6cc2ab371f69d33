"""Keeping the index of BatchJobs in the store: the leader's.

What a BatchJob is listed as changes with a picture of it that is new (of the watch, or what a write of ours returned),
and goes with it; some of that together is one call, and none where a row is as it was. When the lead begins, after an
error, and where the index bears another mark than the one left last (the store was lost, or its last second, or
somebody else wrote), all rows are put again, in steps that leave room for others, and those of BatchJobs that are gone
are removed: rows that are as they should be cost the store a look each.
"""

import asyncio
import secrets
from contextlib import suppress
from itertools import chain, islice
from typing import Final

from batchjob import log
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.relist import Relist
from batchjob.core.rows import JobRow
from batchjob.errors import BatchJobError
from batchjob.store import Store

BATCH: Final = 100  # rows a call: 14 ms of the store, where all of them are new
BETWEEN_SECONDS: Final = 0.03  # calls: what changes meanwhile goes together, and the store serves others
PAGE: Final = 1000  # rows that are compared with what there is
CHECK_SECONDS: Final = 5.0  # where nothing changes
PAUSE_SECONDS: Final = 2.0  # after an error

logger = log.get(__name__)


class Indexing:
    """Keeps the index while `lead` runs."""

    def __init__(self, store: Store, known: KnownBatchJobs, relist: Relist) -> None:
        self._store = store
        self._known = known
        self._relist = relist
        self._leads = False
        self._due: dict[str, str] = {}  # uid by the id of a row that has changed
        self._again: dict[str, str] = {}  # and of one that may not be as it should, which waits for those
        self._moved = asyncio.Event()
        self._mark: str | None = None  # as we left it; None: not since all was to be put again
        self._left = 0  # marks so far
        self._is_compared = False  # rows of what is gone were looked for

    def moved(self, row: JobRow) -> None:
        """A BatchJob is listed as this now, or is gone."""
        if self._leads:
            self._due[row.id] = row.uid
            self._moved.set()

    async def lead(self) -> None:
        """Keep the index, for ever. Nothing that goes wrong here may end the operator."""
        self._leads, me = True, secrets.token_hex(6)
        try:
            self._begin_anew()
            while True:
                try:
                    await self._step(me)
                except Exception as error:
                    expected = isinstance(error, BatchJobError)
                    logger.warning("the index cannot be kept", error=str(error), exc_info=None if expected else error)
                    self._begin_anew()
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._leads = False
            self._due.clear()
            self._again.clear()

    def _begin_anew(self) -> None:
        self._again = {entry.row.id: entry.uid for entry in self._known.entries()}
        self._mark, self._is_compared = None, False

    async def _step(self, me: str) -> None:
        if self._due or self._again:
            await self._put(me)
        elif not self._is_compared:
            self._again = await self._strangers()
            self._is_compared = True
            return
        elif await self._is_quiet() and await self._store.index.mark() != self._mark:
            self._say_lost()
            self._begin_anew()
        await asyncio.sleep(BETWEEN_SECONDS)

    async def _put(self, me: str) -> None:
        due = islice(chain(self._due.items(), self._again.items()), BATCH)
        changes = {row_id: self._row(uid) for row_id, uid in due}
        for row_id in changes:
            self._due.pop(row_id, None)
            self._again.pop(row_id, None)
        self._left += 1
        mark = f"{me}:{self._left}"
        before = await self._store.index.keep(changes, mark)
        if self._mark is not None and before != self._mark:
            self._say_lost()
            self._begin_anew()
        self._mark = mark

    def _row(self, uid: str) -> JobRow | None:
        key = self._known.key_of(uid)
        entry = self._known.get(key) if key else None
        return entry.row if entry else None

    async def _is_quiet(self) -> bool:
        """Whether nothing changes for a while."""
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):  # wait_for of Python 3.11 swallows a cancel that comes with it
                await self._moved.wait()
        return not self._moved.is_set()

    async def _strangers(self) -> dict[str, str]:
        """The rows of BatchJobs that are gone; those of namespaces that we do not serve are not ours.

        The names are listed after the index was read, as for a sweep of the store.
        """
        found: dict[str, JobRow] = {}
        last = ""
        while page := await self._store.index.rows_after(last, PAGE):
            last = next(reversed(page))
            found |= {row_id: row for row_id, row in page.items() if row and self._known.key_of(row.uid) is None}
            await asyncio.sleep(BETWEEN_SECONDS)
        if not found:
            return {}
        there, barred = await self._relist.uids()
        return {
            row_id: row.uid
            for row_id, row in found.items()
            if row.uid not in there and row.namespace not in barred and self._relist.serves(row.namespace)
        }

    def _say_lost(self) -> None:
        logger.warning("the index is not as it was left: putting every BatchJob into it again")
