"""What the policies make of a run: held, ended early, successful all the same; and how long it is kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from batchjob.api.policies import SuccessPolicy
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.status import ConditionType, Phase
from batchjob.controller import actions as do
from batchjob.controller.ending import judge
from batchjob.controller.observed import Parent
from batchjob.controller.plan import claim_of
from batchjob.core.breaker import Trip, breaker_of, describe, read_trip
from batchjob.core.cost import with_cost
from batchjob.core.items import RunState
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import LastError
from tests.support.plan_world import World, condition, kinds, snapshot, started

BREAKER = {"maxFailedPercent": 20, "minItems": 5}
FAIL = BREAKER | {"action": "Fail"}


def tripped(**spec: object) -> World:
    """A run of ten items of which three failed, which was too much."""
    world = started(**{"failurePolicy": BREAKER} | spec)
    world.work(succeeded=1, failed=3)
    world.trip()
    return world


# ---- the circuit breaker -------------------------------------------------------------------------------


def test_without_a_failure_policy_nothing_is_said_to_the_store() -> None:
    for policy in (None, {}, {"windowItems": 7}):
        assert breaker_of(World(spec={"failurePolicy": policy}).observe().job.spec) == ""
    assert do.SetBreaker not in kinds(World(spec={"failurePolicy": {"windowItems": 50}}).look())


def test_the_store_knows_the_breaker_before_the_first_pod_starts() -> None:
    plan = World(spec={"failurePolicy": BREAKER}).look()
    assert kinds(plan) == [do.OpenRun, do.SetBreaker, do.Admit, do.CreateJob]
    assert plan.actions[1] == do.SetBreaker("20/100/5")


def test_a_policy_that_changes_while_the_run_goes_on_is_told_once() -> None:
    world = started()
    world.edit(failurePolicy=BREAKER)
    assert world.look().actions == (do.SetBreaker("20/100/5"),)
    assert kinds(world.look()) == []
    world.edit(failurePolicy=None)
    assert world.look().actions == (do.SetBreaker(""),)


def test_a_run_that_tripped_is_held_without_pods_and_says_why_and_what_to_do() -> None:
    world = tripped()
    plan = world.look()
    assert kinds(plan) == [do.SetSlots]
    assert not plan.back_off, "an event tells of a decision"
    child = world.child()
    assert child
    assert child.suspended
    status, reason, message = condition(plan.status, ConditionType.SUSPENDED)
    assert (status, reason) == ("True", "FailureThreshold")
    assert message == (
        "3 of the last 10 items failed, which is 30%; spec.failurePolicy.maxFailedPercent allowed 20. Most often: "
        "upstream (1 of the last 1 that failed). Mend the cause, then set spec.resumeToken to any new text to go on "
        "with what is left, or spec.cancel to end it. What has failed stays failed: a BatchJob with source.redriveOf "
        "tries it again."
    )
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "FailureThreshold")
    assert [(note.type, note.reason) for note in plan.notes] == [("Warning", "FailureThreshold")]
    world.pass_time(3600)
    assert world.look() == do.Plan(), "a clock that goes on is no news"


@pytest.mark.parametrize("steps", [0, 1, 2, None])
def test_a_new_token_lets_a_held_run_go_on_and_is_good_for_one_trip(steps: int | None) -> None:
    world = tripped()
    world.settle()
    world.edit(resumeToken="go")
    plan = world.look(crash_after=steps)
    assert plan.actions[0] == do.ResumeRun("go")
    if not steps:
        world.settle()
    world.trip()  # again; where an operator died in the middle, before the next one has looked
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "FailureThreshold"
    world.edit(resumeToken="go on")
    world.settle()
    assert world.status
    assert (world.status.phase, world.status.resume_token) == (Phase.RUNNING, "go on")


def test_a_token_from_before_the_trip_decides_nothing() -> None:
    world = tripped(resumeToken="old")
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "FailureThreshold"


def test_a_token_that_came_while_a_held_run_was_suspended_is_not_used_up() -> None:
    world = tripped()
    world.settle()
    world.edit(suspend=True, resumeToken="go")
    world.settle()
    world.edit(suspend=False)
    world.settle()
    assert world.status
    assert world.status.phase is Phase.RUNNING


def test_neither_the_end_of_a_pause_nor_a_milder_policy_lets_a_held_run_go_on() -> None:
    world = tripped()
    world.edit(suspend=True)
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "SuspendedByUser"
    world.edit(suspend=False, failurePolicy=None)
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "FailureThreshold"
    assert world.run
    assert world.run.paused


def test_a_held_run_whose_job_is_gone_gets_none_until_it_goes_on() -> None:
    world = tripped()
    world.settle()
    world.jobs.clear()
    world.settle()
    assert world.jobs == {}
    world.edit(resumeToken="go")
    assert kinds(world.look()) == [do.ResumeRun, do.CreateJob]


def test_a_held_run_that_the_store_loses_is_still_held_and_then_begins_again() -> None:
    export = {"type": "export", "custom": None, "export": {"destination": {"url": "file:///data/out"}}}
    world = tripped(**export)
    world.settle()
    world.run = None
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "FailureThreshold"
    world.edit(resumeToken="go")
    assert do.OpenRun in kinds(world.look())


def test_a_held_run_can_be_cancelled() -> None:
    world = tripped()
    world.settle()
    world.edit(cancel=True)
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1] == "Cancelled"


def test_action_fail_lets_what_is_in_flight_end_and_cancels_the_rest() -> None:
    world = tripped(failurePolicy=FAIL)
    run = world.run
    assert run
    world.run = snapshot(paused=True, tripped=run.tripped, breaker=run.breaker, counts={"active": 2, "failed": 8})
    assert world.plan() == do.Plan(again_seconds=1)
    world.pass_time(30)
    assert kinds(world.plan()) == [do.FailRun], "the grace period of their pods is over"
    world.now -= timedelta(hours=3)
    assert kinds(world.plan()) == [do.FailRun], "clocks that differ do not make it wait for ever"
    world.run = run
    assert kinds(world.look()) == [do.FailRun]
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    assert plan.status
    assert (plan.status.phase, plan.status.counts.cancelled, plan.status.counts.failed) == (Phase.FAILED, 6, 3)
    assert condition(plan.status, ConditionType.FAILED)[1] == "FailureThreshold"


def test_a_held_run_ends_when_the_action_becomes_fail() -> None:
    world = tripped()
    world.settle()
    world.edit(failurePolicy=FAIL)
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1] == "FailureThreshold"


def test_the_commonest_error_class_is_named() -> None:
    trip = Trip(30, 100, 20, datetime(2026, 1, 1, tzinfo=UTC))
    assert describe(trip, ["timeout", "upstream", "upstream"]).endswith(
        "Most often: upstream (2 of the last 3 that failed)."
    )
    assert describe(trip, []).endswith("allowed 20.")
    assert "which is 20.5%" in describe(Trip(41, 200, 20, trip.at), [])


@pytest.mark.parametrize(
    "text", ["", "3/10/20", "tokens 3/2", "tokens 3/2/x", "3/0/20/5", "a/b/c/d", f"1/1/1/{10**40}", f"1/1/1/{10**400}"]
)
def test_a_trip_that_makes_no_sense_is_damage_and_nothing_worse(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what snapshot.py turns into StoreDamaged
        read_trip(text)


# ---- the budget ----------------------------------------------------------------------------------------

MODEL = {"name": "m", "baseUrl": "http://model/v1"}
ANNOTATE = {"instructions": "i", "formSchema": {"fields": [{"name": "a", "type": "string"}]}, "model": MODEL}


def spent(tokens: int = 1003, **spec: object) -> World:
    """A run that may use 1,000 tokens and used a few more."""
    world = started(type="ai-batch", custom=None, aiBatch=ANNOTATE | {"budget": {"tokens": 1000}}, **spec)
    world.work(succeeded=4)
    world.spend(tokens)
    return world


def test_the_store_is_told_of_a_budget_beside_what_may_fail() -> None:
    block = ANNOTATE | {"budget": {"tokens": 10**12}}
    for policy, breaker in ((None, "100/100/20/1000000000000"), (BREAKER, "20/100/5/1000000000000")):
        spec = {"type": "ai-batch", "custom": None, "aiBatch": block, "failurePolicy": policy}
        assert breaker_of(World(spec=spec).observe().job.spec) == breaker


@pytest.mark.parametrize("policy", [None, FAIL])
def test_a_run_that_used_up_its_budget_is_held_whatever_becomes_of_those_that_fail(policy: object) -> None:
    world = spent(failurePolicy=policy)
    plan = world.look()
    assert kinds(plan) == [do.SetSlots]
    child = world.child()
    assert child
    assert child.suspended
    status, reason, message = condition(plan.status, ConditionType.SUSPENDED)
    assert (status, reason) == ("True", "BudgetExceeded")
    assert message == (
        "The run has used 1003 tokens, and spec.aiBatch.budget.tokens is 1000. Raise spec.aiBatch.budget.tokens, then "
        "set spec.resumeToken to any new text to go on with what is left, or spec.cancel to end it."
    )
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "BudgetExceeded")
    assert claim_of(world.observe()) is None


def test_a_raised_budget_is_told_before_the_token_lets_the_run_go_on_and_does_not_do_so_by_itself() -> None:
    world = spent()
    world.settle()
    world.edit(aiBatch=ANNOTATE | {"budget": {"tokens": 2000}})
    assert world.look().actions == (do.SetBreaker("100/100/20/2000"),)
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "BudgetExceeded"
    world.edit(aiBatch=ANNOTATE | {"budget": {"tokens": 3000}}, resumeToken="more")
    assert world.look().actions[:2] == (do.SetBreaker("100/100/20/3000"), do.ResumeRun("more"))
    world.settle()
    assert world.status
    assert (world.status.phase, world.status.resume_token) == (Phase.RUNNING, "more")


def test_a_run_held_by_its_budget_is_held_as_well_once_the_store_has_lost_it() -> None:
    world = spent()
    world.settle()
    world.run = None
    world.settle()
    assert condition(world.status, ConditionType.SUSPENDED)[1] == "BudgetExceeded"
    world.edit(resumeToken="go")
    assert do.OpenRun in kinds(world.look())


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        (None, {}),
        ({"inputPerMillion": 0.15, "outputPerMillion": 0.6}, {"costMicroUSD": 750}),
        ({"inputPerMillion": 0.0004, "outputPerMillion": 0, "currency": "EUR"}, {"costMicroEUR": 1}),
        ({"inputPerMillion": 0, "outputPerMillion": 0}, {"costMicroUSD": 0}),
    ],
)
def test_the_status_says_what_the_tokens_cost_where_their_price_is_known(prices: object, cost: dict[str, int]) -> None:
    model = MODEL | {"prices": prices}
    world = started(type="ai-batch", custom=None, aiBatch=ANNOTATE | {"model": model})
    used = {"promptTokens": 3000, "completionTokens": 500}
    world.change(usage=used)
    world.pass_time(60)
    world.work(succeeded=2)
    world.settle()
    assert world.status
    assert world.status.usage == used | cost


def test_a_cost_is_never_more_than_a_status_can_say() -> None:
    block = ANNOTATE | {"model": MODEL | {"prices": {"inputPerMillion": 10**6, "outputPerMillion": 0}}}
    spec = World(spec={"type": "ai-batch", "custom": None, "aiBatch": block}).observe().job.spec
    assert with_cost(spec, {"promptTokens": 2**62})["costMicroUSD"] == 2**63 - 1


# ---- what counts as success ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "percent", "phase"),
    [
        ({"succeeded": 95, "failed": 5}, 95, Phase.SUCCEEDED),
        ({"succeeded": 94, "failed": 6}, 95, Phase.FAILED),
        ({"succeeded": 949, "failed": 51}, 95, Phase.FAILED),
        ({"succeeded": 99, "failed": 1}, 100, Phase.FAILED),
        ({"succeeded": 19, "failed": 1, "cancelled": 80}, 95, Phase.SUCCEEDED),
        ({"succeeded": 18, "failed": 1, "cancelled": 81}, 95, Phase.FAILED),
        ({"cancelled": 100}, 100, Phase.SUCCEEDED),
        ({"failed": 100}, 0, Phase.SUCCEEDED),
    ],
)
def test_a_run_is_complete_when_enough_of_what_was_to_be_done_succeeded(
    counts: dict[str, int], percent: int, phase: Phase
) -> None:
    total = sum(counts.values())
    run = snapshot(RunState.CLOSED, total, counts=counts)
    assert judge(run, SuccessPolicy(min_succeeded_percent=percent)).phase is phase


def test_a_success_with_failures_says_both() -> None:
    world = started(successPolicy={"minSucceededPercent": 80})
    world.work(succeeded=8, failed=2)
    world.seal()
    status = world.look().status
    failed = "2 of 10 items failed: of the last 1: upstream 1. Last: a: HTTP 503"
    assert condition(status, ConditionType.COMPLETE) == (
        "True",
        "Succeeded",
        f"8 items succeeded, which is enough: spec.successPolicy asks for 80%. {failed}",
    )
    assert status
    assert status.counts.failed == 2


def test_too_few_successes_say_how_many_were_asked_for() -> None:
    run = snapshot(
        RunState.CLOSED, 10, counts={"succeeded": 7, "failed": 3}, last_errors=[LastError("a", "timeout", "slow")]
    )
    verdict = judge(run, SuccessPolicy(min_succeeded_percent=80))
    assert verdict.reason is Reason.ITEMS_FAILED
    assert verdict.message.endswith("Last: a: slow. spec.successPolicy asks for 80% to succeed.")


def test_a_success_policy_does_not_make_a_success_of_a_run_that_was_given_up() -> None:
    run = snapshot(RunState.CLOSED, 10, counts={"succeeded": 9, "failed": 1}, reason="WorkersFailed", message="gone")
    assert judge(run, SuccessPolicy(min_succeeded_percent=0)).reason is Reason.WORKERS_FAILED


# ---- the deadline --------------------------------------------------------------------------------------


def test_at_its_deadline_a_run_fails_and_its_pods_go_at_once() -> None:
    world = started(activeDeadlineSeconds=60)
    world.work(succeeded=2)
    world.pass_time(59.5)
    assert world.look().again_seconds == 0.5
    world.pass_time(0.5)
    assert kinds(world.look()) == [do.FailRun]
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    status, reason, message = condition(plan.status, ConditionType.FAILED)
    assert (status, reason) == ("True", "DeadlineExceeded")
    assert message.startswith("spec.activeDeadlineSeconds is 60, and the run has been active for 1m0s, pauses left out")
    assert plan.status
    assert (plan.status.counts.cancelled, plan.status.active_seconds) == (8, 60)


def test_a_pause_and_a_hold_stop_the_clock_and_the_next_operator_counts_the_same() -> None:
    world = started(activeDeadlineSeconds=60, failurePolicy=BREAKER)
    world.pass_time(20)
    world.edit(suspend=True)
    world.settle()
    assert world.status
    assert world.status.active_seconds == 20
    world.pass_time(10_000)
    assert world.look().again_seconds is None, "nothing comes due in a pause"
    world.edit(suspend=False)
    world.settle()
    world.pass_time(15)
    world.trip()
    world.settle()
    assert world.status.active_seconds == 35
    world.pass_time(10_000)
    world.settle()
    world.written_at = None  # another operator
    world.edit(resumeToken="go")
    world.settle()
    world.pass_time(24)
    assert world.look().again_seconds == 1
    world.pass_time(1)
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1] == "DeadlineExceeded"
    assert world.status.active_seconds == 60


def test_the_clock_does_not_run_while_a_started_run_waits_for_its_queue_again() -> None:
    world = started(activeDeadlineSeconds=60)
    world.pass_time(20)
    world.edit(suspend=True)
    world.settle()
    world.queue = BatchQueueSpec(paused=True)
    world.edit(suspend=False)
    world.settle()
    assert world.status
    assert (world.status.phase, world.status.active_seconds) == (Phase.QUEUED, 20)
    world.pass_time(10_000)
    world.queue = BatchQueueSpec()
    world.settle()
    world.pass_time(39)
    assert world.look().again_seconds == 1


def test_a_held_run_leaves_its_place_in_the_queue_to_others() -> None:
    world = tripped()
    world.settle()
    assert claim_of(world.observe()) is None
    world.edit(resumeToken="go")
    assert claim_of(world.observe()) is not None


def test_the_clock_does_not_run_before_the_first_running() -> None:
    world = World(spec={"activeDeadlineSeconds": 5, "startAfter": "2026-01-01T01:00:00+00:00"})
    world.settle()
    world.pass_time(3600)
    assert kinds(world.look()) == [do.OpenRun, do.Admit, do.CreateJob]
    world.settle()
    assert world.look().again_seconds == 5


def test_nothing_is_written_for_the_clock() -> None:
    world = started(activeDeadlineSeconds=1000)
    world.pass_time(30)
    world.settle()
    writes = world.writes
    for _ in range(20):
        world.pass_time(30)
        world.look()
    assert world.writes == writes


def test_a_deadline_may_move_while_the_run_goes_on() -> None:
    world = started(activeDeadlineSeconds=60)
    world.pass_time(50)
    world.edit(activeDeadlineSeconds=100)
    world.settle()
    world.pass_time(40)
    assert world.look().again_seconds == 10
    world.edit(activeDeadlineSeconds=80)
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1] == "DeadlineExceeded"


def test_a_deadline_that_passes_while_the_store_has_lost_the_run_ends_it_all_the_same() -> None:
    world = started(type="export", custom=None, export={"destination": {"url": "file:///out"}}, activeDeadlineSeconds=9)
    world.run = None
    world.pass_time(9)
    assert kinds(world.look()) == [do.DeleteJob]
    assert condition(world.status, ConditionType.FAILED)[1] == "DeadlineExceeded"


# ---- how long it is kept -------------------------------------------------------------------------------


@pytest.mark.parametrize(("failed", "seconds"), [(0, 100), (1, 200)])
def test_the_status_says_until_when_what_is_left_is_kept(failed: int, seconds: int) -> None:
    world = started(retention={"completedSeconds": 100, "failedSeconds": 200})
    world.work(succeeded=10 - failed, failed=failed)
    world.seal()
    world.settle()
    assert world.status
    assert world.status.results
    until = datetime.fromisoformat(world.status.results.expires_at or "")
    assert until == datetime.fromisoformat(world.status.completion_time or "") + timedelta(seconds=seconds)


def test_results_may_be_kept_longer_until_they_are_gone() -> None:
    world = started(retention={"completedSeconds": 100})
    world.work(succeeded=10)
    world.seal()
    world.settle()
    world.edit(retention={"completedSeconds": 300})
    world.settle()
    assert world.status
    assert world.status.results
    assert world.status.results.expires_at == "2026-01-01T00:05:00Z"
    world.pass_time(300)
    world.edit(retention={"completedSeconds": 900})
    world.settle()
    assert world.status.results.expires_at == "2026-01-01T00:05:00Z", "what is gone does not come back"


@pytest.mark.parametrize("source", ["resultsOf", "redriveOf"])
def test_a_run_that_reads_what_is_gone_says_so_and_goes_on_when_there_is_new(source: str) -> None:
    gone = Parent("p", "custom", ended=True, complete=True, expired="2026-01-01T00:00:00Z")
    world = World(spec={"source": {source: {"batchJobName": "parent"}}}, parent=gone)
    plan = world.look()
    assert (plan.actions, plan.back_off) == ((), True)
    status, reason, message = condition(plan.status, ConditionType.STALLED)
    assert (status, reason) == ("True", "ResultsExpired")
    assert message.startswith(f"spec.source.{source}: BatchJob parent ended too long ago")
    world.parent = replace(gone, uid="p2", expired=None)
    assert do.CreateJob in kinds(world.look())
