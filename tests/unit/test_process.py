"""The operator's parts put together: who looks at BatchJobs, and who stands by."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.api.defaults import effective
from batchjob.api.run import Run
from batchjob.controller.process import Operator
from batchjob.controller.settings import Settings
from batchjob.kube import Access, Listing
from tests.support.plan_world import batch_job

A, B = ("team", "a"), ("team", "b")


def body(name: str) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": name, "uid": f"u-{name}", "resourceVersion": "5", "generation": 1}
    return {"metadata": metadata, "spec": {"type": "noop"}}


def job(owner_uid: str) -> dict[str, Any]:
    owners = [{"controller": True, "uid": owner_uid}]
    return {"metadata": {"namespace": "team", "name": "job", "ownerReferences": owners}}


@pytest.fixture
def operator() -> Operator:
    """Its copies are filled; there are BatchJobs `a` and `b`, of which `b` has been deleted at last."""
    settings = Settings(store_url="redis://localhost/0", worker_image="worker:1")
    kube = AsyncMock()
    kube.list.return_value = Listing([body("a")], "10")
    made = Operator(settings, Access("http://127.0.0.1"), kube, AsyncMock(), AsyncMock())
    made._jobs.synced.set()
    made._batch_queues.synced.set()
    return made


def hear(operator: Operator) -> None:
    """What the watches tell; each time it is another `b`."""
    b = body("b")
    b["metadata"]["uid"] = str(uuid.uuid4())
    for one in (body("a"), b):
        operator._batch_job_moved("ADDED", one)
        operator._job_moved(job(one["metadata"]["uid"]), False)
    operator._batch_job_moved("DELETED", b)
    operator._schedules._moved(body("nightly"), False)


async def test_what_is_remembered_for_telling_people_goes_with_the_batch_job(operator: Operator) -> None:
    operator._leads = True
    operator._batch_job_moved("ADDED", body("a"))
    operator._live._moved.clear()
    operator._live._records["u-a"] = Mock()
    operator._batch_job_moved("DELETED", body("a"))
    assert await operator._live._pass()
    assert (operator._live._records, operator._live._moved) == ({}, {})


async def test_a_standby_collects_no_keys_and_a_leader_begins_with_all(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(operator)
    assert not any(operator._queue.expects(key) for key in (A, B))
    assert not operator._schedules._queue.expects(("team", "nightly"))
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


async def test_who_leads_no_longer_forgets_what_another_may_change(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = batch_job().spec
    run = Run(uid="u1", namespace="team", name="run", epoch="e1", spec=spec, effective=effective(spec))

    hear(operator)
    entry = operator._known.get(A)
    assert entry

    async def keep_house() -> None:
        await operator._users.admit(run)
        operator._reconciler._memory(entry)
        assert operator._users.have_told(run.uid, run.rate_limits)
        assert operator._reconciler._memories

    monkeypatch.setattr(operator, "_keep_house", keep_house)
    await operator._lead()
    assert not operator._users.have_told(run.uid, run.rate_limits)
    assert not operator._reconciler._memories


async def test_when_the_clock_jumps_a_leader_looks_at_all_that_may_wait_for_a_time(operator: Operator) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    notices = [{"deliveries": [{"nextAttemptTime": f"{due:%Y-%m-%dT%H:%M:%SZ}"}]}]
    ended = body("b") | {"status": {"phase": "Succeeded", "observedGeneration": 1, "notifications": notices}}
    operator._batch_job_moved("ADDED", body("a"))
    operator._batch_job_moved("ADDED", ended)
    operator._schedules._schedules._apply("ADDED", body("nightly"))
    operator._clock_jumped()
    assert not operator._queue.expects(A), "it stands by"
    operator._leads, operator._schedules._last_words = True, {}
    operator._clock_jumped()
    assert operator._schedules._queue.expects(("team", "nightly"))
    assert [operator._queue.expects(key) for key in (A, B)] == [True, False]
    assert operator._outbox._queue.expects(B)
    operator._outbox._queue.clear()
