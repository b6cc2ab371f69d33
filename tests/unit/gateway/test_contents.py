"""Pages of items: what is read for one is bounded, whatever the records hold."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import chain
from types import SimpleNamespace
from typing import Any, Final

import pytest
from starlette.types import Message

from batchjob.gateway import contents
from batchjob.gateway.causes import AT_ONCE
from batchjob.gateway.places import Places
from batchjob.gateway.problems import Problem
from batchjob.store import DeadLetter, ItemResult

SCOPE: Final = {"type": "http", "asgi": {"spec_version": "2.3"}}
LONG: Final = b'"' + b"x" * 1_000_000 + b'"'


class Store:
    """60 items, each failed and with a result; of the long ones, so many bytes were read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = list[int]()
        self.read = 0

    async def dead_letters(self, _: str, limit: int, cursor: int = 0) -> list[DeadLetter]:
        self.asked.append(limit)
        found = range(cursor, 60)[:limit]
        self.read += len(self.data) * len(found)
        return [DeadLetter(at, f"i{at}", "timeout", "no answer", 1, 0, self.data, 0) for at in found]

    async def results(self, _: str, first: int, end: int) -> AsyncGenerator[ItemResult]:
        for at in range(first, min(end, 60)):
            self.read += len(self.data)
            yield ItemResult(at, f"i{at}", self.data)


async def pages(store: Store, limit: int, *, failed: bool) -> list[list[int]]:
    found, cursor = list[list[int]](), 0
    doors: Any = SimpleNamespace(store=store)
    following: int | None = 0
    while following is not None:
        store.read, cursor = 0, following
        if failed:
            shown, following = await contents.read_failed(doors, "u", None, cursor, limit)
        else:
            shown, stop = await contents.read_succeeded(doors, "u", cursor, limit)
            following = stop if stop < 60 else None
        assert store.read <= contents.PAGE_BYTES + AT_ONCE * len(store.data)
        found.append([one["position"] for one in shown])
    return found


@pytest.mark.parametrize("failed", [True, False])
async def test_long_records_make_short_pages_and_none_is_left_out(*, failed: bool) -> None:
    store = Store(LONG)
    found = await pages(store, 500, failed=failed)
    assert [*chain.from_iterable(found)] == [*range(60)]
    assert len(found) > 2
    assert max(store.asked, default=0) <= AT_ONCE


@pytest.mark.parametrize("failed", [True, False])
async def test_short_records_fill_a_page(*, failed: bool) -> None:
    assert await pages(Store(b"{}"), 40, failed=failed) == [[*range(40)], [*range(40, 60)]]


async def test_who_takes_results_too_slowly_is_cut_off_and_leaves_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SEND_SECONDS", 0.05)
    places, sent = Places(2, "downloads"), list[Message]()

    async def lines() -> AsyncGenerator[bytes]:
        while True:
            yield LONG

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > 3:  # its buffers are full
            with pytest.raises(Problem, match="Other downloads are under way"), places.take("alice"):
                pytest.fail("half of two is one")
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await contents.Download(lines(), places.take("alice"), {})(SCOPE, receive, send)
    assert [message.get("more_body") for message in sent] == [None, True, True, True], "no word of an end"
    with places.take("alice"), places.take("bob"), pytest.raises(Problem), places.take("carol"):
        pytest.fail("there are two")
