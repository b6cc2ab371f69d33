"""Whatever happens, in whatever order, and wherever the operator dies: the plans lead to a true and final status."""

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.controller.observed import Parent, Trouble
from batchjob.core.deadline import COUNTED
from batchjob.core.phases import CONDITIONS, TERMINAL, is_terminal
from batchjob.core.reasons import Reason
from tests.support.plan_world import World

ITEMS = [{"id": f"i{n}", "data": {"n": n}} for n in range(3)]
TYPES = {
    "custom": {"processor": "noop"},
    "email": {"smtp": {"host": "h"}, "from": "a@b", "subject": "s", "text": "t"},
    "export": {"destination": {"url": "file:///data/out"}},
}

POLICIES = [None, {"maxFailedPercent": 20}, {"maxFailedPercent": 20, "action": "Fail"}]

NOT_STARTED = frozenset({Phase.PENDING, Phase.QUEUED, Phase.SUSPENDED, Phase.RUNNING}) | TERMINAL
STARTED = frozenset({Phase.RUNNING, Phase.FINALIZING, Phase.SUSPENDED}) | TERMINAL

# Phase → what may follow. A suspended BatchJob may not have begun, so it may go back to waiting.
# Running → Queued: only where Kueue takes the pods back, or its queue and its Job are gone. Finalizing → Running and
# Finalizing → Queued: only where the store was lost, so that the run begins again, and waits for its turn if it must.
MOVES = {
    Phase.PENDING: NOT_STARTED,
    Phase.QUEUED: NOT_STARTED,
    Phase.SUSPENDED: NOT_STARTED | STARTED,
    Phase.RUNNING: STARTED | {Phase.QUEUED},
    Phase.FINALIZING: STARTED | {Phase.QUEUED},
    Phase.SUCCEEDED: frozenset({Phase.SUCCEEDED}),
    Phase.FAILED: frozenset({Phase.FAILED}),
    Phase.CANCELLED: frozenset({Phase.CANCELLED}),
}


def test_an_end_is_final_and_can_be_reached_from_everywhere() -> None:
    assert set(MOVES) == set(Phase)
    for phase, after in MOVES.items():
        assert phase in after
        assert (after == {phase}) if phase in TERMINAL else after >= TERMINAL


def user_cancels(world: World) -> None:
    world.edit(cancel=True)


def worker_is_misconfigured(world: World) -> None:
    world.end_job(("PodFailurePolicy", "exit code 64"))


def somebody_deletes_the_jobs(world: World) -> None:
    world.jobs.clear()


def store_restarts(world: World) -> None:
    world.has_user = False


def store_is_lost(world: World) -> None:
    world.run, world.has_user = None, False


def store_falls_silent(world: World) -> None:
    world.is_store_silent = True


def reference_vanishes(world: World) -> None:
    world.missing = Trouble(Reason.SECRET_NOT_FOUND, "there is no Secret s")


def image_cannot_be_pulled(world: World) -> None:
    world.pods = Trouble(Reason.IMAGE_PULL_FAILED, "no such image")


def parent_fails(world: World) -> None:
    world.parent = Parent("p", "custom", ended=True, complete=False)


def parent_is_deleted(world: World) -> None:
    world.parent = None


def all_heals(world: World) -> None:
    world.is_store_silent, world.missing, world.pods = False, None, None
    world.parent = Parent("p", "custom", ended=True, complete=True)


def too_many_items_fail(world: World) -> None:
    world.trip()


BLOWS = [
    user_cancels,
    *[too_many_items_fail] * 3,
    worker_is_misconfigured,
    somebody_deletes_the_jobs,
    store_restarts,
    store_is_lost,
    store_falls_silent,
    reference_vanishes,
    image_cannot_be_pulled,
    parent_fails,
    parent_is_deleted,
    *[all_heals] * 6,
]


