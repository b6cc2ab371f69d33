"""One look: what is left to a later one while others wait to be started."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock, call

import pytest
from pydantic import ValidationError

from batchjob.api.status import BatchJobStatus, ConditionType, Counts, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.actions import CreateJob, Plan, SetSlots
from batchjob.controller.carry_out import CarryOut
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.manifests import slots_patch
from batchjob.controller.observed import Ended, Parent
from batchjob.controller.queues import Queues
from batchjob.controller.reconciler import CROWD, OBSTACLES, Reconciler
from batchjob.controller.record import build_record
from batchjob.controller.workqueue import Workqueue
from batchjob.core.admission import Claim
from batchjob.errors import BatchJobError, Conflict, Forbidden, Invalid, NotFound, StoreFull, WebhookUnavailable
from batchjob.kube import JOBS
from batchjob.metrics import REGISTRIES, Process
from tests.support.plan_world import NAME, SETTINGS, UID, World, condition

KEY = ("team", NAME)


class Stage:
    """A reconciler whose only BatchJob lives in a world of plain values."""

    def __init__(self, **spec: Any) -> None:
        self.world = World(spec=spec, parent=Parent("p", "custom", ended=True, complete=True))
        self.queue: Workqueue[ObjectKey] = Workqueue()
        self.written: list[Phase] = []
        entry = Mock(namespace="team", uid=UID, phase=None, body={}, queue="custom")
        entry.name = NAME
        known = Mock(spec=KnownBatchJobs)
        known.gone.return_value = ()
        known.get.return_value = entry
        observer = AsyncMock(ended=Mock(return_value=Mock(child=None)))
        observer.observe.side_effect = lambda *_: self.world.observe()
        carry_out = AsyncMock(side_effect=self._carry_out)
        self.entry, self.observer, self.queues = entry, observer, Queues(lambda _: None)
        self.carry_out = carry_out
        self._reconciler = Reconciler(Mock(), known, self.queue, observer, carry_out, self.queues, SETTINGS)

    async def _carry_out(self, _: Any, plan: Any) -> set[ObjectKey]:
        for action in plan.actions:
            self.world._do(action)
        if plan.status is not None:
            self.world.status = plan.status
            self.written.append(plan.status.phase)
        return set()

    def crowd(self, size: int = CROWD) -> None:
        """Others wait to be started."""
        for number in range(size):
            self.queue.add(("team", f"other-{number}"), first=True)

    async def look(self) -> None:
        await self._reconciler.look(KEY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock by which a status is owed."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("batchjob.controller.observe.time.monotonic", lambda: now.seconds)
    return now


async def test_a_start_says_so_at_once_where_few_wait_to_be_started() -> None:
    stage = Stage()
    stage.crowd(CROWD - 1)
    await stage.look()
    assert stage.world.jobs
    assert stage.written == [Phase.RUNNING]


async def test_while_a_crowd_waits_to_be_started_the_job_is_made_and_the_status_written_some_seconds_later(
    clock: SimpleNamespace,
) -> None:
    stage = Stage()
    stage.crowd()
    await stage.look()
    assert stage.world.jobs
    assert stage.written == []
    assert stage.queue.expects(KEY)
    clock.seconds += SETTINGS.pace.seconds - 1
    await stage.look()
    assert stage.written == []
    clock.seconds += 1
    await stage.look()
    assert stage.written == [Phase.RUNNING], "however many wait by then"
    assert stage.world.status
    assert stage.world.status.jobs_created == 1


async def test_one_that_has_ended_stays_so_whatever_is_in_the_way_of_writing_its_status() -> None:
    """Once what it left has expired it would run again."""
    stage = Stage()
    await stage.look()
    stage.world.load(10)
    stage.world.work(10)
    stage.world.seal()
    await stage.look()
    stage.world.edit(retention={"completedSeconds": 60})
    stage.carry_out.side_effect = WebhookUnavailable("somebody's webhook does not answer")
    await stage.look()
    stage.carry_out.side_effect = stage._carry_out
    await stage.look()
    assert stage.written == [Phase.RUNNING, Phase.SUCCEEDED, Phase.SUCCEEDED]
    assert stage.world.status
    assert stage.world.status.observed_generation == stage.world.generation


@pytest.mark.parametrize(("phase", "written"), [("Succeeded", "Succeeded"), ("Running", "Pending")])
async def test_one_that_has_ended_stays_so_though_its_spec_cannot_be_read(phase: str, written: str) -> None:
    stage = Stage()
    stage.entry.body = {"metadata": {"generation": 2}, "status": {"phase": phase, "observedGeneration": 1}}
    stage.observer.observe.side_effect = lambda *_: BatchJob.model_validate({})
    await stage.look()
    assert stage.written == [written]
    assert stage.world.status
    assert stage.world.status.observed_generation == 2


async def test_who_has_ended_by_then_saves_the_first_status() -> None:
    stage = Stage()
    stage.crowd()
    await stage.look()
    stage.world.load(10)
    stage.world.work(10)
    stage.world.seal()
    await stage.look()
    assert stage.written == [Phase.SUCCEEDED]
    assert stage.world.status
    assert stage.world.status.store_epoch
    assert stage.world.status.start_time
    assert stage.world.status.jobs_created == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"activeDeadlineSeconds": 60},
        {"resumeToken": "a"},
        {"source": {"resultsOf": {"batchJobName": "parent"}}},
        {"suspend": True},
    ],
    ids=["a clock counts from there", "a token is used up by it", "a parent keeps what it reads", "it is paused"],
)
async def test_what_counts_from_the_first_status_on_is_written_at_once(spec: dict[str, Any]) -> None:
    stage = Stage(**spec)
    stage.crowd()
    await stage.look()
    assert len(stage.written) == 1


async def test_a_second_job_is_told_of_at_once_since_its_name_follows_from_the_status() -> None:
    stage = Stage()
    stage.crowd()
    await stage.look()
    stage.world.load(10)
    stage.world.end_job(("BackoffLimitExceeded", "too often"))
    await stage.look()
    assert stage.world.status
    assert stage.world.status.jobs_created == 2


@pytest.mark.parametrize(("job", "has"), [({}, 5), ({"suspended": True}, 0), ({"ended": True}, 0), (None, 0)])
async def test_the_pods_of_a_batchjob_that_has_ended_count_until_they_have_left(
    job: dict[str, Any] | None, has: int
) -> None:
    world = World(spec={"parallelism": 5})
    world.look()
    child = world.child()
    assert child
    ended = Ended(NAME, UID, 1.0, has_user=True, dismissed=False, child=None if job is None else replace(child, **job))
    known, queues = Mock(spec=KnownBatchJobs), Mock(spec=Queues)
    known.gone.return_value = ()
    known.get.return_value = Mock(namespace="team", uid=UID, body=None)
    observer = Mock()
    observer.ended.return_value = ended
    carry_out = AsyncMock(return_value=set())
    await Reconciler(Mock(), known, Workqueue(), observer, carry_out, queues, SETTINGS).look(KEY)
    assert queues.mock_calls == [call.ended(UID, has)]
    assert carry_out.await_count == 1


async def test_a_status_that_is_refused_is_nothing_that_its_owner_could_correct() -> None:
    kube = AsyncMock()
    kube.patch.side_effect = Invalid("status.phase: Unsupported value", status=422)
    entry = Mock(namespace="team", uid=UID, version=7)
    carry_out = CarryOut(kube, Mock(), Mock(), Mock(), Mock())
    with pytest.raises(BatchJobError, match="the CRD that of another version") as refused:
        await carry_out.write_status(entry, BatchJobStatus())
    assert not isinstance(refused.value, tuple(OBSTACLES))


@pytest.mark.parametrize(
    "found",
    [
        NotFound("no such BatchJob"),
        {"metadata": {"uid": "of-another"}},
        {"metadata": {"uid": UID, "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {"uid": UID}, "status": {"phase": "Succeeded"}},
    ],
    ids=["it is gone", "another one has its name", "it is being deleted", "it has ended"],
)
async def test_a_job_that_went_with_its_batchjob_is_not_made_again(found: Any) -> None:
    kube = AsyncMock()
    kube.get.side_effect = [found]
    entry = Mock(namespace="team", uid=UID, version=7, jobs_created=1)
    carry_out = CarryOut(kube, Mock(), Mock(), Mock(), Mock())
    with pytest.raises((NotFound, Conflict)):
        await carry_out(entry, Plan((CreateJob({"metadata": {"name": "run-2"}}),)))
    kube.create.assert_not_awaited()


@pytest.mark.parametrize("is_full", [False, True])
async def test_that_no_report_will_know_of_an_end_is_said_of_the_batchjob_and_it_ends_all_the_same(
    is_full: bool,
) -> None:
    record = build_record(World().observe(), BatchJobStatus(), "Succeeded")
    kube, store, known = AsyncMock(), AsyncMock(), Mock()
    known.seen.return_value = set()
    store.history.put.side_effect = StoreFull("the store is full") if is_full else None
    entry = Mock(namespace="team", uid=UID, version=7)
    entry.name = NAME
    await CarryOut(kube, store, Mock(), Mock(), known)(entry, Plan(status=BatchJobStatus(), record=record))
    kube.patch.assert_awaited_once()
    said = [call.args[2] for call in kube.create.await_args_list]
    assert [(event["reason"], event["regarding"]["name"]) for event in said] == [("NotRecorded", NAME)] * is_full
    assert all("No report will know of this BatchJob: the store is full. Raise" in event["note"] for event in said)


async def test_slots_are_set_of_the_job_as_it_is_known() -> None:
    kube, jobs = AsyncMock(), Mock()
    jobs.get.return_value = {"metadata": {"resourceVersion": "17"}}
    carry_out = CarryOut(kube, Mock(), Mock(), jobs, Mock())
    entry = Mock(namespace="team", uid=UID)
    await carry_out(entry, Plan((SetSlots("run-1", 2, None),)))
    kube.patch.assert_awaited_once_with(JOBS, "team", "run-1", slots_patch(2, None), resource_version="17")
    jobs.get.assert_called_once_with(("team", "run-1"))


async def test_what_is_forbidden_while_looking_is_a_condition_too() -> None:
    stage = Stage()
    await stage.look()
    seen = stage.world.observe()
    observer = Mock(observe=AsyncMock(side_effect=Forbidden("pods is forbidden")), glance=Mock(return_value=seen))
    stage._reconciler._observer = observer
    await stage.look()
    assert condition(stage.world.status, ConditionType.STALLED) == (
        "True", "Refused", "pods is forbidden. Change the quota, policy, webhook or right that forbids it.",
    )  # fmt: skip
    assert stage.queue.expects(KEY), "it is tried again"


async def test_one_that_waited_and_cannot_be_read_any_more_leaves_the_line() -> None:
    stage = Stage()
    stage.queues.expect("custom", Claim(5, "2026-01-01T00:00:00Z", UID, "namespace team", 1))
    stage.entry.phase = Phase.QUEUED
    stage.entry.body = {"metadata": {"generation": 3}, "status": {}}
    with pytest.raises(ValidationError) as found:
        BatchJob.parse({"metadata": {}, "spec": {"type": "of a newer version"}})
    stage.observer.observe.side_effect = found.value
    await stage.look()
    assert stage.queues.line("custom").waiting == 0
    assert condition(stage.world.status, ConditionType.STALLED)[:2] == ("True", "InvalidSpec")


async def test_one_that_runs_and_cannot_be_read_any_more_keeps_its_place_until_its_pods_are_gone() -> None:
    stage = Stage()
    stage.queues.restore("custom", Claim(5, "2026-01-01T00:00:00Z", UID, "namespace team", 3))
    stage.entry.body = {"metadata": {"generation": 3}, "status": {}}
    with pytest.raises(ValidationError) as found:
        BatchJob.parse({"metadata": {}, "spec": {"type": "of a newer version"}})
    stage.observer.observe.side_effect = found.value
    stage.observer.ended.return_value.child = Mock(parallelism=3, ended=False, kueue=None, suspended=False)
    await stage.look()
    line = stage.queues.line("custom")
    assert (line.active, line.workers) == (1, 3)
    stage.observer.ended.return_value.child = None
    await stage.look()
    assert (line.active, line.workers) == (0, 0)


@pytest.mark.parametrize(
    ("queue", "before", "after", "seconds"),
    [
        ("report", "Running", Phase.SUCCEEDED, 100),
        ("report", "Running", Phase.FAILED, 100),
        ("report", "Succeeded", Phase.SUCCEEDED, 0),
        ("report", "Running", Phase.CANCELLED, 0),
        ("none", "Queued", Phase.FAILED, 0),
    ],
)
def test_the_time_of_an_end_is_told_once_unless_its_queue_is_none(
    queue: str, before: str, after: Phase, seconds: int
) -> None:
    def told() -> float:
        name = "batchjob_job_duration_seconds_sum"
        return REGISTRIES[Process.OPERATOR].get_sample_value(name, {"queue": queue}) or 0.0

    reconciler = Reconciler(Mock(), Mock(), Workqueue(), Mock(), Mock(), Queues(lambda _: None), SETTINGS)
    begun, ended = "2026-01-01T00:00:00Z", "2026-01-01T00:01:40Z"
    known = told()
    status = BatchJobStatus(phase=after, start_time=begun, completion_time=ended)
    reconciler._count(Mock(phase=before, queue=queue, row=SimpleNamespace(succeeded=0, failed=0, cancelled=0)), status)
    assert told() - known == seconds


@pytest.mark.parametrize(("queue", "told"), [("report", [3, 2, 0]), ("none", [0, 0, 0])])
def test_items_that_ended_since_the_status_before_are_counted_and_a_store_that_was_lost_takes_none_back(
    queue: str, told: list[int]
) -> None:
    def counted() -> list[float]:
        ask = REGISTRIES[Process.OPERATOR].get_sample_value
        names = [{"queue": queue, "outcome": outcome} for outcome in ("succeeded", "failed", "cancelled")]
        return [ask("batchjob_items_ended_total", labels) or 0.0 for labels in names]

    reconciler = Reconciler(Mock(), Mock(), Workqueue(), Mock(), Mock(), Queues(lambda _: None), SETTINGS)
    known = counted()
    before = SimpleNamespace(succeeded=4, failed=0, cancelled=1)
    reconciler._count(Mock(queue=queue, row=before), BatchJobStatus(counts=Counts(total=9, succeeded=7, failed=2)))
    assert [now - then for now, then in zip(counted(), known, strict=True)] == told
