"""What all sources are: a stream of records with unique ids, read once, and a checksum of what was read."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from batchjob.api.run import SourceLimits
from batchjob.api.source import OnBadItem
from batchjob.errors import SourceTooLarge
from batchjob.worker.sources.records import BadItems, Record


class Bound:
    """Counts what was read against what the queue allows."""

    def __init__(self, limits: SourceLimits, queue: str) -> None:
        self._limits = limits
        self._queue = queue
        self._items = self._bytes = 0

    def count(self, records: Sequence[Record]) -> None:
        """Raises SourceTooLarge as soon as it is."""
        self._items += len(records)
        self._bytes += sum(record.size for record in records)
        for what, counted, limit in (
            ("items", self._items, self._limits.max_items),
            ("bytes", self._bytes, self._limits.max_payload_bytes),
        ):
            if limit is not None and counted > limit:
                raise SourceTooLarge(
                    f"the source has more than {limit} {what}, which is what BatchQueue {self._queue} allows "
                    "(BatchQueue, spec.limits): split it, or ask who runs the queue"
                )


class Source(ABC):
    """A source to be read once, from its beginning."""

    def __init__(self, on_bad_item: OnBadItem = OnBadItem.FAIL) -> None:
        self.etag: str | None = None
        self.bad = BadItems(on_bad_item)
        self.bound: Bound | None = None  # what its queue allows
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read, in hex."""
        return self._digest.hexdigest()

    @abstractmethod
    def records(self) -> AsyncIterator[list[Record]]:
        """The records in order, those together that come together: a step of an async generator costs.

        Raises:
            InvalidSource: the source is wrong; the message names the place.
            SourceUnreachable: it cannot be read now; the message names the place.
        """
