"""The dead letters of another run as a source: each item as it was, under its own id, for another try."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from batchjob.api.source import RedriveFilter, RedriveOf
from batchjob.errors import InvalidSource, RunGone, SourceUnreachable
from batchjob.store import DeadLetter, RunStore
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source

_SHOWN: Final = 10  # ids in a message


class RedriveSource(Source):
    """`spec.source.redriveOf`. No dead letter at all is an empty source; an id that is none is a mistake."""

    def __init__(self, parent: RunStore, place: RedriveOf) -> None:
        super().__init__()
        self._parent = parent
        self._name = place.batch_job_name
        self._filter = place.filter or RedriveFilter()
        self._ids = frozenset(self._filter.item_ids or ())

    async def records(self) -> AsyncIterator[list[Record]]:
        """The dead letters that the filter takes, in the order of the parent's source."""
        missing = dict.fromkeys(self._filter.item_ids or ())
        try:
            async for letter in self._parent.dead_letters():
                if self._takes(letter):
                    missing.pop(letter.id, None)
                    self._digest.update(letter.id.encode() + b"\n" + letter.data)
                    yield [Record(letter.id, msgspec.json.decode(letter.data), len(letter.data))]
        except RunGone:
            said = f"the dead letters of BatchJob {self._name} are not in the store (any more): read its source again"
            raise SourceUnreachable(f"spec.source.redriveOf: {said}", lasts=True) from None
        if missing:
            raise InvalidSource(f"spec.source.redriveOf.filter.itemIds: {self._complaint(list(missing))}")

    def _takes(self, letter: DeadLetter) -> bool:
        classes = self._filter.error_class
        return (not classes or letter.error_class in classes) and (not self._ids or letter.id in self._ids)

    def _complaint(self, missing: list[str]) -> str:
        named = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        of = " of these error classes" if self._filter.error_class else ""
        return f"BatchJob {self._name} has no dead letter{of} of these items: {named}"
