"""How many BatchJobs of each queue have ended, ever: the store counts, so a restart or another leader loses nothing."""

import asyncio
from typing import Final

from batchjob import log
from batchjob.errors import BatchJobError
from batchjob.store import Store

READ_SECONDS: Final = 5.0

logger = log.get(__name__)


class Totals:
    """What the store last said; the leader's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: dict[tuple[str, str], int] | None = None

    async def keep_reading(self) -> None:
        """Read every few seconds, for ever."""
        while True:
            try:
                await self.read()
            except BatchJobError as error:
                logger.warning("totals cannot be read", error=str(error))
            await asyncio.sleep(READ_SECONDS)

    async def read(self) -> None:
        """Read now."""
        self._counts = await self._store.history.totals()

    def of(self, queue: str, phase: str) -> int | None:
        """BatchJobs of a queue that ended in a phase; None before the store has told.

        A counter that began at 0 and leapt would be a rate to Prometheus.
        """
        return None if self._counts is None else self._counts.get((queue, phase), 0)
