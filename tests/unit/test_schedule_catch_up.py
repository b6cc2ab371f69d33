"""What becomes of the times that a BatchSchedule missed, in a world of plain values."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.api.schedule import ScheduleConditionType
from batchjob.controller.schedules.actions import MakeRun, Tell
from batchjob.controller.schedules.plan import MAX_MISSED, plan_schedule
from batchjob.core.reasons import Reason
from tests.support.schedule_world import HOURLY, ScheduleWorld, condition, missed, run, times_of_jobs, world


def job_name(found: ScheduleWorld, number: int) -> str:
    """The name of the Job of a full hour."""
    return f"{found.cron_job()}-{int(found.hour(number).timestamp()) // 60}"


def an_hour_of(found: ScheduleWorld, hour: int) -> None:
    """An hour of a cluster: a run is due, everything ends, and one Complete Job is kept."""
    if job_name(found, hour) not in found.jobs:
        found.fire(found.hour(hour))
    for _ in range(3):
        found.look()
    for name in list(found.runs):
        found.end(name)
    for _ in range(3):
        found.look()
    found.prune(1)


def owed(found: ScheduleWorld) -> list[str]:
    """The times that are still to be made up for."""
    assert found.status is not None
    return found.status.cron_jobs[0].owed


def runs_made(found: ScheduleWorld) -> list[str]:
    """The names of all BatchJobs that were made, as often as they were."""
    return [action.manifest["metadata"]["name"] for action in found.writes if isinstance(action, MakeRun)]


def test_without_catch_up_missed_runs_are_counted_and_given_up() -> None:
    found = world()
    missed(found, 5)
    plan = found.look()
    assert plan.missed == 4
    found.settle()
    assert list(found.runs) == [run(5)]
    assert found.look().missed == 0, "once"
    note = found.said[0]
    assert (note.type, note.reason) == ("Warning", "RunsMissed")
    assert f"not made up for: 4 of '{HOURLY}' from 2026-01-01T01:00:00Z to 2026-01-01T04:00:00Z." in note.message


def test_forbid_leaves_runs_out_on_purpose_and_they_are_not_missed() -> None:
    found = world(concurrencyPolicy="Forbid")
    missed(found, 5)
    assert found.look().missed == 0
    found.settle()
    assert [(note.type, note.reason) for note in found.said] == [("Normal", "RunsLeftOut"), ("Normal", "RunCreated")]


@pytest.mark.parametrize(("most", "hours"), [(10, [1, 2, 3, 4, 5]), (2, [1, 2, 5])])
def test_missed_runs_are_made_oldest_first_up_to_the_most(most: int, hours: list[int]) -> None:
    found = world(catchUp={"maxRuns": most})
    missed(found, 5)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in hours]
    assert sorted(found.runs) == [*map(run, hours)]
    assert [note.message for note in found.said if note.reason == Reason.RUN_CAUGHT_UP] == [
        f"Made BatchJob {run(hour)} for 2026-01-01T0{hour}:00:00Z, which had been missed." for hour in hours[:-1]
    ]
    found.settle()
    assert len(found.runs) == len(hours), "what was given up is not made with the next look"


def test_in_a_queue_what_was_missed_is_made_before_what_kubernetes_made_since() -> None:
    found = world(catchUp={"maxRuns": 10}, concurrencyPolicy="Queue")
    missed(found, 4)
    found.settle()
    assert list(found.runs) == [run(hour) for hour in (1, 2, 3, 4)]


def test_what_is_older_than_the_deadline_is_not_made() -> None:
    found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=2 * 3600 + 60)
    missed(found, 5)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in (3, 4, 5)]


def test_after_more_missed_runs_than_are_looked_through_those_in_time_are_made() -> None:
    found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=2 * 3600 + 60)
    last = MAX_MISSED + 100
    missed(found, last)
    found.settle()
    assert times_of_jobs(found) == [found.hour(hour) for hour in (last - 2, last - 1, last)]


@pytest.mark.parametrize("hours", [MAX_MISSED, MAX_MISSED + 1, MAX_MISSED + 200])
def test_of_more_missed_runs_than_are_looked_through_it_is_told_that_there_are_more(hours: int) -> None:
    found = world(catchUp=None)
    missed(found, hours)
    notes = [a.note for step in plan_schedule(found.observe()).steps for a in step.actions if isinstance(a, Tell)]
    [said] = [note.message for note in notes if note.reason == Reason.RUNS_MISSED]
    number = f"{MAX_MISSED - 1} of" if hours == MAX_MISSED else f"at least {MAX_MISSED} of"
    assert f"not made up for: {number} '{HOURLY}'" in said


def test_what_fell_into_a_pause_is_not_made_up_for() -> None:
    found = world(catchUp={"maxRuns": 10}, suspend=True)
    found.edit(suspend=False)
    found.now = found.hour(6)
    found.settle()
    found.fire(found.hour(6))
    found.settle()
    assert list(found.runs) == [run(6)]
    found.fire(found.hour(8))
    found.settle()
    assert sorted(found.runs) == [run(6), run(7), run(8)], "what was missed after it is"


@pytest.mark.parametrize("spec", [{"catchUp": {"maxRuns": 100}}, {}])
def test_what_was_done_is_not_run_again_where_a_cron_string_is_removed_and_set_back(spec: dict[str, object]) -> None:
    """Its CronJob stays as long as its last run, whose Jobs before are pruned."""
    found = world(**spec)
    for hour in range(1, 8):
        an_hour_of(found, hour)
    found.fire(found.hour(8))
    found.look()
    found.look()
    made = runs_made(found)
    found.edit(schedules=["30 * * * *"])
    found.settle()
    found.edit(schedules=[HOURLY])
    assert [found.look().missed for _ in range(6)] == [0] * 6
    assert runs_made(found) == made == [*map(run, range(1, 9))]


def test_a_job_that_could_not_be_made_is_made_later_and_alone() -> None:
    found = world(catchUp={"maxRuns": 10})
    found.taken = {job_name(found, hour) for hour in (1, 2)}
    missed(found, 4)
    for hour in range(4, 9):
        an_hour_of(found, hour)
    assert owed(found) == ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
    assert condition(found, ScheduleConditionType.STALLED)[:2] == ("True", "NameTaken")
    found.taken = {job_name(found, 2)}
    an_hour_of(found, 9)
    assert owed(found) == ["2026-01-01T02:00:00Z"]
    found.taken = set()
    an_hour_of(found, 10)
    assert owed(found) == []
    assert condition(found, ScheduleConditionType.STALLED)[0] == "False"
    assert Counter(runs_made(found)) == Counter(map(run, range(1, 11))), "each once, whatever was owed meanwhile"


def test_what_is_owed_is_given_up_and_told_once_where_its_deadline_is_over_or_nobody_wants_it() -> None:
    for change in ({"startingDeadlineSeconds": 3600}, {"catchUp": None}):
        found = world(catchUp={"maxRuns": 10}, startingDeadlineSeconds=5 * 3600)
        found.taken = {job_name(found, 1)}
        missed(found, 3)
        found.look()
        found.edit(**change)
        assert found.look().missed == 1
        found.settle()
        assert owed(found) == []
        [note] = [note for note in found.said if note.reason == Reason.RUNS_MISSED]
        assert f"1 of '{HOURLY}' from 2026-01-01T01:00:00Z" in note.message
        assert times_of_jobs(found) == [found.hour(2), found.hour(3)]


def test_in_a_queue_what_is_owed_keeps_no_job_from_being_told_that_its_run_has_ended() -> None:
    found = world(catchUp={"maxRuns": 10}, concurrencyPolicy="Queue")
    first = found.fire(found.hour(1))
    found.settle()
    found.taken = {job_name(found, 2)}
    missed(found, 3)
    found.look()
    found.end(run(1))
    found.look()
    assert {c["type"] for c in found.jobs[first]["status"]["conditions"]} == {"SuccessCriteriaMet", "Complete"}
    assert runs_made(found) == [run(1)], "the next one waits for what was missed before it"


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_is_done_and_pruned_is_not_run_again_while_the_name_of_another_run_is_taken(by_hand: bool) -> None:
    found = world(catchUp={"maxRuns": 3})
    found.taken = {"report" if by_hand else run(1)}
    if by_hand:
        found.by_hand("report")
    for hour in range(1, 13):
        an_hour_of(found, hour)
    assert condition(found, ScheduleConditionType.STALLED)[0] == "True"
    made = map(run, range(1 if by_hand else 2, 13))
    assert Counter(runs_made(found)) == Counter(made), "each once"


@given(crash=st.integers(0, 12), queue=st.booleans(), most=st.integers(1, 8), hours=st.integers(1, 8))
def test_a_crash_at_any_step_changes_nothing_about_the_end(crash: int, queue: bool, most: int, hours: int) -> None:
    ends = []
    for crash_after in (None, crash):
        found = world(catchUp={"maxRuns": most}, concurrencyPolicy="Queue" if queue else "Allow")
        missed(found, hours)
        if crash_after is not None:
            found.look(crash_after=crash_after)
        found.settle()
        for name in sorted(found.runs):
            found.end(name)
        found.settle()
        ends.append((sorted(found.runs), sorted(found.jobs), found.status and found.status.active))
    assert ends[0] == ends[1]
