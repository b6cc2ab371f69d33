"""A BatchJob and its queue: what it waits for, how many pods it gets, and what its queue may refuse."""

from typing import Any

import pytest

from batchjob.api.queue import BatchQueueSpec
from batchjob.api.status import ConditionType, Counts, Phase
from batchjob.controller import actions as do
from batchjob.controller.queueing import build_claim
from batchjob.core.admission import Claim
from batchjob.core.items import RunState
from tests.support.plan_world import World, condition, kinds, started

OTHER = Claim(1, "2025-01-01T00:00:00Z", "other", "else", 2)


def behind_another(**rules: Any) -> World:
    """A BatchJob that waits, because another one runs."""
    world = World(queue=BatchQueueSpec.model_validate(rules or {"maxActiveJobs": 1}))
    world.line.run(OTHER, OTHER.workers)
    world.settle()
    return world


def test_who_finds_the_queue_full_waits_and_says_why_and_where() -> None:
    world = behind_another()
    assert world.status
    assert (world.status.phase, world.status.queue_position, world.jobs) == (Phase.QUEUED, 1, {})
    assert condition(world.status, ConditionType.QUEUED) == (
        "True",
        "ConcurrencyLimit",
        "The queue is full: maxActiveJobs is 1. Waits until others end.",
    )
    world.line.leave(OTHER.uid)
    assert kinds(world.look()) == [do.OpenRun, do.Admit, do.CreateJob]
    world.settle()
    assert world.status.queue_position is None


def test_whose_priority_changes_is_told_the_new_place_at_once() -> None:
    world = behind_another()
    for n in range(30):
        world.line.ask(Claim(5, "2027-01-01T00:00:00Z", f"u{n}", "else", 1))
    world.edit(priority=5)
    world.settle()
    before = world.status and world.status.queue_position
    world.edit(priority=6)
    world.settle()
    assert world.status
    assert (before, world.status.queue_position) == (1, 31)


def test_a_queue_that_cannot_be_read_starts_nothing_says_so_and_lets_go_on_what_runs() -> None:
    world = World(queue=None, queue_unreadable=True)
    world.settle()
    assert world.jobs == {}
    status, reason, message = condition(world.status, ConditionType.STALLED)
    assert (status, reason) == ("True", "QueueNotFound")
    assert "cannot read BatchQueue" in message
    running = started()
    running.queue, running.queue_unreadable = None, True
    running.settle()
    assert running.status
    assert running.status.phase is Phase.RUNNING


def test_a_paused_queue_starts_nothing_and_lets_go_on_what_runs() -> None:
    world = World(queue=BatchQueueSpec(paused=True))
    world.settle()
    assert condition(world.status, ConditionType.QUEUED)[1] == "QueuePaused"
    running = started()
    running.queue = BatchQueueSpec(paused=True)
    running.settle()
    assert running.status
    assert running.status.phase is Phase.RUNNING


def test_a_pause_gives_the_place_away_and_a_resume_waits_for_one() -> None:
    world = started(parallelism=2)
    world.queue = BatchQueueSpec(max_active_jobs=1)
    world.edit(suspend=True)
    world.settle()
    assert world.line.active == 0
    world.line.run(OTHER, 2)
    world.edit(suspend=False)
    world.settle()
    child = world.child()
    assert child
    assert world.run
    assert (child.suspended, world.run.paused) == (True, True)
    assert condition(world.status, ConditionType.QUEUED)[1] == "ConcurrencyLimit"
    world.line.leave(OTHER.uid)
    world.settle()
    child = world.child()
    assert child
    assert (child.suspended, child.parallelism, world.run.paused) == (False, 2, False)
    assert world.status
    assert world.status.phase is Phase.RUNNING


def test_pods_are_as_many_as_the_queue_has_left_and_more_when_others_leave() -> None:
    world = behind_another(maxWorkers=3)
    world.edit(parallelism=4)
    world.settle()
    child = world.child()
    assert child
    assert child.parallelism == 1
    world.line.leave(OTHER.uid)
    world.settle()
    child = world.child()
    assert child
    assert child.parallelism == 3


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        ({"parallelism": 50}, 10),  # ten items
        ({"parallelism": 4}, 4),
        ({"parallelism": 50, "source": {"configMapRef": {"name": "many", "key": "items.jsonl"}}}, 50),
    ],
)
def test_there_are_never_more_pods_than_items(spec: dict[str, Any], slots: int) -> None:
    world = World(spec=spec)
    world.look()
    child = world.child()
    assert child
    assert child.parallelism == slots


