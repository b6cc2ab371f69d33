"""The operator's parts put together: who looks at BatchJobs, and who stands by."""

from typing import Any
from unittest.mock import AsyncMock

import pytest

from batchjob.controller.process import Operator
from batchjob.controller.settings import Settings
from batchjob.kube import Access, Listing

A, B = ("team", "a"), ("team", "b")


def body(name: str) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "5", "generation": 1}
    return {"metadata": metadata, "spec": {"type": "noop"}}


def job(name: str) -> dict[str, Any]:
    owners = [{"controller": True, "uid": f"u-{name}"}]
    return {"metadata": {"namespace": "team", "name": f"{name}-1", "ownerReferences": owners}}


@pytest.fixture
def operator() -> Operator:
    """Its copies are filled; there are BatchJobs `a` and `b`, of which `b` has been deleted at last."""
    settings = Settings(store_url="redis://localhost/0", worker_image="worker:1")
    kube = AsyncMock()
    kube.list.return_value = Listing([body("a")], "10")
    made = Operator(settings, Access("http://127.0.0.1"), kube, kube, AsyncMock())
    made._jobs.synced.set()
    made._batch_queues.synced.set()
    return made


def hear(operator: Operator) -> None:
    """What the watches tell."""
    for name in "ab":
        operator._batch_job_moved("ADDED", body(name))
        operator._job_moved(job(name), False)
    operator._batch_job_moved("DELETED", body("b"))


async def test_a_standby_collects_no_keys_and_a_leader_begins_with_all(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(operator)
    assert not any(operator._queue.expects(key) for key in (A, B))
    assert operator._known.all_keys() == [A], "what is gone is tidied up by whoever leads"
    seen: list[bool] = []

    async def keep_house() -> None:
        seen.extend(operator._queue.expects(key) for key in (A, B))
        hear(operator)
        seen.extend(operator._queue.expects(key) for key in (A, B))

    monkeypatch.setattr(operator, "_keep_house", keep_house)
    await operator._lead()
    assert seen == [True, False, True, True]
    assert not operator._queue.expects(A), "it leads no longer"
    assert operator._known.all_keys() == [A, B], "left to tidy up, should it lead again"
    seen.clear()
    await operator._lead()
    assert seen[:2] == [True, True]
    hear(operator)
    assert not operator._queue.expects(A)
