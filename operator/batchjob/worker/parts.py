"""Results as parts at their destination: JSON lines of about 8 MiB, an index beside each, recorded in the store.

First the file, then its index, then one call of the store that records the part and drops its results there. A crash
in between leaves files that are not recorded: their results are still in the store and go into another part, and what
no manifest lists is removed at the end. A part is named after what it holds, so that a worker that was taken over and
does not know it yet can overwrite nothing but the same.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import msgspec

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.ranges import Ranges, format_positions
from batchjob.files.files import Files
from batchjob.store import ItemResult, RunStore, SealLease, Taken
from batchjob.store.keys import CHUNK_LIMIT
from batchjob.worker.manifest import (
    INDEX_SUFFIX,
    MANIFEST,
    PART_PREFIX,
    Manifest,
    Part,
    as_row,
    build_manifest,
    read_parts,
    write_manifest,
)
from batchjob.worker.patience import patiently
from batchjob.worker.processor import Sealed

if TYPE_CHECKING:
    from batchjob.worker.table import Table

PART_BYTES: Final = 8 * 1024 * 1024  # of results: small enough for memory, large enough for object stores
NAME_DIGITS: Final = 6
HASH_DIGITS: Final = 16  # of a part's SHA-256, in its name

logger = log.get(__name__)


class Parts:
    """The parts of a run's results, for the holder of the seal lease."""

    def __init__(self, files: Files, run: Run, lease: SealLease, table: "Table | None") -> None:
        self._files = files
        self._run = run
        self._lease = lease
        self._table = table
        self._parts: list[Part] = []
        self._source_sha256 = self._missing = ""

    @classmethod
    async def open(
        cls, files: Files, run: Run, store: RunStore, lease: SealLease, table: "Table | None" = None
    ) -> Self:
        """Go on after the parts that are recorded. `table` gets the same rows."""
        self = cls(files, run, lease, table)
        self._parts = read_parts(await patiently(store.sealed))
        self._source_sha256, self._missing = await patiently(store.origin)
        return self

    async def write(self, taken: Taken) -> None:
        """One part more. Raises ResultsError where the destination cannot be used: nothing has changed then."""
        if not taken.results:
            return
        if self._table:
            await self._table.write(taken.results)
        # In a thread: it may take 100 ms, in which the items of this worker would stand still.
        part, body = await asyncio.to_thread(encode_part, self._next_number(), taken.results)
        await self._files.put(part.name, body)
        await self._files.put(part.name + INDEX_SUFFIX, build_manifest(self._run, [part], self._source_sha256))
        await patiently(lambda: self._lease.record(part.name, msgspec.json.encode(part), taken))
        self._parts.append(part)
        logger.info("sealed a part", part=part.name, rows=part.rows, bytes=part.bytes)

    async def finish(self) -> Sealed:
        """Write what is left, and the manifest."""
        while (taken := await patiently(lambda: self._lease.take(PART_BYTES))).results:
            await self.write(taken)
        await patiently(self._lease.renew)  # a store that lost the run has nothing left either: it says so here
        return await write_manifest(self._files, self._run, self._parts, self._source_sha256, self._missing)

    def _next_number(self) -> int:
        start = len(PART_PREFIX)
        return max((int(part.name[start : start + NAME_DIGITS]) + 1 for part in self._parts), default=0)


async def batches(results: AsyncIterator[ItemResult]) -> AsyncIterator[list[ItemResult]]:
    """The same results, as many together as make a part; none is empty."""
    batch: list[ItemResult] = []
    size = 0
    async for found in results:
        if batch and (size + found.size > PART_BYTES or len(batch) >= CHUNK_LIMIT):
            yield batch
            batch, size = [], 0
        batch.append(found)
        size += found.size
    if batch:
        yield batch


def encode_part(number: int, results: list[ItemResult]) -> tuple[Part, bytes]:
    """A part of these results, which are in the order of positions, and what is in its file."""
    body = b"".join(msgspec.json.encode(as_row(found)) + b"\n" for found in results)
    sha256 = hashlib.sha256(body).hexdigest()
    name = f"{PART_PREFIX}{number:0{NAME_DIGITS}d}-{sha256[:HASH_DIGITS]}.jsonl"
    positions = format_positions((found.position for found in results), limit=sys.maxsize)
    return Part(name, len(results), len(body), sha256, positions), body


@dataclass(frozen=True)
class Kept:
    """Parts that were sealed before the store was lost, and count."""

    parts: list[Part] = field(default_factory=list)
    positions: Ranges = field(default_factory=Ranges)  # of their items
    done: Ranges = field(default_factory=Ranges)  # items that need not run again: these, and more where that does harm
    sources: frozenset[str] = frozenset()  # SHA-256 of what they were made of


async def find_kept(files: Files, run: Run) -> Kept:
    """The parts at the destination that an index or the manifest vouches for, each verified by its checksum.

    No item is in two of them: a part that was written by a worker which then crashed may overlap one that was recorded
    after it. The larger one is kept, since it is rather the one that was recorded. Items of one that is not kept run
    again, but where that does harm: an index tells that they are done, though their results are lost.
    """
    names = set(await files.names())
    has_effects = run.spec.has_effects_outside
    found: dict[str, tuple[Part, str]] = {}
    for name in sorted(names):
        if name == MANIFEST or name.endswith(INDEX_SUFFIX):
            found |= _vouched_for(run, name, await files.get(name) or b"")
    kept, taken, done, sources = list[Part](), Ranges(), Ranges(), set[str]()
    for part, source in sorted(found.values(), key=lambda one: (-one[0].rows, one[0].name)):
        positions = Ranges(part.positions)
        both = taken | positions
        is_new = len(both) == len(taken) + len(positions)
        if is_new and part.name in names and await _is_whole(files, part):
            kept.append(part)
            taken = both
        else:
            logger.warning("a part does not count", part=part.name, overlaps=not is_new, runs_again=not has_effects)
            if not has_effects:
                continue
        done |= positions
        sources.add(source)
    if kept:
        logger.info("parts were sealed before the store was lost", parts=len(kept), items=len(taken))
    return Kept(kept, taken, done, frozenset(sources))


def _vouched_for(run: Run, name: str, body: bytes) -> dict[str, tuple[Part, str]]:
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
        parts = [part for part in manifest.parts if part.rows == len(Ranges(part.positions))]
    except (msgspec.MsgspecError, ValueError) as error:
        logger.warning("an index cannot be read: its parts do not count", index=name, error=str(error))
        return {}
    return {part.name: (part, manifest.source_sha256) for part in parts if manifest.uid == run.uid and part.rows}


async def _is_whole(files: Files, part: Part) -> bool:
    body = await files.get(part.name)
    return body is not None and hashlib.sha256(body).hexdigest() == part.sha256