@pytest.mark.parametrize("source", [{}, {"source": {"configMapRef": {"name": "few", "key": "items.jsonl"}}}])
def test_a_job_that_follows_another_has_pods_for_the_items_that_are_left_and_keeps_them(source: dict[str, Any]) -> None:
    world = started(parallelism=50, **source)
    world.load(10)
    world.work(8)
    world.end_job(("BackoffLimitExceeded", ""))
    world.settle()
    child = world.child()
    assert child
    assert (child.index, child.parallelism) == (1, 2)
    world.work(1)
    world.settle()
    child = world.child()
    assert child
    assert child.parallelism == 2, "Kubernetes would take away the last slot, not the idle one"


@pytest.mark.parametrize(("per_minute", "slots"), [(60, 2), (6, 1), (6000, 50)])
def test_fifty_pods_are_not_started_for_a_rate_that_two_can_use(per_minute: int, slots: int) -> None:
    email = {"smtp": {"host": "h"}, "from": "a@b", "subject": "s", "text": "t", "ratePerMinute": per_minute}
    items = [{"id": f"i{n}", "data": {"n": n}} for n in range(100)]
    world = World(spec={"type": "email", "custom": None, "email": email, "parallelism": 50, "source": {"items": items}})
    world.look()
    child = world.child()
    assert child
    assert child.parallelism == slots


@pytest.mark.parametrize(
    ("limits", "slots"),
    [
        ([{"key": "a", "requests": 60}], 2),
        ([{"key": "a", "requests": 1, "perSeconds": 3600}], 1),
        ([{"key": "a", "requests": 6000}, {"key": "b", "requests": 120}], 3),
        ([{"key": "a", "tokens": 60}], 50),  # how many tokens an item needs, nobody knows
    ],
)
def test_nor_for_a_rate_of_the_queue(limits: list[dict[str, Any]], slots: int) -> None:
    items = [{"id": f"i{n}", "data": {"n": n}} for n in range(100)]
    queue = BatchQueueSpec.model_validate({"rateLimits": limits})
    world = World(spec={"parallelism": 50, "source": {"items": items}}, queue=queue)
    world.look()
    child = world.child()
    assert child
    assert child.parallelism == slots


def test_who_would_only_add_pods_that_the_rate_of_the_queue_cannot_feed_waits_for_others() -> None:
    world = behind_another(rateLimits=[{"key": "slow", "requests": 12}])
    assert condition(world.status, ConditionType.QUEUED) == (
        "True",
        "RateLimited",
        "More than 2 worker pods would only wait for the queue's rateLimits. Waits until others end.",
    )
    world.line.leave(OTHER.uid)
    assert do.CreateJob in kinds(world.look())


def test_a_run_is_told_when_the_rates_of_its_queue_change() -> None:
    world = started()
    world.queue = BatchQueueSpec.model_validate({"rateLimits": [{"key": "new", "requests": 600}]})
    plan = world.look()
    (admit,) = [action for action in plan.actions if isinstance(action, do.Admit)]
    assert [limit.requests for limit in admit.run.rate_limits] == [600]
    assert kinds(world.look()) == []
    world.queue = BatchQueueSpec()
    assert kinds(world.look()) == [do.Admit]


def delayed(seconds: float) -> World:
    """A run of which every item waits for its next attempt."""
    world = started()
    world.change(counts=Counts(total=10, delayed=10), next_due_ms=round(1000 * seconds))
    return world


def test_no_pods_are_there_while_every_item_is_delayed_for_long() -> None:
    world = delayed(200)
    plan = world.look()
    assert [(a.suspend, a.parallelism) for a in plan.actions if isinstance(a, do.SetSlots)] == [(True, None)]
    world.settle()
    world.pass_time(40)
    assert world.look().again_seconds == 190
    assert world.status
    assert world.status.phase is Phase.RUNNING
    assert condition(world.status, ConditionType.QUEUED) == ("False", "AllDelayed", "")
    assert world.run
    assert not world.run.paused, "whoever is there may go on"
    world.change(next_due_ms=9_000)
    plan = world.look()
    assert [a.suspend for a in plan.actions if isinstance(a, do.SetSlots)] == [False]


