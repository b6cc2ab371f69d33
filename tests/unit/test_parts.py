"""Parts of results: what their files say, and which of them count once the store is lost."""

import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.ranges import Ranges
from batchjob.errors import ResultsError
from batchjob.files.files import Files
from batchjob.store import ItemResult
from batchjob.worker.manifest import INDEX_SUFFIX, MANIFEST, Part, build_manifest, write_manifest
from batchjob.worker.parts import encode_part, find_kept

SPEC = BatchJobSpec.model_validate(
    {"type": "custom", "custom": {"processor": "noop"}, "source": {"resultsOf": {"batchJobName": "other"}}}
)
RUN = Run(uid="uid-1", namespace="team", name="job", epoch="e", spec=SPEC, effective=effective(SPEC))


class Memory(Files):
    """A destination in memory."""

    def __init__(self) -> None:
        super().__init__("mem://out", "spec.results.destination")
        self.kept: dict[str, bytes] = {}
        self.done: list[str] = []  # names, in the order in which they were written or removed

    async def put(self, name: str, body: bytes) -> None:
        self.kept[name] = body
        self.done.append(name)

    async def write(self, name: str, pieces: AsyncIterable[bytes], size: int = 0) -> None:
        del size
        await self.put(name, b"".join([piece async for piece in pieces]))

    async def get(self, name: str) -> bytes | None:
        return self.kept.get(name)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        if name not in self.kept:
            raise ResultsError(f"{self.url(name)} does not exist")
        for place in range(0, len(self.kept[name]), 5):
            yield self.kept[name][place : place + 5]

    async def names(self) -> list[str]:
        return sorted(self.kept)

    async def delete(self, name: str) -> None:
        del self.kept[name]
        self.done.append(name)


def results(*positions: int) -> list[ItemResult]:
    return [ItemResult(position, f"i{position}", b'{"n":%d}' % position) for position in positions]


async def add(files: Memory, number: int, *positions: int, run: Run = RUN, source: str = "s") -> Part:
    """A part with its index, as a worker writes it."""
    part, body = encode_part(number, results(*positions))
    await files.put(part.name, body)
    await files.put(part.name + INDEX_SUFFIX, build_manifest(run, [part], source))
    return part


def test_a_part_is_named_after_what_it_holds_and_names_the_positions_of_its_rows() -> None:
    part, body = encode_part(7, results(3, 4, 9))
    assert [json.loads(line) for line in body.splitlines()] == [{"id": f"i{n}", "n": n} for n in (3, 4, 9)]
    assert (part.name, part.positions) == (f"part-000007-{part.sha256[:16]}.jsonl", "3-4,9")
    other, _ = encode_part(7, results(3, 4))
    assert other.name != part.name, "a worker that was taken over overwrites nothing"


async def test_parts_with_an_index_count_with_their_items_and_their_source() -> None:
    files = Memory()
    first, second = await add(files, 0, 0, 1, 2), await add(files, 1, 5)
    kept = await find_kept(files, RUN)
    assert (kept.parts, list(kept.positions), set(kept.sources)) == ([first, second], [(0, 2), (5, 5)], {"s"})


async def test_of_two_parts_with_the_same_item_the_larger_one_counts() -> None:
    files = Memory()
    await add(files, 0, 0, 1)
    recorded = await add(files, 0, 0, 1, 2)
    await add(files, 1, 2, 3)
    kept = await find_kept(files, RUN)
    assert (kept.parts, list(kept.positions)) == ([recorded], [(0, 2)])


@pytest.mark.parametrize(
    "index",
    [b"", b"{", b"[]", b'{"batchJob":"job"}', b'{"batchJob":"job","uid":"uid-1","rows":1,"bytes":1,"parts":[{}]}'],
)
async def test_an_index_that_makes_no_sense_vouches_for_nothing(index: bytes) -> None:
    files = Memory()
    part = await add(files, 0, 0, 1)
    files.kept[part.name + INDEX_SUFFIX] = index
    assert (await find_kept(files, RUN)).parts == []


@pytest.mark.parametrize("positions", ["0", "0-2", "nonsense", ""])
async def test_an_index_that_names_other_positions_than_it_has_rows_vouches_for_nothing(positions: str) -> None:
    files = Memory()
    part = await add(files, 0, 0, 1)
    index: Any = json.loads(files.kept[part.name + INDEX_SUFFIX])
    index["parts"][0]["positions"] = positions
    files.kept[part.name + INDEX_SUFFIX] = json.dumps(index).encode()
    assert (await find_kept(files, RUN)).parts == []


async def test_parts_of_another_run_do_not_count() -> None:
    files = Memory()
    await add(files, 0, 0, 1, run=RUN.model_copy(update={"uid": "uid-2"}))
    assert (await find_kept(files, RUN)).parts == []


async def test_the_manifest_vouches_for_parts_when_their_indexes_are_gone_and_not_before_it_is_written() -> None:
    files = Memory()
    listed, orphan = await add(files, 0, 0, 1), await add(files, 0, 0)
    files.done.clear()
    await write_manifest(files, RUN, [listed], "s")
    indexes = {part.name + INDEX_SUFFIX for part in (listed, orphan)}
    assert files.done[:2] == [orphan.name, MANIFEST]
    assert set(files.done[2:]) == indexes
    assert sorted(files.kept) == sorted([MANIFEST, listed.name])
    kept = await find_kept(files, RUN)
    assert (kept.parts, set(kept.sources)) == ([listed], {"s"})


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_ranges_together_name_what_either_names(some: set[int], others: set[int]) -> None:
    both = Ranges(",".join(map(str, sorted(some)))) | Ranges(",".join(map(str, sorted(others))))
    assert {position for first, last in both for position in range(first, last + 1)} == some | others
    assert len(both) == len(some | others)
    assert all(last + 1 < first for (_, last), (first, _) in zip(both, list(both)[1:], strict=False))
