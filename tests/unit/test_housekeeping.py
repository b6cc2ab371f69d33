"""The leader's loops: what a broken call took away is found by a look at everything that runs."""

import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.controller.housekeeping import Housekeeping
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.workqueue import Workqueue
from batchjob.errors import StoreUnavailable
from batchjob.metrics import REGISTRIES, Process

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
    running, ended = Mock(namespace="team", is_under_way=True), Mock(namespace="team", is_under_way=False)
    running.name, ended.name = "running", "ended"
    known, queue = Mock(spec=KnownBatchJobs), Mock()
    known.entries.return_value = [running, ended]
    looked = asyncio.Event()
    queue.add.side_effect = lambda _: looked.set()
    store = AsyncMock()
    store.changed = Script(StoreUnavailable("away"), StoreUnavailable("away"), [], [])
    loop = asyncio.create_task(Housekeeping(store, Mock(), known, Mock(), queue, Mock(), Mock()).follow_changes())
    await asyncio.wait_for(looked.wait(), 5)
    await asyncio.sleep(0)
    loop.cancel()
    queue.add.assert_called_once_with(("team", "running"))


async def test_metrics_say_whether_the_store_answers_and_how_much_memory_it_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("batchjob.controller.housekeeping.PAUSE_SECONDS", 0)
    told: list[float] = []
    enough = asyncio.Event()

    def hear(value: float) -> None:
        told.append(value)
        if len(told) == 3:
            enough.set()

    monkeypatch.setattr("batchjob.controller.housekeeping.STORE_UP", Mock(set=hear))
    known, store = Mock(spec=KnownBatchJobs), AsyncMock()
    known.entries.return_value = []
    store.changed = Script([], StoreUnavailable("away"), [])
    store.memory.return_value = (300, 400)
    keeping = Housekeeping(store, Mock(), known, Mock(), Mock(), Mock(), Mock())
    loop = asyncio.create_task(keeping.follow_changes())
    await asyncio.wait_for(enough.wait(), 5)
    loop.cancel()
    assert told == [1, 0, 1]
    await keeping._measure_store()
    value = REGISTRIES[Process.OPERATOR].get_sample_value
    assert [value(f"batchjob_store_memory_{name}bytes") for name in ("", "limit_")] == [300, 400]


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
    loop = asyncio.create_task(Housekeeping(Mock(), users, known, Mock(), queue, Mock(), Mock()).keep_users(60))
    await asyncio.wait_for(looked.wait(), 5)
    await asyncio.sleep(0)
    loop.cancel()
    queue.add.assert_called_once_with(("team", "left"))


async def test_a_run_that_moves_again_after_a_look_for_another_reason_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("batchjob.controller.housekeeping.time", Mock(monotonic=lambda: clock.seconds))
    known, store, key = Mock(spec=KnownBatchJobs), AsyncMock(), ("team", "running")
    known.key_of.return_value, store.changed.return_value = key, ["uid"]
    queue: Workqueue[tuple[str, str]] = Workqueue()
    house = Housekeeping(store, Mock(), known, Mock(), queue, Mock(), Mock())
    look = AsyncMock()
    work = asyncio.create_task(queue.work(look, 1))

    async def looked(times: int) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        assert look.await_count == times

    await house._look_at_changes()
    await looked(1)
    clock.seconds += 0.1
    await house._look_at_changes()
    assert queue.expects(key), "at most once a second"
    queue.add(key)  # its Job moved
    await looked(2)
    assert not queue.expects(key), "that look was the one to come"
    clock.seconds += 0.5
    await house._look_at_changes()
    assert queue.expects(key)
    work.cancel()


async def test_runs_of_a_namespace_whose_batch_jobs_cannot_be_listed_are_not_swept() -> None:
    owners = {"orphan": "team/x", "barred": "away/y", "foreign": "other/z"}
    known, store, users, relist = Mock(spec=KnownBatchJobs), AsyncMock(), AsyncMock(), AsyncMock()
    known.entries.return_value = []
    store.runs.return_value = {uid: {b"key"} for uid in [*owners, "there", "nameless"]}
    store.created_for.side_effect = owners.get
    relist.uids.return_value = {"there"}, {"away"}
    relist.serves = {"team", "away"}.__contains__
    house = Housekeeping(store, users, known, relist, Mock(), Mock(), Mock())
    await house.sweep()
    store.delete_run.assert_awaited_once_with("orphan", {b"key"})
    relist.uids.return_value = {"there", "barred"}, set[str]()
    await house.sweep()
    assert [call.args[0] for call in store.delete_run.await_args_list if call.args[0] != "orphan"] == ["nameless"]
