"""What the operator decides in each situation, one sentence a situation."""

from dataclasses import replace

import pytest

from batchjob.api.blocks.export import Destination
from batchjob.api.run import ParentResults
from batchjob.api.status import BatchJobStatus, ConditionType, Counts, Phase
from batchjob.controller import actions as do
from batchjob.controller.ending import plan_ended
from batchjob.controller.observed import Ended, Parent, Trouble
from batchjob.controller.obstacles import plan_obstructed
from batchjob.controller.plan import make_plan
from batchjob.core.items import RunRules, RunState
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import LastError
from tests.support.plan_world import NAME, SETTINGS, UID, World, condition, kinds, snapshot, started

# ---- the beginning -------------------------------------------------------------------------------------


def test_pods_are_started_before_the_bookkeeping() -> None:
    plan = World().look()
    assert kinds(plan) == [do.OpenRun, do.Admit, do.CreateJob]
    assert plan.status is not None
    assert (plan.status.phase, plan.status.progress, plan.status.jobs_created) == (Phase.RUNNING, "0/?", 1)
    assert plan.status.observed_generation == 1


@pytest.mark.parametrize(("policy", "early"), [("fail", False), ("skip", True)])
def test_items_may_be_claimed_while_the_source_is_read_where_bad_ones_are_left_out(policy: str, early: bool) -> None:
    source = {"items": [{"id": "a", "data": {}}], "onBadItem": policy}
    world = World()
    world.edit(source=source)
    assert world.plan().actions[0] == do.OpenRun("e1", 3, rules=RunRules(limit_bytes=2**28, early=early))


def test_a_run_opened_before_a_crash_is_taken_up_in_its_own_epoch() -> None:
    world = World()
    world.look(crash_after=1)
    world.epochs = 7
    plan = world.plan()
    assert plan.actions[0] == do.OpenRun("e1", 3, rules=RunRules(limit_bytes=2**28))
    assert plan.status
    assert plan.status.store_epoch == "e1"


def test_a_job_made_before_a_crash_is_found_and_counted() -> None:
    world = World()
    world.look(crash_after=3)
    plan = world.look()
    assert kinds(plan) == []
    assert plan.status
    assert (plan.status.jobs_created, plan.status.jobs[0].name) == (1, world.child().name)  # type: ignore[union-attr]
    world.end_job(None)
    assert kinds(world.look()) == [do.CreateJob]
    assert len(world.jobs) == 2, "the second Job has a name of its own"


def test_what_is_missing_stalls_and_is_looked_for_again() -> None:
    world = World(missing=Trouble(Reason.SECRET_NOT_FOUND, "there is no Secret s"))
    plan = world.look()
    assert (plan.actions, plan.back_off) == ((), True)
    assert condition(plan.status, ConditionType.STALLED) == ("True", "SecretNotFound", "there is no Secret s")
    assert condition(plan.status, ConditionType.RECONCILING)[0] == "False"
    again = world.look()
    assert (again.status, again.back_off) == (None, True), "nothing new is nothing to write"


def check_wait(source: str, parent: Parent | None, phase: Phase, reason: Reason) -> None:
    """What becomes of a run that reads `parent`, which stands like this."""
    plan = World(spec={"source": {source: {"batchJobName": "parent"}}}, parent=parent).look()
    assert plan.status
    assert plan.status.phase is phase
    assert {c.reason for c in plan.status.conditions} == {reason}
    assert bool(plan.actions) == (phase is Phase.RUNNING)


@pytest.mark.parametrize(
    ("parent", "phase", "reason"),
    [
        (None, Phase.PENDING, Reason.BATCH_JOB_NOT_FOUND),
        (Parent("p", "custom", ended=False, complete=False), Phase.QUEUED, Reason.DEPENDENCY_NOT_MET),
        (Parent("p", "custom", ended=True, complete=False), Phase.FAILED, Reason.DEPENDENCY_FAILED),
        (Parent("p", "custom", ended=True, complete=True), Phase.RUNNING, Reason.LOADING),
    ],
)
def test_a_run_that_reads_another_one_waits_for_its_success(
    parent: Parent | None, phase: Phase, reason: Reason
) -> None:
    check_wait("resultsOf", parent, phase, reason)


