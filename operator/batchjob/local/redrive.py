"""Dead letters of an earlier run as the items of another: with the data they had, whatever the source holds now."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from batchjob.api.run import Run
from batchjob.core.items import LEASE_MS
from batchjob.errors import RunGone
from batchjob.local.output import Letter
from batchjob.store import Store
from batchjob.worker.load import fill
from batchjob.worker.patience import kept
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source


class Letters(Source):
    """Dead letters as a source."""

    def __init__(self, letters: Sequence[Letter]) -> None:
        super().__init__()
        self._letters = letters

    async def records(self) -> AsyncIterator[list[Record]]:
        """The items in the order of the file."""
        for letter in self._letters:
            self._digest.update(msgspec.json.encode([letter.id, letter.data]))
            yield [Record(letter.id, msgspec.json.decode(letter.data), len(letter.data))]


async def load_letters(store: Store, run: Run, letters: Sequence[Letter]) -> None:
    """Load the items of an earlier run, as a worker would load the source, before there is a worker."""
    lease = await store.run(run.uid, "batchjob-run").claim_load()
    if lease is None:
        raise RunGone("the store lost the run while it was made")
    async with kept(lease, LEASE_MS / 3000):
        await fill(lease, Letters(letters), run.spec.parallelism, _part_items(run))


def _part_items(run: Run) -> int | None:
    """Items of a part of an export, which are loaded together."""
    export = run.spec.export
    return None if export is None else 1 if run.spec.has_ranges else export.part_rows(of_ranges=False)
