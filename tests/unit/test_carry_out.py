"""Carrying out: the run's Secret has the items of the manifest, which nothing else here keeps."""

from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from batchjob.api.run import Run
from batchjob.controller.actions import Admit, Plan
from batchjob.controller.carry_out import CarryOut
from batchjob.controller.known import Entry, KnownBatchJobs, build_entry
from batchjob.errors import Conflict
from tests.support.plan_world import UID, World

ITEMS = [{"id": "a", "data": {"n": 1}}, {"id": "b", "json": "{}"}]


def manifest(uid: str = UID, **source: Any) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "job", "uid": uid, "resourceVersion": "1", "generation": 1}
    spec = {"type": "custom", "custom": {"processor": "noop"}, "source": {"items": ITEMS} | source}
    return {"metadata": metadata, "spec": spec}


def admit() -> Plan:
    [action] = [action for action in World().plan().actions if isinstance(action, Admit)]
    source = action.run.spec.source.model_copy(update={"items": None})
    spec = action.run.spec.model_copy(update={"source": source})
    return Plan((Admit(action.run.model_copy(update={"spec": spec})),))


async def carry_out(entry: Entry, there: dict[str, Any]) -> tuple[Run, AsyncMock]:
    """What the Secret is made of."""
    kube, users = AsyncMock(), AsyncMock()
    kube.get.return_value = there
    await CarryOut(kube, Mock(), users, Mock(), KnownBatchJobs())(entry, admit())
    run: Run = users.admit.await_args.args[0]
    return run, kube.get


async def test_the_items_are_read_again_when_the_secret_is_made() -> None:
    run, _ = await carry_out(build_entry(manifest()), manifest(idField="not ours to change"))
    assert [item.to_json() for item in run.spec.source.items or ()] == ITEMS
    assert run.spec.source.id_field == "id"


async def test_nothing_is_read_again_where_there_are_none() -> None:
    run, get = await carry_out(build_entry(manifest(items=None)), manifest())
    assert (run.spec.source.items, get.await_count) == (None, 0)


async def test_the_items_of_a_namesake_are_not_taken() -> None:
    with pytest.raises(Conflict):
        await carry_out(build_entry(manifest()), manifest(uid="another"))