def test_under_kueue_the_pods_stay_though_every_item_is_delayed_and_nothing_else_is_said() -> None:
    world = World(queue=BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}}))
    world.look()
    world.kueue_says(suspend=False)
    world.load(10)
    world.settle()
    world.change(counts=Counts(total=10, delayed=10), next_due_ms=200_000)
    world.pass_time(40)
    world.settle()
    child = world.child()
    assert child
    assert not child.suspended
    assert condition(world.status, ConditionType.QUEUED)[1] == "Running"


def test_the_loader_keeps_its_pod_though_all_that_it_has_read_is_delayed() -> None:
    world = delayed(200)
    world.change(state=RunState.LOADING, total=None)
    assert not [a for a in world.look().actions if isinstance(a, do.SetSlots)]


def test_pods_stay_while_items_are_delayed_for_a_moment() -> None:
    assert not [a for a in delayed(30).look().actions if isinstance(a, do.SetSlots)]


@pytest.mark.parametrize(
    ("queue", "spec", "reason", "said"),
    [
        (None, {"queueName": "nightly"}, "QueueNotFound", "spec.queueName: there is no BatchQueue nightly"),
        ({"allowedNamespaces": ["ops"]}, {}, "QueueNotAllowed", "takes no BatchJobs of namespace team"),
        ({"limits": {"maxParallelism": 3}}, {"parallelism": 4}, "LimitExceeded", "spec.parallelism is 4; BatchQueue"),
        ({"limits": {"maxAttempts": 2}}, {}, "LimitExceeded", "spec.retry.maxAttempts is 3"),
        ({"limits": {"maxItems": 9}}, {}, "LimitExceeded", "the number of spec.source.items is 10"),
        ({"limits": {"maxPayloadBytes": 99}}, {}, "LimitExceeded", "the bytes of spec.source.items is"),
        (
            {"limits": {"minPriority": 3}},
            {"priority": 2},
            "LimitExceeded",
            "spec.priority is 2; BatchQueue custom allows",
        ),
        ({"limits": {"minPriority": 6}}, {}, "LimitExceeded", "spec.priority is 5; BatchQueue custom allows 6 to 10"),
    ],
)
def test_what_the_queue_does_not_take_stalls_and_heals_with_the_queue(
    queue: dict[str, Any] | None, spec: dict[str, Any], reason: str, said: str
) -> None:
    world = World(spec=spec, queue=None if queue is None else BatchQueueSpec.model_validate(queue))
    world.settle()
    _, found, message = condition(world.status, ConditionType.STALLED)
    assert (found, world.jobs) == (reason, {})
    assert said in message
    world.queue = BatchQueueSpec()
    assert kinds(world.look()) == [do.OpenRun, do.Admit, do.CreateJob]


def test_what_runs_goes_no_sooner_than_its_queue_allows_whatever_it_asks_for_then() -> None:
    world = World(spec={"priority": 4}, queue=BatchQueueSpec.model_validate({"limits": {"minPriority": 3}}))
    world.look()
    world.load(10)
    world.settle()
    assert build_claim(world.observe()).priority == 4
    world.edit(priority=1)
    world.settle()
    assert build_claim(world.observe()).priority == 3
    assert condition(world.status, ConditionType.STALLED)[0] == "False", "it began as it was allowed"


def test_the_queue_says_what_holds_where_the_batch_job_says_nothing_and_a_run_keeps_it() -> None:
    defaults = {"priority": 7, "retry": {"maxAttempts": 9, "backoff": {"maxDelaySeconds": 60}}, "itemTimeoutSeconds": 5}
    world = World(
        spec={"retry": {"backoff": {"jitterPercent": 0}}}, queue=BatchQueueSpec.model_validate({"defaults": defaults})
    )
    world.settle()
    assert world.status
    found = world.status.effective
    assert found
    assert (found.queue, found.priority, found.max_attempts, found.item_timeout_seconds) == ("custom", 7, 9, 5)
    assert (found.max_delay_seconds, found.jitter_percent, found.max_losses) == (60, 0, 3)
    world.queue = BatchQueueSpec()
    world.edit(priority=1)
    world.settle()
    now = found.model_copy(update={"priority": 1, "origins": found.origins | {"priority": "spec"}})
    assert world.status.effective == now


