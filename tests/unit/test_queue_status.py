"""The status of BatchQueues, while they change under the operator's hands."""

from typing import Any
from unittest.mock import AsyncMock

import pytest

from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.queue_status import QueueStatus
from batchjob.controller.queues import Queues
from batchjob.core.admission import Claim
from batchjob.errors import Conflict, Forbidden, KubernetesError, NotFound


def queue(name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "generation": 1, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec}


@pytest.fixture
def queues() -> Queues:
    found = Queues(lambda _: None)
    for name in ("a", "b"):
        found.seen(queue(name, maxActiveJobs=1), False)
    return found


def writer(kube: AsyncMock, queues: Queues) -> QueueStatus:
    return QueueStatus(kube, queues, KnownBatchJobs(), lambda _: None)


async def test_what_the_watch_told_while_a_status_was_written_is_not_undone_by_the_answer(queues: Queues) -> None:
    async def patch(_: Any, __: None, name: str, change: dict[str, Any], **___: Any) -> dict[str, Any]:
        queues.seen(queue("a", 3, maxActiveJobs=7), False)
        queues.seen(queue("b"), True)
        return queue(name, 2, maxActiveJobs=1) | change

    await writer(AsyncMock(patch=AsyncMock(side_effect=patch)), queues).write()
    spec = queues.spec("a")
    assert spec
    assert (spec.max_active_jobs, queues.spec("b")) == (7, None)


async def test_the_batchjobs_of_a_queue_that_rules_no_more_are_looked_at(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchjob.controller.queues.PARTING_SECONDS", 0)
    known, looked_at = KnownBatchJobs(), list[tuple[str, str]]()
    for name, kind in (("mail", "email"), ("other", "custom")):
        spec = {"type": kind, kind: {}, "source": {"items": []}}
        metadata = {"namespace": "team", "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
        known.seen({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
    status = QueueStatus(AsyncMock(), queues, known, looked_at.append)
    queues.seen(queue("email", paused=True), False)
    await status.write()
    assert looked_at == []
    queues.seen(queue("email", paused=True), True)
    await status.write()
    assert looked_at == [("team", "mail")]


async def test_a_queue_in_which_something_waits_and_nothing_moves_costs_no_write(queues: Queues) -> None:
    for uid in ("runs", "waits", "waits-longer"):
        queues.place("a", uid, Claim(5, f"2026-01-01T00:00:{len(uid):02}Z", uid, "owner", 1))
    kube = AsyncMock()
    await writer(kube, queues).write()
    [told] = [call.args[3]["status"] for call in kube.patch.await_args_list if call.args[2] == "a"]
    assert (told["waiting"], told["oldestWaitingSince"]) == (2, "2026-01-01T00:00:05Z")
    for name in ("a", "b"):
        [change] = [call.args[3] for call in kube.patch.await_args_list if call.args[2] == name]
        queues.seen(queue(name, 2, maxActiveJobs=1) | change, False)
    kube.patch.reset_mock()
    for _ in range(3):
        await writer(kube, queues).write()
    assert kube.patch.await_count == 0


@pytest.mark.parametrize("error", [NotFound, Conflict, Forbidden])
async def test_a_queue_that_cannot_be_told_keeps_no_other_from_being_told(
    queues: Queues, error: type[KubernetesError]
) -> None:
    kube = AsyncMock()
    kube.patch.side_effect = [error("no"), {}]
    await writer(kube, queues).write()
    assert [call.args[2] for call in kube.patch.await_args_list] == ["a", "b"]