class Lives(RuleBasedStateMachine):
    """One BatchJob, everything that can happen to it, and an operator that looks at it now and then."""

    @initialize(
        kind=st.sampled_from(sorted(TYPES)),
        suspend=st.booleans(),
        reads=st.booleans(),
        policy=st.sampled_from(POLICIES),
        deadline=st.sampled_from([None, 60, 200]),
    )
    def create(
        self, kind: str, suspend: bool, reads: bool, policy: dict[str, Any] | None, deadline: int | None
    ) -> None:
        source = {"resultsOf": {"batchJobName": "parent"}} if reads else {"items": ITEMS}
        spec = {"type": kind, "custom": None, kind: TYPES[kind], "source": source, "suspend": suspend}
        spec |= {"failurePolicy": policy, "activeDeadlineSeconds": deadline}
        self.active_seconds, self.pauses = 0.0, 0
        self.world = World(spec=spec)
        all_heals(self.world)

    @rule()
    def look(self) -> None:
        before = self.world.status
        plan = self.world.look()
        if plan.status is not None:
            self.check_write(before, plan.status)

    @rule(steps=st.integers(0, 3))
    def look_and_die(self, steps: int) -> None:
        self.world.look(crash_after=steps)
        self.world.written_at = None  # the next operator remembers nothing

    @rule()
    def look_in_a_burst(self) -> None:
        self.world.look(in_burst=True)

    @rule(suspend=st.booleans(), slots=st.integers(1, 3), policy=st.sampled_from(POLICIES))
    def edit(self, suspend: bool, slots: int, policy: dict[str, Any] | None) -> None:
        self.world.edit(suspend=suspend, parallelism=slots, failurePolicy=policy)

    @rule()
    def somebody_decides(self) -> None:
        self.world.edit(resumeToken=f"token {self.world.generation}")

    @rule(total=st.integers(1, 20), succeeded=st.integers(0, 8), failed=st.integers(0, 2))
    def workers_work(self, total: int, succeeded: int, failed: int) -> None:
        self.world.load(total)
        self.world.work(succeeded, failed)

    @rule()
    def a_worker_seals(self) -> None:
        self.world.seal()

    @rule(failure=st.sampled_from([None, ("BackoffLimitExceeded", "too often")]))
    def the_job_ends(self, failure: tuple[str, str] | None) -> None:
        self.world.end_job(failure)

    @rule(seconds=st.sampled_from([0.5, 7, 45]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        if self.world.status and self.world.status.phase in COUNTED:
            self.active_seconds += seconds

    @rule(blow=st.sampled_from(BLOWS))
    def fate_strikes(self, blow: Callable[[World], None]) -> None:
        blow(self.world)

    @rule()
    def looks_come_to_rest(self) -> None:
        world = self.world
        before = world.status
        world.settle()
        self.pauses += 1  # one may have begun
        if world.status is not None and world.status is not before:
            self.check_conditions(world.status)
        if is_terminal(world.status):
            assert not world.has_user, "an ended BatchJob keeps no access to the store"
            assert not world.has_secret, "nor what would give it"
        if world.is_store_silent or is_terminal(world.status):
            return
        assert not world.spec.get("cancel"), "a cancelled BatchJob ends"
        self.check_paused_or_running()

    def check_paused_or_running(self) -> None:
        world, child = self.world, self.world.child()
        if child is None or world.run is None:
            return
        suspend = world.spec["suspend"] or world.run.tripped is not None
        assert world.run.paused == suspend
        assert child.ended or child.suspended == suspend
        assert suspend or not child.ended, "a run that is not paused has a Job that works"
        slots = world.spec.get("parallelism", 1)
        for_what_was_left = child.finished_before > 0 and 0 < child.parallelism < slots
        assert suspend or child.ended or child.parallelism == slots or for_what_was_left
        assert world.has_user
        assert world.has_secret

    def check_write(self, before: BatchJobStatus | None, after: BatchJobStatus) -> None:
        if after.phase is Phase.SUSPENDED:
            self.pauses += 1
        if before is not None:
            assert after.phase in MOVES[before.phase]
            assert after.jobs_created >= before.jobs_created
            assert after.observed_generation >= before.observed_generation
            if is_terminal(before):
                assert after.model_copy(update={"observed_generation": 0}) == before.model_copy(
                    update={"observed_generation": 0}
                )
        self.check_conditions(after)

    def check_conditions(self, status: BatchJobStatus) -> None:
        true = frozenset(c.type for c in status.conditions if c.status == "True")
        assert true in {kinds for (phase, _), kinds in CONDITIONS.items() if phase == status.phase}

    @invariant()
    def one_job_at_a_time(self) -> None:
        assert len([job for job in self.world.jobs.values() if not job.ended]) <= 1

    @precondition(lambda self: is_terminal(self.world.status))
    @invariant()
    def an_end_is_told_whole(self) -> None:
        status = self.world.status
        assert status is not None
        assert status.completion_time is not None
        assert status.results is not None
        assert status.results.expires_at is not None

    @precondition(lambda self: is_terminal(self.world.status))
    @invariant()
    def the_clock_counted_what_was_running(self) -> None:
        status = self.world.status
        assert status is not None
        assert abs(status.active_seconds - self.active_seconds) <= 1 + self.pauses, "each pause may cost a second"
        if any(c.reason == Reason.DEADLINE_EXCEEDED for c in status.conditions):
            assert status.active_seconds >= self.world.spec["activeDeadlineSeconds"]


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
