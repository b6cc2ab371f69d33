"""What the operator decides while the store is away, when it has forgotten a run, or says what makes no sense."""

from dataclasses import replace
from typing import Any

import pytest

from batchjob.api.queue import BatchQueueSpec
from batchjob.api.status import ConditionType, Phase
from batchjob.controller import actions as do
from batchjob.controller.observed import RATE_WINDOW_SECONDS, Trouble
from batchjob.controller.obstacles import plan_obstructed
from batchjob.controller.plan import make_plan
from batchjob.core.deadline import active_seconds
from batchjob.core.items import Before, RunRules, RunState
from batchjob.core.reasons import Reason
from tests.support.plan_world import SETTINGS, World, condition, kinds, snapshot, started

EXPORT = {"type": "export", "custom": None, "export": {"destination": {"url": "file:///data/out"}}}


def test_a_silent_store_clobbers_nothing_and_is_said_after_a_while() -> None:
    world = started()
    world.work(succeeded=3)
    world.settle()
    before = world.status
    world.is_store_silent = True
    plan = make_plan(replace(world.observe(), store_silent_seconds=10.0), SETTINGS)
    assert (plan.actions, plan.status, plan.back_off) == ((), None, True)
    plan = world.look()
    assert plan.status
    assert before
    assert plan.status.model_copy(update={"conditions": []}) == before.model_copy(update={"conditions": []})
    assert condition(plan.status, ConditionType.RECONCILING)[:2] == ("False", "StoreUnavailable")
    world.is_store_silent = False
    assert condition(world.look().status, ConditionType.RECONCILING)[2] == "", "what is over is not said any more"


def test_a_pause_does_not_wait_for_a_silent_store() -> None:
    world = started()
    world.is_store_silent = True
    world.edit(suspend=True)
    assert kinds(world.look()) == [do.SetSlots]
    child = world.child()
    assert child
    assert child.suspended
    assert world.status
    assert world.status.phase is Phase.SUSPENDED
    again = world.plan()
    assert (again.actions, again.status, again.back_off) == ((), None, True)
    world.is_store_silent = False
    assert kinds(world.look()) == [do.PauseRun]


def test_a_pause_while_the_store_is_silent_writes_nothing_of_kueues() -> None:
    """It would let the Job go on, and we would suspend it again, for as long as the store is away."""
    world = started()
    [(name, child)] = world.jobs.items()
    world.jobs[name] = replace(child, kueue="gpus")
    world.is_store_silent = True
    world.edit(suspend=True)
    assert kinds(world.plan()) == [do.DeleteJob]


def test_a_new_batch_job_is_acknowledged_while_the_store_is_away() -> None:
    plan = World(is_store_silent=True).plan()
    assert plan.status
    assert plan.status.phase is Phase.PENDING
    assert condition(plan.status, ConditionType.RECONCILING)[:2] == ("True", "StoreUnavailable")


def lost_with_effects() -> World:
    """A run of ten items that mails, say, of which four had succeeded and one failed when the store was lost."""
    world = started()
    world.work(succeeded=4, failed=1)
    world.certain = [(0, 2), (6, 6)]
    world.pass_time(10)
    world.settle()
    world.run, world.certain = None, None
    return world


def test_a_lost_run_with_effects_outside_is_held_until_somebody_decides() -> None:
    world = lost_with_effects()
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    status, reason, message = condition(plan.status, ConditionType.SUSPENDED)
    assert (status, reason) == ("True", "StoreLost")
    assert message.startswith("The store lost this run. 4 of 10 items are certain to be done; any of the other 6 may")
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "StoreLost")
    assert plan.status
    assert plan.status.counts.succeeded == 4, "what was known stays"
    world.pass_time(60)
    assert world.look() == do.Plan(), "a clock that goes on is no news"


def test_a_run_that_is_lost_while_it_is_loaded_says_that_its_items_are_not_known() -> None:
    world = started()
    world.run = snapshot(RunState.LOADING, None, counts={"succeeded": 7, "waiting": 1})
    world.pass_time(10)
    world.settle()
    world.run = None
    _, reason, message = condition(world.look().status, ConditionType.SUSPENDED)
    assert reason == "StoreLost"
    assert "Its source was not read to the end. 0 items are certain to be done; any of the others may" in message


def test_a_run_that_begins_again_is_loaded_whole_before_its_items_are_claimed() -> None:
    world = started(**EXPORT, source={"items": [{"id": "a", "data": {}}], "onBadItem": "skip"})
    world.run = None
    opened = next(action for action in world.look().actions if isinstance(action, do.OpenRun))
    assert (opened.epoch, opened.rules.early) == ("e2", False)