@pytest.mark.parametrize(
    ("parent", "phase", "reason"),
    [
        (None, Phase.PENDING, Reason.BATCH_JOB_NOT_FOUND),
        (Parent("p", "custom", ended=False, complete=False), Phase.QUEUED, Reason.DEPENDENCY_NOT_MET),
        (Parent("p", "custom", ended=True, complete=False), Phase.RUNNING, Reason.LOADING),
        (Parent("p", "export", ended=True, complete=True), Phase.RUNNING, Reason.LOADING),
    ],
)
def test_a_redrive_waits_for_the_end_of_the_other_run_and_not_for_its_success(
    parent: Parent | None, phase: Phase, reason: Reason
) -> None:
    check_wait("redriveOf", parent, phase, reason)


def test_nothing_starts_before_its_time() -> None:
    world = World(spec={"startAfter": "2026-01-01T01:00:00+00:00"})
    plan = world.look()
    assert (plan.actions, plan.again_seconds, plan.back_off) == ((), 3600, False)
    assert condition(plan.status, ConditionType.QUEUED) == (
        "True",
        "StartAfter",
        "Waits until 2026-01-01T01:00:00+00:00.",
    )
    world.pass_time(3600)
    assert kinds(world.look()) == [do.OpenRun, do.Admit, do.CreateJob]


def test_the_parents_uid_goes_to_the_workers() -> None:
    complete = Parent("p-uid", "custom", ended=True, complete=True)
    plan = World(spec={"source": {"resultsOf": {"batchJobName": "parent"}}}, parent=complete).plan()
    (admit,) = [action for action in plan.actions if isinstance(action, do.Admit)]
    assert admit.run.parent_uid == "p-uid"


def test_where_the_parents_results_are_goes_to_the_workers_with_its_credentials() -> None:
    place = Destination.model_validate({"url": "s3://b/out", "credentialsSecretRef": {"name": "keys"}})
    results = ParentResults(destination=place, folder="parent-p-uid")
    parent = Parent("p-uid", "custom", ended=True, complete=True, results=results)
    plan = World(spec={"source": {"resultsOf": {"batchJobName": "parent"}}}, parent=parent).plan()
    _, admit, create = plan.actions
    assert isinstance(admit, do.Admit)
    assert admit.run.parent_results == results
    assert isinstance(create, do.CreateJob)
    volumes = create.manifest["spec"]["template"]["spec"]["volumes"]
    assert {"name": "reference-source-credentials", "secret": {"secretName": "keys"}} in volumes
    redrive = World(spec={"source": {"redriveOf": {"batchJobName": "parent"}}}, parent=parent).plan().actions
    assert isinstance(redrive[1], do.Admit)
    assert redrive[1].run.parent_results is None, "dead letters are in the store"


def test_the_store_is_told_whether_results_leave_it() -> None:
    plan = World(spec={"results": {"destination": {"url": "s3://b/out"}}}).plan()
    assert plan.actions[0] == do.OpenRun("e1", 3, rules=RunRules(have_destination=True, limit_bytes=2**28))


@pytest.mark.parametrize("circle", [(NAME,), (NAME, "b", "c")])
def test_batch_jobs_that_wait_for_each_other_are_refused(circle: tuple[str, ...]) -> None:
    parent = Parent("p", "custom", ended=False, complete=False)
    for way in ("resultsOf", "redriveOf"):
        plan = World(spec={"source": {way: {"batchJobName": circle[-1]}}}, parent=parent, circle=circle).plan()
        _, reason, message = condition(plan.status, ConditionType.FAILED)
        assert reason == "InvalidSpec"
        assert message.startswith(f"spec.source.{way}.batchJobName: each of these waits for the next: ")
        assert " → ".join([*circle, NAME]) in message


@pytest.mark.parametrize("ended", [False, True])
def test_an_export_has_no_results_to_read(ended: bool) -> None:
    parent = Parent("p", "export", ended=ended, complete=ended)
    plan = World(spec={"source": {"resultsOf": {"batchJobName": "parent"}}}, parent=parent).plan()
    _, reason, message = condition(plan.status, ConditionType.FAILED)
    assert (plan.actions, reason) == ((), "InvalidSpec")
    assert "type export" in message


def test_64_kib_of_inline_items_pass_and_more_do_not() -> None:
    def of(size: int) -> do.Plan:
        frame = len('[{"id":"a","data":{"t":""}}]')
        items = [{"id": "a", "data": {"t": "x" * (size - frame)}}]
        return World(spec={"source": {"items": items}}).plan()

    assert of(64 * 1024).actions
    status, reason, message = condition(of(64 * 1024 + 1).status, ConditionType.FAILED)
    assert (status, reason) == ("True", "InvalidSpec")
    assert message.startswith("spec.source.items has 65537 bytes")


# ---- while it runs -------------------------------------------------------------------------------------


def test_nothing_happened_is_nothing_to_do() -> None:
    plan = started().plan()
    assert plan.actions == ()
    assert plan.status is None


