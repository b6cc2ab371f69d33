"""A clock that is set is noticed, and what waits by it is looked at again."""

import asyncio
from contextlib import suppress

import pytest

from batchjob.controller import clock


async def jumps(monkeypatch: pytest.MonkeyPatch, *ahead: float) -> list[float]:
    """How far ahead of timers the clock was each time that somebody was told, where it was so far at each look."""
    told: list[float] = []
    looks = iter(ahead)
    now = [next(looks)]

    async def pass_time(_: float) -> None:
        try:
            now[0] = next(looks)
        except StopIteration:
            raise asyncio.CancelledError from None

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    with suppress(asyncio.CancelledError):
        await clock.notice_jumps(lambda: told.append(now[0]), lambda: now[0])
    return told


async def test_each_jump_is_told_once_forward_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await jumps(monkeypatch, 7, 7, 3607, 3607, 3607, 7, 7) == [3607, 7]


async def test_a_clock_that_is_only_kept_right_is_no_jump_until_that_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await jumps(monkeypatch, 0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4) == [1.2, 2.4]