@pytest.mark.parametrize("steps", [1, 2, 3, None])
def test_a_held_run_goes_on_with_what_is_not_certain_once_there_is_a_new_token(steps: int | None) -> None:
    world = lost_with_effects()
    world.settle()
    world.edit(resumeToken="go")
    plan = world.look(crash_after=steps)
    opened = plan.actions[0]
    assert isinstance(opened, do.OpenRun)
    assert opened.before == Before("0-2,6", 0, 1, "")
    world.settle()
    assert world.status
    assert (world.status.phase, world.status.resume_token, len(world.jobs)) == (Phase.RUNNING, "go", 1)
    world.run = None
    assert condition(world.look().status, ConditionType.SUSPENDED)[1] == "StoreLost", "a token is good for one loss"


def test_a_token_that_was_there_before_the_loss_decides_nothing() -> None:
    world = started(resumeToken="old")
    world.run = None
    assert condition(world.look().status, ConditionType.SUSPENDED)[1] == "StoreLost"


def test_a_token_that_came_while_a_lost_run_was_suspended_or_obstructed_is_not_used_up() -> None:
    world = lost_with_effects()
    world.settle()
    world.edit(suspend=True, resumeToken="go")
    world.settle()
    world.status = plan_obstructed(world.observe(), Trouble(Reason.STORE_FULL, "full"), SETTINGS.pace).status
    world.edit(suspend=False)
    assert do.CreateJob in kinds(world.look())


def test_one_that_stood_in_line_again_and_meets_an_obstacle_uses_up_no_time_of_its_deadline() -> None:
    world = started(activeDeadlineSeconds=3600)
    world.pass_time(60)
    world.edit(suspend=True)
    world.settle()
    world.jobs.clear()
    world.queue = BatchQueueSpec(paused=True)
    world.edit(suspend=False)
    world.settle()
    assert world.status
    assert (world.status.phase, world.status.active_seconds) == (Phase.QUEUED, 60)
    world.queue = BatchQueueSpec()
    world.pass_time(1)
    world.status = plan_obstructed(world.observe(), Trouble(Reason.REFUSED, "no quota"), SETTINGS.pace).status
    assert world.status
    assert (world.status.phase, world.status.active_seconds) == (Phase.SUSPENDED, 60)
    world.pass_time(7200)
    world.settle()
    assert (world.status.phase, world.status.active_seconds) == (Phase.RUNNING, 60)
    world.pass_time(10)
    assert active_seconds(world.status, world.now) == 70


def test_what_does_not_move_any_more_is_looked_at_until_its_rate_says_so_and_then_no_more() -> None:
    world = started()
    [(name, child)] = world.jobs.items()
    world.jobs[name] = replace(child, ready=1, active=1)
    world.work(succeeded=3)
    world.rate = 5.0
    world.pass_time(60)
    assert world.look().again_seconds == RATE_WINDOW_SECONDS
    assert world.status
    assert world.status.rate == "5.0/s"
    world.rate = 0.0
    world.pass_time(RATE_WINDOW_SECONDS)
    assert world.look().again_seconds == SETTINGS.pace.max_seconds - RATE_WINDOW_SECONDS
    world.pass_time(SETTINGS.pace.max_seconds - RATE_WINDOW_SECONDS)
    assert world.look().again_seconds is None
    assert world.status.rate == "0.00/s"


def test_a_run_that_is_lost_again_while_it_loads_still_knows_what_is_certain() -> None:
    world = lost_with_effects()
    world.settle()
    world.edit(resumeToken="go")
    world.settle()
    world.run = None
    world.edit(resumeToken="again")
    opened = world.look().actions[1]
    assert isinstance(opened, do.OpenRun)
    assert opened.before.done == "0-2,6"


def test_results_that_the_store_lost_are_told_once_and_again_at_the_end() -> None:
    world = lost_with_effects()
    world.settle()
    world.edit(resumeToken="go")
    world.settle()
    world.run = snapshot(epoch="e2", counts={"succeeded": 4, "waiting": 6}, missing_results=3)
    plan = world.look()
    said = "The store lost the results of 3 items that are done."
    assert [(note.type, note.reason, note.message) for note in plan.notes] == [("Warning", "StoreLost", said)]
    assert plan.status
    assert plan.status.results
    assert (plan.status.results.missing, plan.status.results.uri) == (3, None)
    world.pass_time(60)
    world.run = snapshot(epoch="e2", counts={"succeeded": 5, "waiting": 5}, missing_results=3)
    assert world.look().notes == (), "it is no news any more"
    world.run = snapshot(RunState.CLOSED, epoch="e2", counts={"succeeded": 10}, missing_results=3)
    status = world.look().status
    assert condition(status, ConditionType.COMPLETE)[2] == f"10 items succeeded. {said}"
    assert status
    assert status.results
    assert status.results.missing == 3


