"""Looking at a BatchJob while the store hangs: the looks must not wait for it one after the other."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from batchjob.controller.actions import PauseRun, Plan, SetSlots
from batchjob.controller.known import Entry, KnownBatchJobs, build_entry
from batchjob.controller.manifests import child_name
from batchjob.controller.observe import SILENCE_PAUSE_SECONDS, UNDONE_SECONDS, Memory, Observer
from batchjob.controller.queues import Queues
from batchjob.controller.status import format_time
from batchjob.controller.take_place import take_place
from batchjob.core.admission import Claim
from batchjob.core.items import RunState
from batchjob.core.reasons import Reason
from batchjob.core.records import Tally
from batchjob.errors import Forbidden, StoreDamaged, StoreNotReady, StoreUnavailable
from tests.support.plan_world import NAME, UID, snapshot


class HungStore:
    """It never answers, or answers like this."""

    def __init__(self, says: Exception | None = None) -> None:
        self.asked = 0
        self._says = says or StoreUnavailable("timed out")

    async def snapshot(self, _: str) -> None:
        self.asked += 1
        raise self._says

    async def load_scripts(self) -> None:
        raise self._says


class Nothing:
    """No Jobs, and no users."""

    present: frozenset[str] = frozenset()
    dismissed: frozenset[str] = frozenset()

    def owned_by(self, *_: str) -> tuple[()]:
        return ()

    def before(self, _: object) -> None:
        return None


def reads(source: dict[str, Any], **status: Any) -> Entry:
    """A BatchJob with this source."""
    return build_entry({
        "metadata": {"namespace": "team", "name": NAME, "uid": UID, "resourceVersion": "1", "generation": 1},
        "spec": {"type": "custom", "custom": {"processor": "noop"}, "source": source},
        "status": {"phase": "Running"} | status,
    })  # fmt: skip


@pytest.mark.parametrize("says", [StoreUnavailable("timed out"), StoreNotReady("WRONGPASS invalid username-password")])
async def test_while_the_store_is_silent_or_lets_nobody_in_one_look_in_a_while_asks_it(
    monkeypatch: pytest.MonkeyPatch, says: Exception
) -> None:
    clock = 1000.0
    monkeypatch.setattr("batchjob.controller.observe.time.monotonic", lambda: clock)
    store, nothing = HungStore(says), cast("Any", Nothing())
    queues = Queues(lambda _: None)
    observer = Observer(nothing, cast("Any", store), nothing, nothing, KnownBatchJobs(), queues, nothing)
    entry = reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1")
    silences = [(await observer.observe(entry, Memory())).store_silent_seconds for _ in range(5)]
    assert (silences, store.asked) == ([0.0] * 5, 1)
    clock += SILENCE_PAUSE_SECONDS
    assert (await observer.observe(entry, Memory())).store_silent_seconds == SILENCE_PAUSE_SECONDS
    assert store.asked == 2


async def test_where_a_run_that_is_read_has_its_results_is_known_though_it_has_ended() -> None:
    known, nothing = KnownBatchJobs(), cast("Any", Nothing())
    known.seen({
        "metadata": {"namespace": "team", "name": "p", "uid": "0123456789", "resourceVersion": "1", "generation": 1},
        "spec": {"results": {"destination": {"url": "s3://b/out"}}},
        "status": {"phase": "Succeeded", "observedGeneration": 1},
    })  # fmt: skip
    observer = Observer(nothing, cast("Any", HungStore()), nothing, nothing, known, Queues(lambda _: None), nothing)
    seen = await observer.observe(reads({"resultsOf": {"batchJobName": "p"}}), Memory())
    assert seen.parent
    assert seen.parent.results
    assert (seen.parent.results.destination.url, seen.parent.results.folder) == ("s3://b/out", "p-01234567")


async def test_a_place_of_results_that_cannot_be_read_is_the_trouble_of_its_own_batchjob() -> None:
    known, nothing = KnownBatchJobs(), cast("Any", Nothing())
    known.seen({
        "metadata": {"namespace": "team", "name": "p", "uid": "0123456789", "resourceVersion": "1", "generation": 1},
        "spec": {"results": {"destination": {"url": 7}}},
        "status": {"phase": "Succeeded", "observedGeneration": 1},
    })  # fmt: skip
    observer = Observer(nothing, cast("Any", HungStore()), nothing, nothing, known, Queues(lambda _: None), nothing)
    seen = await observer.observe(reads({"resultsOf": {"batchJobName": "p"}}), Memory())
    assert seen.missing
    assert seen.missing.reason is Reason.SOURCE_UNREACHABLE
    assert "spec.results.destination of BatchJob p cannot be read" in seen.missing.message


def test_a_change_of_a_job_that_somebody_undid_is_made_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, wish, memory = 1000.0, SetSlots("job", 2, None), Memory()
    monkeypatch.setattr("batchjob.controller.observe.time.monotonic", lambda: clock)
    plan = Plan((PauseRun(), wish), again_seconds=60)
    assert memory.patient(plan) == plan
    memory.carried_out(plan)
    clock += 1
    assert memory.patient(plan) == Plan((PauseRun(),), again_seconds=UNDONE_SECONDS - 1)
    other = Plan((SetSlots("job", 3, None),))
    assert memory.patient(other) == other, "who changes their mind is not kept waiting"
    clock += UNDONE_SECONDS
    assert memory.patient(plan) == plan


class OneJob(Nothing):
    """A Job of two slots, as the informer has it."""

    suspend = False
    parallelism = 2

    def owned_by(self, *_: str) -> tuple[dict[str, Any], ...]:  # type: ignore[override]
        metadata = {"name": child_name(NAME, UID, 0), "uid": "j", "resourceVersion": "1"}
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
        spec = {"parallelism": self.parallelism, "suspend": self.suspend}
        return ({"metadata": metadata, "spec": spec, "status": {"ready": 2, "active": 2}},)


async def test_who_is_told_to_stop_keeps_its_place_until_its_job_is_suspended() -> None:
    nothing, jobs, queues = cast("Any", Nothing()), OneJob(), Queues(lambda _: None)
    observer = Observer(
        nothing, cast("Any", HungStore()), nothing, cast("Any", jobs), KnownBatchJobs(), queues, nothing
    )
    entry = reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1", jobsCreated=1)
    take_place(queues, await observer.observe(entry, Memory()))
    assert queues.line("custom").active == 1
    stopped = reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1", jobsCreated=1)
    assert stopped.body
    stopped.body["spec"]["suspend"] = True
    take_place(queues, await observer.observe(stopped, Memory()))
    assert queues.line("custom").active == 1
    jobs.suspend = True
    take_place(queues, await observer.observe(stopped, Memory()))
    assert queues.line("custom").active == 0


async def test_who_needs_fewer_workers_keeps_those_it_has_until_its_job_has_fewer_slots() -> None:
    nothing, jobs, queues = cast("Any", Nothing()), OneJob(), Queues(lambda _: None)
    observer = Observer(
        nothing, cast("Any", HungStore()), nothing, cast("Any", jobs), KnownBatchJobs(), queues, nothing
    )
    entry = reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1", jobsCreated=1)
    seen = take_place(queues, await observer.observe(entry, Memory()))
    assert seen.place
    assert (seen.place.workers, queues.line("custom").workers) == (1, 2)
    jobs.parallelism = 1
    seen = take_place(queues, await observer.observe(entry, Memory()))
    assert seen.place
    assert (seen.place.workers, queues.line("custom").workers) == (1, 1)


async def test_who_runs_and_is_unknown_to_its_full_queue_is_not_stopped_for_another() -> None:
    nothing, jobs, queues = cast("Any", Nothing()), OneJob(), Queues(lambda _: None)
    metadata = {"name": "custom", "uid": "q", "generation": 1, "resourceVersion": "1"}
    queues.seen({"metadata": metadata, "spec": {"maxActiveJobs": 1}}, False)
    queues.place("custom", "other", Claim(5, "2026-01-01T00:00:00Z", "other", "a", 1))
    observer = Observer(
        nothing, cast("Any", HungStore()), nothing, cast("Any", jobs), KnownBatchJobs(), queues, nothing
    )
    entry = reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1", jobsCreated=1)
    seen = take_place(queues, await observer.observe(entry, Memory()))
    assert seen.place
    assert seen.place.workers == 1


@pytest.mark.parametrize(
    ("answer", "leaving"),
    [
        ({"metadata": {}}, False),
        ({"metadata": {"deletionTimestamp": "2026-11-26T12:00:00Z"}}, True),
        (Forbidden("no", status=403), False),
    ],
    ids=["stays", "goes", "not-to-be-read"],
)
async def test_a_namespace_goes_only_where_that_can_be_seen(answer: Any, leaving: bool) -> None:
    kube, nothing = AsyncMock(), cast("Any", Nothing())
    kube.get.side_effect = [answer]
    observer = Observer(kube, nothing, nothing, nothing, KnownBatchJobs(), Queues(lambda _: None), nothing)
    assert await observer._is_leaving("team") == leaving


async def test_a_tally_that_a_runs_user_broke_keeps_no_batchjob_from_its_end() -> None:
    store, nothing = AsyncMock(), cast("Any", Nothing())
    store.snapshot.return_value = snapshot(state=RunState.CLOSED)
    store.tally.side_effect = StoreDamaged("WRONGTYPE")
    observer = Observer(nothing, store, nothing, nothing, KnownBatchJobs(), Queues(lambda _: None), nothing)
    seen = await observer.observe(reads({"items": [{"id": "a", "data": {}}]}, storeEpoch="e1"), Memory())
    assert (seen.tally, seen.damage) == (Tally(), None)


def test_a_glance_asks_nobody_and_knows_the_job_all_the_same() -> None:
    nothing = cast("Any", Nothing())
    metadata = {"name": child_name(NAME, UID, 0), "uid": "j", "resourceVersion": "1"}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    jobs = cast("Any", SimpleNamespace(owned_by=lambda *_: [{"metadata": metadata, "spec": {"parallelism": 3}}]))
    observer = Observer(None, None, None, jobs, KnownBatchJobs(), Queues(lambda _: None), nothing)  # type: ignore[arg-type]
    seen = observer.glance(reads({"items": [{"id": "a", "data": {}}]}), Memory())
    assert seen.child
    assert (seen.child.parallelism, seen.snapshot, seen.job.metadata.name) == (3, None, NAME)


def test_an_end_that_lies_in_the_future_of_a_clock_that_was_set_back_is_no_reason_to_wait_for_it() -> None:
    nothing = cast("Any", Nothing())
    observer = Observer(nothing, nothing, nothing, nothing, KnownBatchJobs(), Queues(lambda _: None), nothing)
    in_an_hour = format_time(datetime.now(UTC) + timedelta(hours=1))
    entry = reads({"items": []}, phase="Succeeded", completionTime=in_an_hour)
    assert 3500 < observer.ended(entry).seconds <= 3600
