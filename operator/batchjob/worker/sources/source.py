"""What all sources are: a stream of records with unique ids, read once, and a checksum of what was read."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from batchjob.api.source import OnBadItem
from batchjob.worker.sources.records import BadItems, Record


class Source(ABC):
    """A source to be read once, from its beginning."""

    def __init__(self, on_bad_item: OnBadItem = OnBadItem.FAIL) -> None:
        self.etag: str | None = None
        self.bad = BadItems(on_bad_item)
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
