"""The seal lease: one worker seals the results into parts at their destination, and in the end closes the run.

With a destination the lease may be had while the run is open: `take` reads the results that were committed first,
`record` says that they are at the destination and drops them here, in one step.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec

from batchjob.core.ranges import position_pairs
from batchjob.store import scripts
from batchjob.store.connection import answered
from batchjob.store.duty import Duty
from batchjob.store.keys import CHUNK_LIMIT, run_key
from batchjob.store.results import BATCH, read_result
from batchjob.store.snapshot import ItemResult

MOST_ROWS: Final = CHUNK_LIMIT  # of one `take`: what one script call can move without keeping others waiting


class Unsealed(NamedTuple):
    """What waits to be sealed."""

    bytes: int
    limit: int  # above it nothing is granted; 0: none

    @property
    def is_over_limit(self) -> bool:
        """Whether the run stands still until some of it is sealed."""
        return 0 < self.limit < self.bytes


class Taken(NamedTuple):
    """Results to seal, by position; `entries` is what they cover of the order in which they were committed."""

    results: list[ItemResult]
    entries: int


class SealLease(Duty):
    """The right to seal, for `lease_ms` after each call. Errors: LeaseLost when another worker took over."""

    kind = "seal"

    async def unsealed(self) -> Unsealed:
        """How much waits to be sealed."""
        meta = run_key(self._uid, "meta")
        size, limit = await self._connection.command("HMGET", meta, "result_bytes", "results_limit")
        return Unsealed(int(size or 0), int(limit or 0))

    async def take(self, most_bytes: int) -> Taken:
        """The results that were committed first, up to `most_bytes` and 10,000, or those of one commit."""
        results: list[ItemResult] = []
        covered = 0
        # Of the range of a commit, results of others are taken too: these commits have none left then.
        while not results and (entries := await self._entries(covered)):
            positions, some = _choose(entries, most_bytes)
            covered += some
            results = await self._read(positions)
        return Taken(results, covered)

    async def _entries(self, start: int) -> list[bytes]:
        command = ("LRANGE", run_key(self._uid, "unsealed"), start, start + MOST_ROWS - 1)
        entries: list[bytes] = await self._connection.command(*command)
        return entries

    async def _read(self, positions: list[int]) -> list[ItemResult]:
        """Those of the positions that have a result."""
        key = run_key(self._uid, "results")
        pages = [positions[start : start + BATCH] for start in range(0, len(positions), BATCH)]
        answers = await self._connection.commands([("HMGET", key, *page) for page in pages])
        found = [packed for answer in answers for packed in answered(answer)]
        # In a thread: it may take 50 ms, in which the items of this worker would stand still.
        return await asyncio.to_thread(_unpack, positions, found)

    async def record(self, name: str, part: bytes, taken: Taken) -> None:
        """What was taken is at the destination, described by `part` (JSON): keep that, and drop the results here."""
        pairs = position_pairs(found.position for found in taken.results)
        ranges = msgspec.msgpack.encode([position for pair in pairs for position in pair])
        size = sum(found.size for found in taken.results)
        await self._call(scripts.SEAL_PART, self._token, name, part, size, taken.entries, ranges)

    async def finish(self, results_uri: str | None, manifest_sha256: str | None) -> None:
        """Close the run; both None where the results stay in the store."""
        await self._call(scripts.SEAL_FINISH, self._token, results_uri or "", manifest_sha256 or "")


def _unpack(positions: list[int], found: list[bytes | None]) -> list[ItemResult]:
    return [read_result(place, packed) for place, packed in zip(positions, found, strict=True) if packed is not None]


def _choose(entries: list[bytes], most_bytes: int) -> tuple[list[int], int]:
    """The positions of the first entries (`first-last/bytes`) that are not too many together, and how many they are."""
    positions: set[int] = set()
    size = 0
    for covered, entry in enumerate(entries):
        bounds, _, weight = entry.partition(b"/")
        first, _, last = bounds.partition(b"-")
        size += int(weight)
        if covered and (size > most_bytes or len(positions) + int(last) - int(first) >= MOST_ROWS):
            return sorted(positions), covered
        positions.update(range(int(first), int(last) + 1))
    return sorted(positions), len(entries)