def test_a_pause_stops_grants_before_it_stops_pods_and_costs_no_new_job() -> None:
    world = started()
    world.edit(suspend=True)
    plan = world.look()
    assert kinds(plan) == [do.PauseRun, do.SetSlots]
    assert plan.status
    assert plan.status.phase is Phase.SUSPENDED
    world.edit(suspend=False)
    plan = world.look()
    assert kinds(plan) == [do.ResumeRun, do.SetSlots]
    assert plan.status
    assert (plan.status.phase, plan.status.jobs_created) == (Phase.RUNNING, 1)


def test_a_paused_run_whose_job_is_gone_gets_none_until_it_is_resumed() -> None:
    world = started()
    world.edit(suspend=True)
    world.settle()
    world.jobs.clear()
    assert kinds(world.look()) == []
    world.edit(suspend=False)
    assert kinds(world.look()) == [do.ResumeRun, do.CreateJob]


def test_slots_follow_the_spec() -> None:
    world = started()
    world.edit(parallelism=4)
    assert world.look().actions == (do.SetSlots(world.child().name, 4, None),)  # type: ignore[union-attr]


def test_a_user_that_the_store_forgot_is_made_again() -> None:
    world = started()
    world.has_user = False
    assert kinds(world.look()) == [do.Admit]


def test_a_secret_that_somebody_deleted_is_made_again() -> None:
    world = started()
    world.has_secret = False
    assert kinds(world.look()) == [do.Admit]


def test_a_job_that_ended_with_items_left_is_followed_by_another() -> None:
    world = started()
    world.work(succeeded=3)
    world.end_job(("FailedIndexes", "index 0"))
    plan = world.look()
    assert kinds(plan) == [do.CreateJob]
    assert world.child().finished_before == 3  # type: ignore[union-attr]
    assert plan.status
    assert plan.status.jobs_created == 2


def test_three_jobs_in_a_row_without_an_item_end_the_run_but_progress_starts_the_count_anew() -> None:
    world = started()
    for _ in range(2):
        world.end_job(("FailedIndexes", "index 0"))
        assert kinds(world.look()) == [do.CreateJob]
    world.work(succeeded=1)
    for _ in range(3):
        world.end_job(("FailedIndexes", "index 0"))
        assert kinds(world.look()) == [do.CreateJob]
    world.end_job(("FailedIndexes", "index 0"))
    assert kinds(world.look()) == [do.AbandonRun]
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1] == "WorkersFailed"


def test_a_run_whose_workers_had_too_little_memory_says_so_while_none_works_and_when_it_is_given_up() -> None:
    world = started()
    world.fail_pods(1)
    world.pods = Trouble(Reason.OUT_OF_MEMORY, "Pod p was killed. Raise the limit.")
    assert condition(world.look().status, ConditionType.STALLED)[:2] == ("True", "OutOfMemory")
    for _ in range(3):
        world.end_job(("FailedIndexes", "index 0"))
        world.look()
    world.settle()
    assert "The last one: Pod p was killed. Raise the limit." in condition(world.status, ConditionType.FAILED)[2]


def test_a_worker_that_cannot_work_ends_the_run_at_once_with_its_own_words() -> None:
    world = started()
    world.end_job(("PodFailurePolicy", "exit code 64"))
    seen = replace(world.observe(), misconfigured="there is no processor x")
    assert make_plan(seen, SETTINGS).actions == (do.FailRun(Reason.WORKER_MISCONFIGURED, "there is no processor x"),)
    world.settle()
    assert condition(world.status, ConditionType.FAILED)[1:] == ("WorkerMisconfigured", "exit code 64")


def test_an_unreachable_source_stalls_while_it_lasts() -> None:
    world = World()
    world.look()
    world.run = snapshot(RunState.LOADING, None, load_error=("upstream", "no answer from bucket"))
    assert condition(world.look().status, ConditionType.STALLED) == (
        "True",
        "SourceUnreachable",
        "no answer from bucket",
    )
    world.run = snapshot(RunState.LOADING, None)
    assert condition(world.look().status, ConditionType.STALLED)[0] == "False"


def test_pods_that_do_not_start_stall_the_run_and_are_looked_at_again() -> None:
    world = started()
    world.pods = Trouble(Reason.IMAGE_PULL_FAILED, "no such image")
    plan = world.look()
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "ImagePullFailed")
    assert plan.back_off
    assert [(note.type, note.reason) for note in plan.notes] == [("Warning", "ImagePullFailed")]


