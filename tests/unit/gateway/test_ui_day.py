"""What ended in the last day, for the overview: read once for all who look, and no more of it than they may see."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from batchjob.gateway.ui.day import KEPT_SECONDS, Day
from batchjob.gateway.ui.views_queues import HOURS


class History:
    """Two runs of alice's and one of bob's, an hour before `now`."""

    def __init__(self) -> None:
        self.now, self.reads = 1_000_000.0, 0

    async def read(self, _since: float, until: float) -> AsyncIterator[Any]:
        self.reads += 1
        for owner, phase in (("alice", "Succeeded"), ("bob", "Failed"), ("alice", "Failed")):
            await asyncio.sleep(0)
            yield SimpleNamespace(owner=owner, queue="q", phase=phase, ended=until - 3600)


def hours(ended: int) -> tuple[int, ...]:
    return (0,) * (HOURS - 2) + (ended, 0)


async def test_all_who_look_at_once_and_soon_after_have_it_read_once() -> None:
    history = History()
    store: Any = SimpleNamespace(history=history)
    day = Day(lambda: history.now)
    everybody, alices, bobs, nobodys = await asyncio.gather(
        *(day.ended(store, owner) for owner in (None, "alice", "bob", "carol"))
    )
    assert everybody == {"q": (hours(3), 2)}
    assert (alices, bobs, nobodys) == ({"q": (hours(2), 1)}, {"q": (hours(1), 1)}, {})
    history.now += KEPT_SECONDS - 0.1
    assert await day.ended(store, None) == everybody
    assert history.reads == 1
    history.now += 0.1
    await day.ended(store, "alice")
    assert history.reads == 2
