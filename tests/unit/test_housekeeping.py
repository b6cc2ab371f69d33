"""The leader's loops: what a broken call took away is found by a look at everything that runs."""

import asyncio
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.controller.housekeeping import Housekeeping
from batchjob.controller.known import KnownBatchJobs
from batchjob.errors import StoreUnavailable


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