def test_an_object_in_foreground_deletion_gets_no_new_children() -> None:
    world = started()
    world.jobs.clear()
    seen = world.observe()
    leaving = seen.job.metadata.model_copy(update={"deletion_timestamp": "2026-01-01T00:00:00Z"})
    seen = replace(seen, job=seen.job.model_copy(update={"metadata": leaving}))
    assert make_plan(seen, SETTINGS) == do.Plan()


# ---- the end -------------------------------------------------------------------------------------------


def test_the_job_of_a_namespace_that_is_being_deleted_goes_so_that_its_pods_can() -> None:
    world = started()
    [name] = world.jobs
    seen = world.observe()
    assert seen.child is not None
    assert make_plan(replace(seen, leaving=True), SETTINGS) == do.Plan((do.DeleteJob(name, seen.child.uid),))
    assert make_plan(replace(seen, leaving=True, child=None), SETTINGS) == do.Plan()


def test_cancel_marks_the_items_first_and_then_takes_the_job() -> None:
    world = started()
    world.work(succeeded=2)
    world.edit(cancel=True)
    assert kinds(world.look()) == [do.CancelRun]
    plan = world.look()
    assert kinds(plan) == [do.DeleteJob]
    assert plan.status
    assert (plan.status.phase, plan.status.counts.cancelled) == (Phase.CANCELLED, 8)
    assert condition(plan.status, ConditionType.FAILED)[1] == "Cancelled"
    assert condition(plan.status, ConditionType.STALLED)[0] == "False"


def test_cancel_before_the_start_makes_nothing() -> None:
    plan = World(spec={"cancel": True}).look()
    assert plan.actions == ()
    assert plan.status
    assert plan.status.phase is Phase.CANCELLED


def test_conditions_that_do_not_hold_say_what_goes_on_instead() -> None:
    world = started()
    world.work(succeeded=1)
    world.pass_time(40)
    world.look()
    assert condition(world.status, ConditionType.QUEUED) == ("False", Reason.RUNNING, "")
    world.work(succeeded=9)
    world.settle()
    assert condition(world.status, ConditionType.QUEUED) == ("False", Reason.FINALIZING, "")
    world.seal()
    world.settle()
    assert condition(world.status, ConditionType.COMPLETE)[:2] == ("True", Reason.SUCCEEDED)


def test_items_that_failed_make_the_end_a_failure() -> None:
    world = started()
    world.work(succeeded=8, failed=2)
    world.seal()
    plan = world.look()
    assert plan.actions == (), "the workers leave by themselves"
    message = condition(plan.status, ConditionType.FAILED)[2]
    assert message == "2 of 10 items failed: of the last 1: upstream 1. Last: a: HTTP 503"
    assert plan.status
    assert plan.status.failed_items == "0-1"
    assert [(note.type, note.reason) for note in plan.notes] == [("Warning", "ItemsFailed")]


def test_a_reason_that_a_worker_made_up_is_not_repeated_as_ours() -> None:
    world = started()
    world.run = snapshot(RunState.FAILED, 10, reason="Hacked", message="boo")
    assert condition(world.look().status, ConditionType.FAILED)[1:] == ("WorkersFailed", "boo")


def test_errors_are_clipped_and_counted_by_class() -> None:
    world = started()
    errors = [LastError("x" * 200, "timeout", "m" * 300), LastError("b", "upstream", "no")]
    counts = {"succeeded": 7, "failed": 3}
    world.run = snapshot(RunState.CLOSED, 10, counts=counts, last_errors=errors, failed_positions=[1, 2])
    status = world.look().status
    assert status
    assert (len(status.last_errors[0].item_id), len(status.last_errors[0].message)) == (128, 256)
    assert status.failed_items == "1-2,…", "the store names no more than it keeps"
    assert condition(status, ConditionType.FAILED)[2].startswith(
        "3 of 10 items failed: of the last 2: timeout 1, upstream 1. Last: x"
    )


def test_an_ended_batch_job_only_notes_that_its_spec_was_edited() -> None:
    world = started()
    world.work(succeeded=10)
    world.seal()
    world.settle()
    end = world.status
    world.edit(suspend=True)
    plan = world.look()
    assert plan.actions == ()
    assert plan.status
    assert end
    assert plan.status == end.model_copy(update={"observed_generation": 2})
    assert world.look() == do.Plan()


