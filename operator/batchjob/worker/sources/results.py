"""The results of another run as a source: one record an item, with the id it had there.

First the parts that are at its destination, in the manifest's order, then what is in the store, in the order of its
source. Parts need no store: where that has forgotten the run, its manifest tells of them.
"""

from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Final

import msgspec

from batchjob.core.ranges import Ranges, format_pairs
from batchjob.errors import ResultsError, RunGone, SourceUnreachable
from batchjob.files.files import Files
from batchjob.store import RunStore
from batchjob.worker.manifest import MANIFEST, Manifest, Part, as_row, read_parts
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source

SHOWN: Final = 64  # characters about which results are missing


class ResultsSource(Source):
    """`spec.source.resultsOf`. Items that had no result (failed, cancelled, or done without one) are left out.

    So are those whose results the store lost, and these are told.
    """

    def __init__(self, parent: RunStore, name: str, open_destination: Callable[[], Files | None]) -> None:
        super().__init__()
        self._parent = parent
        self._name = name
        self._open_destination = open_destination

    async def records(self) -> AsyncIterator[list[Record]]:
        """The results, part by part, then one by one."""
        try:
            await self._parent.state()
        except RunGone:
            manifest = await self._manifest()
            self._tell_missing(manifest.missing)
            async for records in self._of_parts(manifest.parts):
                yield records
            return
        try:
            _, missing = await self._parent.origin()
            self._tell_missing(missing)
            async for records in self._of_parts(read_parts(await self._parent.sealed())):
                yield records
            async for found in self._parent.results():
                self._digest.update(found.result)
                yield [Record(found.id, as_row(found), len(found.result))]
        except RunGone:
            raise self._gone() from None

    async def _of_parts(self, parts: list[Part]) -> AsyncIterator[list[Record]]:
        if not parts:
            return
        files = self._open_destination()
        if files is None:
            raise self._gone()  # they are at a destination of which this run was not told
        for part in parts:
            lines = (await self._read(files, part)).splitlines()  # JSON has no other line breaks
            yield [Record(row["id"], row, len(line)) for line in lines for row in [msgspec.json.decode(line)]]

    async def _read(self, files: Files, part: Part) -> bytes:
        body = await self._get(files, part.name)
        if body is None or sha256(body).hexdigest() != part.sha256:
            said = "is not there any more" if body is None else "is not what was written there (its SHA-256 differs)"
            url = files.url(part.name)
            raise SourceUnreachable(f"spec.source.resultsOf: {url} {said}: run BatchJob {self._name} again", lasts=True)
        self._digest.update(body)
        return body

    def _tell_missing(self, positions: str) -> None:
        if missing := Ranges(positions):
            said = (
                f"the store lost the results of items that BatchJob {self._name} has done; their places in its source: "
            )
            self.bad.add_lost(len(missing), said + format_pairs(missing, limit=SHOWN))

    async def _manifest(self) -> Manifest:
        """What tells of the parts of a run that the store has forgotten, if it was sealed."""
        files = self._open_destination()
        body = files and await self._get(files, MANIFEST)
        if not body:
            raise self._gone()
        manifest = msgspec.json.decode(body, type=Manifest)
        if manifest.uid != self._parent.uid or not all(part.positions for part in manifest.parts):
            raise self._gone()
        return manifest

    async def _get(self, files: Files, name: str) -> bytes | None:
        try:
            return await files.get(name)
        except ResultsError as error:
            raise SourceUnreachable(str(error), lasts=error.lasts) from None

    def _gone(self) -> SourceUnreachable:
        said = f"the results of BatchJob {self._name} are not in the store any more: run it again"
        return SourceUnreachable(f"spec.source.resultsOf: {said}", lasts=True)
