"""What the operator decides about a BatchJob of type report, and what it remembers of one that ends."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from batchjob.api.pods import Variant
from batchjob.api.status import ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller import actions as do
from batchjob.controller.plan import make_plan
from batchjob.core.figures import wanted_of
from batchjob.core.items import RunState
from batchjob.core.records import HIGHEST, Tally
from tests.support.plan_world import NAME, SETTINGS, UID, World, condition, kinds, snapshot

FILES: dict[str, Any] = {"destination": {"url": "file:///data/out"}}


def reports(**block: Any) -> World:
    world = World()
    world.edit(type="report", custom=None, report={"deliver": FILES, **block}, owner="alice")
    return world


def created(world: World) -> BatchJob:
    job = world.observe().job
    metadata = job.metadata.model_copy(update={"creation_timestamp": "2026-01-05T08:00:00Z"})
    return job.model_copy(update={"metadata": metadata})


def test_a_report_has_its_figures_before_its_first_pod_starts() -> None:
    plan = reports(window="24h").plan()
    assert kinds(plan) == [do.OpenRun, do.PrepareReport, do.Admit, do.CreateJob]
    [wanted] = [action.wanted for action in plan.actions if isinstance(action, do.PrepareReport)]
    assert (wanted.scope, wanted.owner, wanted.until - wanted.since) == ("owner", "alice", 86_400)


def test_the_window_ends_at_the_creation_or_at_the_start_that_was_asked_for() -> None:
    world = reports()
    late = datetime(2030, 1, 1, tzinfo=UTC)
    first = wanted_of(created(world), late)
    assert first
    assert first.until == datetime(2026, 1, 5, 8, tzinfo=UTC).timestamp()
    world.edit(startAfter="2029-01-01T09:00:00Z")
    delayed = wanted_of(created(world), late)
    assert delayed
    assert delayed.until == datetime(2029, 1, 1, 9, tzinfo=UTC).timestamp()


def test_an_unknown_time_zone_ends_it_with_the_way_out() -> None:
    plan = reports(timeZone="Mars/Olympus").plan()
    _, reason, message = condition(plan.status, ConditionType.FAILED)
    assert (reason, message) == (
        *("InvalidSpec", "spec.report.timeZone: there is no time zone Mars/Olympus: write one such as Europe/Berlin"),
    )


@pytest.mark.parametrize(("allowed", "phase"), [(False, Phase.FAILED), (True, Phase.RUNNING)])
def test_one_about_all_is_made_only_where_admission_checks_who_may_have_it(allowed: bool, phase: Phase) -> None:
    plan = make_plan(reports(scope="all").observe(), replace(SETTINGS, reports_on_all=allowed))
    assert plan.status
    assert plan.status.phase == phase
    if not allowed:
        assert kinds(plan) == []
        _, reason, message = condition(plan.status, ConditionType.FAILED)
        assert reason == "NotAllowed"
        assert message.startswith("spec.report.scope: all is off here")


def test_a_pdf_takes_the_image_that_has_its_library() -> None:
    spec = reports(formats=["html", "pdf"]).observe().job.spec
    assert spec.variant is Variant.REPORT
    assert reports().observe().job.spec.variant is None


MAIL: dict[str, Any] = {"email": {"smtp": {"host": "mail.example"}, "from": "a@example.com", "to": ["b@example.com"]}}


@pytest.mark.parametrize("deliver", [FILES, MAIL])
@pytest.mark.parametrize("resume", [None, "again"])
def test_a_report_is_not_made_again_after_the_store_was_lost_for_it_would_say_that_nothing_was_done(
    deliver: dict[str, Any], resume: str | None
) -> None:
    world = reports(deliver=deliver)
    world.settle()
    world.run = None
    if resume:
        world.edit(resumeToken=resume)
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    _, reason, message = condition(plan.status, ConditionType.FAILED)
    assert (reason, message.split(". ")[1]) == ("StoreLost", "Create it again to have one of those that ended since.")
    assert plan.record
    assert (plan.record.type, plan.record.phase, plan.record.reason) == ("report", "Failed", "StoreLost")


def test_a_run_that_ends_is_remembered_with_what_was_counted_of_it() -> None:
    counts = {"succeeded": 7, "failed": 2, "cancelled": 1, "waiting": 0, "retried_after_loss": 4}
    ended = snapshot(RunState.CLOSED, counts=counts, usage={"emailsSent": 7}, bad_items=3, source_sha256="0" * 64)
    world = World(spec={"owner": "alice", "queueName": "nightly"}, run=ended)
    tally = Tally(5, {"timeout": 2}, {0: 8, 40: 2})
    plan = make_plan(replace(world.observe(), tally=tally), SETTINGS)
    record, status = plan.record, plan.status
    assert record
    assert status
    assert (record.uid, record.namespace, record.name, record.owner) == (UID, "team", NAME, "alice")
    assert (record.type, record.queue, record.phase, record.reason) == ("custom", "nightly", "Failed", "ItemsFailed")
    assert (record.total, record.succeeded, record.failed, record.cancelled, record.skipped) == (10, 7, 2, 1, 3)
    assert (record.retried, record.repeated, record.failures) == (5, 4, {"timeout": 2})
    assert (record.durations, record.usage) == ({0: 8, 40: 2}, {"emailsSent": 7})
    assert status.completion_time
    assert record.ended == datetime.fromisoformat(status.completion_time).timestamp()


def test_a_record_has_no_count_beyond_its_bounds_whatever_a_runs_user_wrote_in_its_place() -> None:
    ended = snapshot(RunState.CLOSED, 2**70, counts={"succeeded": 2**70}, bad_items=2**70, source_sha256="0" * 64)
    record = World(run=ended).plan().record
    assert record
    assert {record.total, record.succeeded, record.skipped} == {HIGHEST}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record)) == record


def test_one_that_never_began_is_remembered_too_and_one_that_goes_on_is_not() -> None:
    cancelled = World(spec={"cancel": True}).plan()
    assert cancelled.record
    assert (cancelled.record.phase, cancelled.record.total) == ("Cancelled", 0)
    assert World().plan().record is None
    assert World(run=snapshot()).plan().record is None