def test_workers_of_an_ended_batch_job_may_leave_by_themselves_for_a_while() -> None:
    world = started()
    child = world.child()
    assert child
    ended = Ended(NAME, UID, seconds=10, has_user=True, dismissed=False, child=child)
    assert plan_ended(ended, 60) == do.Plan(again_seconds=50)
    assert plan_ended(replace(ended, seconds=60), 60) == do.Plan((do.DeleteJob(child.name, child.uid, child.version),))
    assert kinds(plan_ended(replace(ended, child=replace(child, ended=True)), 60)) == [do.Dismiss]
    assert plan_ended(replace(ended, child=None, has_user=False, dismissed=True), 60) == do.Plan()


def test_workers_whose_job_was_deleted_keep_their_user_until_they_have_heard_of_the_end() -> None:
    ended = Ended(NAME, UID, seconds=10, has_user=True, dismissed=False, child=None)
    assert plan_ended(ended, 60) == do.Plan(again_seconds=50)
    assert kinds(plan_ended(replace(ended, seconds=60), 60)) == [do.Dismiss]


def test_the_secret_of_a_run_whose_user_the_store_has_forgotten_goes_too_and_is_looked_for_once() -> None:
    ended = Ended(NAME, UID, seconds=10, has_user=False, dismissed=False, child=None)
    assert plan_ended(ended, 60) == do.Plan(again_seconds=50)
    assert kinds(plan_ended(replace(ended, seconds=60), 60)) == [do.Dismiss]
    assert plan_ended(replace(ended, seconds=61, dismissed=True), 60) == do.Plan()
    assert plan_ended(replace(ended, seconds=3600), 60) == do.Plan(), "a new leader asks for no Secret of long ago"


def test_a_run_that_was_being_given_up_when_the_operator_died_is_given_up_to_the_end() -> None:
    world = started()
    world.run = snapshot(abandoned=True, message="3 Jobs in a row", counts={"waiting": 6, "failed": 4})
    assert world.look().actions == (do.AbandonRun("3 Jobs in a row"),)
    assert world.look().status
    assert condition(world.status, ConditionType.FAILED)[1:] == (
        "WorkersFailed",
        "3 Jobs in a row 10 of 10 items failed.",
    )


def test_a_run_that_ended_before_its_first_status_was_written_says_how_it_began() -> None:
    world = World()
    plan = world.look(crash_after=9)
    assert world.writes == 0
    assert any(isinstance(action, do.CreateJob) for action in plan.actions)
    world.pass_time(90)
    world.load(2)
    world.work(succeeded=2)
    world.change(state=RunState.CLOSED)
    world.look()
    assert world.status
    assert world.status.phase is Phase.SUCCEEDED
    assert (world.status.jobs_created, world.status.store_epoch) == (1, world.run.epoch if world.run else None)
    assert world.status.duration == "1m30s"


def test_what_workers_say_at_too_great_length_does_not_keep_a_run_from_ending() -> None:
    world = started()
    said = {"source_sha256": "s" * 99, "source_etag": "e" * 300, "manifest_sha256": "sha256:" + "f" * 64}
    bad = {"bad_items": 12, "bad_item_messages": ["b" * 300] * 12}
    errors = [LastError("a", "c" * 80, "m")]
    world.run = snapshot(
        RunState.CLOSED, 10, counts={"succeeded": 10}, results_uri="u" * 3000, last_errors=errors, **said, **bad
    )
    status = world.look().status
    assert status
    assert status.phase is Phase.SUCCEEDED
    assert status == BatchJobStatus.model_validate(status.to_json()), "it fits its own schema"
    assert condition(status, ConditionType.COMPLETE)[2] == (
        "10 items succeeded. Records that were left out: 12. status.source says which."
    )
    assert status.source
    assert (status.source.bad_items, len(status.source.bad_item_messages or ())) == (12, 10)


def test_a_name_that_somebody_else_has_stalls() -> None:
    plan = plan_obstructed(World().observe(), Trouble(Reason.NAME_TAKEN, "Job x is another's"), SETTINGS.pace)
    assert plan.back_off
    assert condition(plan.status, ConditionType.STALLED)[:2] == ("True", "NameTaken")


def test_times_of_conditions_move_only_with_their_status() -> None:
    world = started()
    world.pass_time(100)
    world.work(succeeded=10)
    status = world.look().status
    assert status
    assert status.phase is Phase.FINALIZING
    assert {c.last_transition_time for c in status.conditions} == {"2026-01-01T00:00:00Z"}
    world.seal()
    done = world.look().status
    assert done
    times = {c.type: c.last_transition_time for c in done.conditions}
    assert times.pop("Complete") == "2026-01-01T00:01:40Z"
    assert set(times.values()) == {"2026-01-01T00:00:00Z"}
    assert done.duration == "1m40s"
    assert done.counts == Counts(total=10, succeeded=10)
