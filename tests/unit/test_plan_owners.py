"""A run reads another one only where both belong to the same owner."""

from dataclasses import replace

import pytest

from batchjob.api.status import ConditionType
from batchjob.controller import actions as do
from batchjob.controller.known import build_entry
from batchjob.controller.observed import Parent
from tests.support.plan_world import World, condition, kinds

PARENT = Parent("p-uid", "custom", ended=True, complete=True)


def reader(owner: str | None, parent: Parent, way: str = "resultsOf") -> World:
    return World(spec={"owner": owner, "source": {way: {"batchJobName": "parent"}}}, parent=parent)


@pytest.mark.parametrize("way", ["resultsOf", "redriveOf"])
@pytest.mark.parametrize(("theirs", "ours"), [("bob", "alice"), ("bob", None), (None, "alice")])
def test_a_run_of_another_owner_is_not_read(way: str, theirs: str | None, ours: str | None) -> None:
    plan = reader(ours, replace(PARENT, owner=theirs), way).look()
    status, reason, message = condition(plan.status, ConditionType.STALLED)
    assert (plan.actions, status, reason) == ((), "True", "NotAllowed")
    assert f"belongs to {theirs or 'nobody'} and this one to {ours or 'nobody'}" in message


@pytest.mark.parametrize("owner", ["alice", None])
def test_runs_of_one_owner_and_runs_without_one_read_each_other(owner: str | None) -> None:
    plan = reader(owner, replace(PARENT, owner=owner)).look()
    assert kinds(plan) == [do.OpenRun, do.Admit, do.CreateJob]


def test_a_run_that_was_not_allowed_starts_once_there_is_one_of_its_owner_under_that_name() -> None:
    world = reader("alice", replace(PARENT, owner="bob"))
    world.look()
    world.parent = replace(PARENT, owner="alice")
    assert kinds(world.look()) == [do.OpenRun, do.Admit, do.CreateJob]


def test_a_namesake_of_another_owner_is_not_read_by_a_run_that_has_begun() -> None:
    world = reader("alice", replace(PARENT, owner="alice"))
    world.look()
    world.has_user = world.has_secret = False
    world.parent = replace(PARENT, uid="another", owner="bob")
    (admit,) = world.look().actions
    assert isinstance(admit, do.Admit)
    assert admit.run.parent_uid is None


@pytest.mark.parametrize(("spec", "owner"), [({"owner": "alice"}, "alice"), ({}, None)])
def test_the_owner_of_a_batch_job_is_known_after_its_end(spec: dict[str, str], owner: str | None) -> None:
    metadata = {"namespace": "team", "name": "a", "uid": "u", "resourceVersion": "5", "generation": 1}
    entry = build_entry({"metadata": metadata, "spec": spec, "status": {"phase": "Failed", "observedGeneration": 1}})
    assert (entry.body, entry.owner) == (None, owner)