def test_kueue_decides_about_the_pods_and_nothing_of_theirs_is_written() -> None:
    world = World(queue=BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}}), spec={"parallelism": 2})
    plan = world.look()
    (create,) = [action for action in plan.actions if isinstance(action, do.CreateJob)]
    assert create.manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert create.manifest["spec"]["suspend"] is True
    world.kueue_says(suspend=True)
    world.settle()
    assert condition(world.status, ConditionType.QUEUED)[1] == "WaitingForQuota"
    world.kueue_says(suspend=False)
    world.edit(parallelism=4)
    world.load(10)
    world.settle()
    assert world.status
    assert world.status.phase is Phase.RUNNING
    child = world.child()
    assert child
    assert child.parallelism == 2, "its parallelism is Kueue's"


@pytest.mark.parametrize("queue", [{}, {"kueue": {"queueName": "gpus"}}])
def test_while_its_queue_is_away_what_runs_goes_on_and_nothing_starts(queue: dict[str, Any]) -> None:
    there = BatchQueueSpec.model_validate(queue)
    world = World(queue=there, spec={"parallelism": 2, "queueName": "nightly"})
    world.look()
    world.load(10)
    world.kueue_says(suspend=False)
    world.settle()
    world.queue = None
    world.settle()
    child = world.child()
    assert child
    assert world.status
    assert (world.status.phase, child.suspended, child.parallelism) == (Phase.RUNNING, False, 2)
    world.end_job(("BackoffLimitExceeded", ""))
    world.settle()
    assert len(world.jobs) == 1
    assert condition(world.status, ConditionType.QUEUED)[1] == "QueueNotFound"
    world.queue = there
    world.settle()
    assert len(world.jobs) == 2


def test_a_job_that_waits_for_kueue_waits_on_while_the_queue_is_away() -> None:
    there = BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}})
    world = World(queue=there)
    world.look()
    world.queue = None
    world.settle()
    child = world.child()
    assert child
    assert child.suspended
    world.queue = there
    world.settle()
    assert condition(world.status, ConditionType.QUEUED)[1] == "WaitingForQuota"
    assert world.run
    assert not world.run.paused


def test_a_job_from_before_its_queue_had_kueue_goes_on_without_it_after_a_pause() -> None:
    world = World(queue=BatchQueueSpec(), spec={"parallelism": 2})
    world.look()
    world.load(10)
    world.settle()
    world.edit(suspend=True)
    world.settle()
    world.queue = BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}})
    world.settle()
    world.edit(suspend=False)
    world.settle()
    child = world.child()
    assert child
    assert not child.suspended, "nobody else will"
    assert world.status
    assert world.status.phase is Phase.RUNNING
    world.end_job(("BackoffLimitExceeded", ""))
    world.settle()
    assert condition(world.status, ConditionType.QUEUED)[1] == "WaitingForQuota", "the next one is Kueue's"


def test_a_job_of_kueues_stays_kueues_though_its_queue_has_it_no_more() -> None:
    world = World(queue=BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}}), spec={"parallelism": 2})
    world.look()
    world.queue = BatchQueueSpec()
    world.edit(parallelism=3)
    world.settle()
    child = world.child()
    assert child
    assert (child.suspended, child.parallelism) == (True, 2), "both are Kueue's"
    assert condition(world.status, ConditionType.QUEUED)[2] == "Waits until Kueue admits the Job in LocalQueue gpus."
    for suspend in (True, False):
        world.edit(suspend=suspend)
        world.settle()
    child = world.child()
    assert child
    assert (child.suspended, child.parallelism, child.kueue) == (False, 3, None), "a pause is the way out"


def test_under_kueue_a_pause_takes_the_job_away_and_a_resume_makes_another() -> None:
    world = World(queue=BatchQueueSpec.model_validate({"kueue": {"queueName": "gpus"}}))
    world.look()
    world.kueue_says(suspend=False)
    world.load(10)
    world.edit(suspend=True)
    world.settle()
    assert world.jobs == {}
    world.edit(suspend=False)
    plan = world.look()
    assert do.CreateJob in kinds(plan)
    assert world.run
    assert world.run.state is RunState.OPEN


def test_the_end_of_a_run_is_estimated_from_its_rate() -> None:
    world = started()
    world.rate = 2.0
    world.work(succeeded=4)
    world.pass_time(10)
    world.look()
    assert world.status
    assert world.status.estimated_completion_time == "2026-01-01T00:00:13Z"
