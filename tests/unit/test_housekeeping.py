"""The leader's loops: what a broken call took away is found by a look at everything that runs."""

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.controller.housekeeping import Housekeeping
from batchjob.controller.known import KnownBatchJobs
from batchjob.errors import StoreUnavailable

NAMES = ("running", "left", "expected", "tidied")


class Script:
    """Answers of the store's changes, one a call; the last call waits for ever."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = list(answers)

    async def __call__(self, _: float) -> list[str]:
        if not self._answers:
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_every_run_is_looked_at_once_the_store_is_back_since_changes_may_be_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batchjob.controller.housekeeping.PAUSE_SECONDS", 0)
    running, ended = Mock(namespace="team", needs_user=True), Mock(namespace="team", needs_user=False)
    running.name, ended.name = "running", "ended"
    known, queue = Mock(spec=KnownBatchJobs), Mock()
    known.entries.return_value = [running, ended]
    looked = asyncio.Event()
    queue.add.side_effect = lambda _: looked.set()
    store = AsyncMock()
    store.changed = Script(StoreUnavailable("away"), StoreUnavailable("away"), [], [])
    loop = asyncio.create_task(Housekeeping(store, Mock(), known, Mock(), queue, Mock()).follow_changes())
    await asyncio.wait_for(looked.wait(), 5)
    await asyncio.sleep(0)
    loop.cancel()
    queue.add.assert_called_once_with(("team", "running"))


async def test_one_that_has_ended_is_looked_at_for_its_user_unless_a_look_is_to_come_anyway() -> None:
    entries = [Mock(namespace="team", uid=name, ended=name != "running", needs_user=False) for name in NAMES]
    for entry in entries:
        entry.name = entry.uid
    known, queue, users = Mock(spec=KnownBatchJobs), Mock(), AsyncMock()
    known.entries.return_value = entries
    users.refresh.return_value = {"running", "left", "expected"}
    queue.expects.side_effect = lambda key: key == ("team", "expected")
    looked = asyncio.Event()
    queue.add.side_effect = lambda _: looked.set()
    loop = asyncio.create_task(Housekeeping(Mock(), users, known, Mock(), queue, Mock()).keep_users(60))
    await asyncio.wait_for(looked.wait(), 5)
    await asyncio.sleep(0)
    loop.cancel()
    queue.add.assert_called_once_with(("team", "left"))
