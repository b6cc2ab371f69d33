"""The results of another run as a source: one record an item, with the id it had there."""

from collections.abc import AsyncIterator

from batchjob.errors import RunGone, SourceUnreachable
from batchjob.store import RunStore
from batchjob.worker.manifest import as_row
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source


class ResultsSource(Source):
    """`spec.source.resultsOf`. Items that had no result (failed, cancelled, or done without one) are left out."""

    def __init__(self, parent: RunStore, name: str) -> None:
        super().__init__()
        self._parent = parent
        self._name = name

    async def records(self) -> AsyncIterator[list[Record]]:
        """The results in the order of the parent's source."""
        try:
            async for found in self._parent.results():
                self._digest.update(found.result)
                yield [Record(found.id, as_row(found), len(found.result))]
        except RunGone:
            said = f"the results of BatchJob {self._name} are not in the store any more: run it again"
            raise SourceUnreachable(f"spec.source.resultsOf: {said}", lasts=True) from None