def test_a_held_run_can_be_cancelled() -> None:
    world = lost_with_effects()
    world.settle()
    world.edit(cancel=True)
    assert condition(world.look().status, ConditionType.FAILED)[1] == "Cancelled"


@pytest.mark.parametrize(("spec", "edit"), [({}, {"cancel": True}), ({"activeDeadlineSeconds": 60}, {})])
def test_every_item_of_a_lost_run_that_ends_has_ended(spec: dict[str, Any], edit: dict[str, Any]) -> None:
    world = started(**spec)
    world.run = snapshot(epoch="e1", counts={"succeeded": 3, "active": 4, "waiting": 2, "delayed": 1})
    world.pass_time(30)
    world.settle()
    world.run = None
    world.edit(**edit)
    world.pass_time(60)
    plan = world.look()
    assert plan.status
    assert plan.record
    assert plan.status.counts.model_dump(exclude_defaults=True) == {"total": 10, "succeeded": 3, "cancelled": 7}
    assert plan.record.cancelled == 7


def test_a_lost_run_without_effects_outside_begins_again_in_another_epoch() -> None:
    world = started(**EXPORT)
    world.work(succeeded=2)
    world.pass_time(10)
    world.settle()
    assert world.status
    assert (world.status.progress, world.status.percent) == ("2/10", "20%")
    world.run = None
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob, do.OpenRun, do.Admit, do.CreateJob]
    assert plan.status
    assert (plan.status.store_epoch, plan.status.jobs_created) == ("e2", 2)
    assert (plan.status.progress, plan.status.percent) == ("0/?", "")
    assert [note.reason for note in plan.notes] == ["StoreLost"]
    again = do.OpenRun("e2", 3, Before(repeats=2), RunRules(limit_bytes=2**28))
    assert plan.actions[1] == again, "every item runs again, and those are counted"
    assert world.settle() == 1


def test_a_lost_run_with_a_destination_begins_again_and_says_what_is_repeated() -> None:
    ai = {"formSchema": {"fields": [{"name": "a", "type": "string"}]}, "model": {"name": "m"}, "instructions": "x"}
    place = {"destination": {"url": "s3://b/out"}}
    world = started(type="ai-batch", custom=None, aiBatch=ai, results=place)
    world.work(succeeded=2)
    world.pass_time(10)
    world.settle()
    world.run = None
    plan = world.look()
    assert plan.actions[1] == do.OpenRun("e2", 3, Before(repeats=2), RunRules(have_destination=True, limit_bytes=2**28))
    [note] = plan.notes
    assert (
        note.message == "The store lost this run: every item without a result at spec.results.destination runs again."
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_rebuild_that_was_interrupted_is_finished_with_one_new_job(steps: int) -> None:
    world = started(**EXPORT)
    world.run = None
    world.look(crash_after=steps)
    world.settle()
    (job,) = world.jobs.values()
    assert world.status
    assert world.status.store_epoch == job.epoch == "e2"


def test_a_run_that_the_store_lost_while_it_was_suspended_begins_again_when_it_is_resumed() -> None:
    world = World(spec={"type": "export", "custom": None, "export": {"destination": {"url": "s3://b/out"}}})
    world.look()
    world.edit(suspend=True)
    world.look()
    world.run = None
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    assert world.status
    assert world.status.phase is Phase.SUSPENDED
    world.pass_time(60)
    assert world.look() == do.Plan(), "a clock that goes on is no news"
    world.edit(suspend=False)
    assert do.CreateJob in kinds(world.look())


def test_what_makes_no_sense_in_the_store_stalls_and_can_be_cancelled() -> None:
    world = started()
    world.run = None
    seen = replace(world.observe(), damage="the store's memory of the run is damaged")
    plan = make_plan(seen, SETTINGS)
    assert (plan.actions, plan.back_off) == ((), True)
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "StoreDamaged")
    world.status = plan.status
    world.pass_time(60)
    again = make_plan(replace(world.observe(), damage="the store's memory of the run is damaged"), SETTINGS)
    assert again == do.Plan(back_off=True), "a clock that goes on is no news"
    world.edit(cancel=True)
    plan = make_plan(replace(world.observe(), damage="still"), SETTINGS)
    assert condition(plan.status, ConditionType.FAILED)[1] == "Cancelled"


def test_a_run_that_the_store_knows_in_another_epoch_is_lost_too() -> None:
    world = started()
    world.run = snapshot(epoch="somebody else's")
    assert condition(world.look().status, ConditionType.SUSPENDED)[1] == "StoreLost"
