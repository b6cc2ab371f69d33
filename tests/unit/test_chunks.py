"""How items travel: the size of a chunk, how many a worker leases, what ends a chunk."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.core.chunks import LARGEST, chunk_size, smoothed, to_lease
from batchjob.worker.load import PUT_BYTES, chunks
from batchjob.worker.sources.records import Record


@given(st.integers(0, 100_000), st.integers(1, 1000))
def test_a_small_source_gives_every_worker_a_share(total: int, parallelism: int) -> None:
    size = chunk_size(total, parallelism)
    assert 1 <= size <= LARGEST
    assert size == LARGEST or size * parallelism * 4 >= total


@given(st.integers(0, 10_000), st.integers(0, 4096))
def test_a_worker_that_holds_nothing_ahead_leases_two_seconds_of_work(pace: int, reach: int) -> None:
    assert to_lease(pace, reach, 0) == max(2 * reach, min(2 * pace, LARGEST))


@given(st.integers(0, 10_000), st.integers(0, 4096), st.integers(0, 10_000))
def test_a_worker_fills_up_when_half_of_what_it_leased_is_gone(pace: int, reach: int, held: int) -> None:
    full = to_lease(pace, reach, 0)
    assert to_lease(pace, reach, held) == (full - held if held <= full // 2 else 0)


def test_slots_without_items_are_filled_before_anything_is_known_of_the_pace() -> None:
    assert to_lease(0, 0, -8) == 8


def test_four_slow_items_that_finish_together_do_not_look_like_a_fast_run() -> None:
    pace = smoothed(0, 4, 0.05)
    assert pace < 4
    assert smoothed(pace, 0, 10) < 0.1


@given(st.floats(0.1, 1e5))
def test_a_steady_pace_is_known_after_some_seconds(pace: float) -> None:
    known = 0.0
    for _ in range(100):
        known = smoothed(known, round(pace * 10), 10)
    assert known == pytest.approx(round(pace * 10) / 10)


async def records(positions: Iterable[int], size: int = 10) -> Any:
    placed = iter([(n, Record(f"i{n}", {"n": n}, size)) for n in positions])
    while some := list(islice(placed, 3)):
        yield some


async def sizes(count: int, parallelism: int, items: int | None = None, size: int = 10) -> list[int]:
    found = [chunk async for chunk in chunks(records(range(count), size), parallelism, items)]
    assert [item.position for chunk, _ in found for item in chunk] == list(range(count))
    assert [weight for _, weight in found] == [len(chunk) * size for chunk, _ in found]
    return [len(chunk) for chunk, _ in found]


async def test_chunks_fit_the_source_the_processor_and_the_weight_of_the_records() -> None:
    assert await sizes(10, parallelism=2) == [2, 2, 2, 2, 2]
    assert set(await sizes(10 * LARGEST, parallelism=2)) == {LARGEST}
    assert await sizes(250, parallelism=2, items=100) == [100, 100, 50]
    assert await sizes(6, parallelism=1, items=100, size=PUT_BYTES // 2) == [2, 2, 2]
    assert await sizes(0, parallelism=1) == []


async def test_a_gap_between_positions_ends_a_chunk() -> None:
    found = [chunk async for chunk in chunks(records([2, 3, 7, 8, 9, 20]), 1, 100)]
    assert [[item.position for item in chunk] for chunk, _ in found] == [[2, 3], [7, 8, 9], [20]]
