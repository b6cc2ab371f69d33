"""What is loaded already of a source that is read again: skipped, once it is known to be the same. Pure.

Where items are processed while the source is read, those that a lost loader put are kept. The checksum is one of items
in their order, not of bytes: how they were grouped, and which bad records lay between them, may differ.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from batchjob.core.items import Item
from batchjob.errors import SourceChanged
from batchjob.worker.sources.records import Record

CHANGED: Final = (
    "the source is not what it was when the run began, so which of its items are done cannot be told. Create "
    "a BatchJob with the items that are still to be done"
)


class Prefix:
    """The items of a source so far: first those that the store has, then those that are put."""

    def __init__(self, reached: tuple[int, str] | None) -> None:
        """`reached`: items that the store has, and their mark; None where it keeps nothing, so that none is needed."""
        self._left, self._mark = reached or (0, "")
        self._digest = None if reached is None else hashlib.sha256()

    def skip(self, records: Sequence[Record]) -> int:
        """How many of the next records are in the store. Raises SourceChanged where it has others."""
        known = min(self._left, len(records))
        if known:
            self._left -= known
            for record in records[:known]:
                self._add(record.id, record.data)
            if not self._left and self._hex != self._mark:
                raise SourceChanged(CHANGED)
        return known

    def end(self) -> None:
        """The source ends here. Raises SourceChanged where the store has more."""
        if self._left:
            raise SourceChanged(CHANGED)

    def extend(self, chunks: Sequence[Sequence[Item]]) -> str:
        """The mark once these are in the store too."""
        if self._digest is not None:
            for chunk in chunks:
                for item in chunk:
                    self._add(item.id, item.data)
        return self._hex

    @property
    def _hex(self) -> str:
        return "" if self._digest is None else self._digest.hexdigest()

    def _add(self, item_id: str, data: dict[str, Any]) -> None:
        if self._digest is not None:
            self._digest.update(msgspec.json.encode([item_id, data]))
