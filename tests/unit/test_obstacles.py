"""What keeps a plan from being carried out, and is somebody else's to mend, becomes a condition with advice."""

import pytest

from batchjob.api.status import ConditionType
from batchjob.controller.obstacles import build_trouble, plan_obstructed
from batchjob.controller.reconciler import OBSTACLES
from batchjob.errors import Forbidden, Invalid, NameTaken, StoreDamaged, StoreFull, WebhookUnavailable
from tests.support.plan_world import SETTINGS, World, condition

CASES = [
    (NameTaken("Job a belongs to somebody else"), "NameTaken", "Job a belongs to somebody else."),
    (
        Invalid("cpu is more than its limit."),
        "Refused",
        "cpu is more than its limit. Correct it, in a new BatchJob where it is immutable.",
    ),
    (
        Forbidden("exceeded quota"),
        "Refused",
        "exceeded quota. Change the quota, policy, webhook or right that forbids it.",
    ),
    (
        StoreFull("the store is full"),
        "StoreFull",
        "the store is full. Raise the memory of the store, or delete BatchJobs that have ended.",
    ),
    (StoreDamaged("meta is a list"), "StoreDamaged", "meta is a list. Cancel it, and create it again."),
    (
        WebhookUnavailable("webhook w.example.com does not answer"),
        "Refused",
        "webhook w.example.com does not answer. Tell those who run that webhook; they can mend or remove it.",
    ),
]


@pytest.mark.parametrize(("error", "reason", "message"), CASES)
def test_an_obstacle_is_a_condition_with_advice(error: Exception, reason: str, message: str) -> None:
    plan = plan_obstructed(World().observe(), build_trouble(error, OBSTACLES), SETTINGS.pace)
    assert condition(plan.status, ConditionType.STALLED) == ("True", reason, message)
    assert plan.back_off
    assert [note.reason for note in plan.notes] == [reason]


def test_what_each_obstacle_says_is_tried_here() -> None:
    assert {type(error) for error, _, _ in CASES} == set(OBSTACLES)
