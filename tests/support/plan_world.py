"""A world of one BatchJob in which plans are carried out: Kubernetes and the store as plain values, no I/O.

It does what the real ones do as far as a plan can tell, and it can stop in the middle of a plan, as a killed operator
does. Tests drive it with events and look whether the plans lead where they should.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from batchjob.api.queue import BatchQueueSpec, RateLimit
from batchjob.api.status import BatchJobStatus, ConditionType, Counts, JobReference
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller import actions as do
from batchjob.controller.begin import PlanSettings
from batchjob.controller.ending import plan_ended
from batchjob.controller.light import measure
from batchjob.controller.manifests import KUEUE_LABEL, PodSettings, child_name
from batchjob.controller.observed import (
    EPOCH,
    FINISHED_BEFORE,
    FRUITLESS_BEFORE,
    ChildJob,
    Ended,
    Observed,
    Parent,
    Trouble,
)
from batchjob.controller.plan import claim_of, make_plan
from batchjob.controller.queues import build_rules
from batchjob.controller.status import Pace
from batchjob.core.admission import Line
from batchjob.core.breaker import Spent, Trip
from batchjob.core.items import ENDED, RunState
from batchjob.core.phases import is_terminal
from batchjob.core.snapshot import LastError, Snapshot

SETTINGS = PlanSettings(PodSettings("worker:test", "IfNotPresent", 30, 86400, "info"), Pace(5, 1, 30), 2**28, 60.0)
NAME, UID = "job", "uid-1"


def snapshot(state: RunState = RunState.OPEN, total: int | None = 10, **values: Any) -> Snapshot:
    """A snapshot; `values` replace its fields, `counts` those of the counts."""
    counts = values.pop("counts", {"waiting": total or 0})
    facts: dict[str, Any] = {
        **dict.fromkeys(
            ("reason", "message", "load_error", "source_sha256", "source_etag", "results_uri", "manifest_sha256")
        ),
        "next_due_ms": None,
        "bad_items": 0,
        "bad_item_messages": [],
        "paused": False,
        "abandoned": False,
        "epoch": "e1",
        "usage": {},
        "failed_positions": [],
        "last_errors": [],
        "version": 1,
    }
    return Snapshot(state=state, total=total, counts=Counts(total=total or 0, **counts), **facts | values)


def batch_job(spec: dict[str, Any] | None = None, status: BatchJobStatus | None = None, **metadata: Any) -> BatchJob:
    """A BatchJob that runs the no-op processor; `spec` replaces fields of the spec."""
    base = {
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"items": [{"id": f"i{n}", "data": {"n": n}} for n in range(10)]},
    }
    body = {
        "metadata": {"name": NAME, "namespace": "team", "uid": UID, "generation": 1, **metadata},
        "spec": base | (spec or {}),
    }
    return BatchJob.parse(body).model_copy(update={"status": status})


@dataclass
class World:
    """One BatchJob, its children, its run in the store, and a clock that moves when told to."""

    spec: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    status: BatchJobStatus | None = None
    jobs: dict[str, ChildJob] = field(default_factory=dict)
    run: Snapshot | None = None
    has_secret: bool = False
    has_user: bool = False
    dismissed: bool = False
    told_limits: list[RateLimit] | None = None  # of its queue, in the Secret
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    written_at: datetime | None = None
    missing: Trouble | None = None
    pods: Trouble | None = None
    parent: Parent | None = None
    circle: tuple[str, ...] = ()
    certain: list[tuple[int, int]] | None = None
    is_store_silent: bool = False
    queue: BatchQueueSpec | None = field(default_factory=BatchQueueSpec)
    queue_unreadable: bool = False
    line: Line = field(default_factory=Line)  # of that queue; others may be in it
    rate: float | None = None
    epochs: int = 0
    writes: int = 0

    def observe(self) -> Observed:
        """What the operator would see."""
        child = self.child()
        silent = 40.0 if self.is_store_silent else None
        job = batch_job(self.spec, self.status, generation=self.generation)
        seen = Observed(
            job=job,
            inline=measure([item.to_json() for item in job.spec.source.items or ()]),
            now=self.now,
            fresh_epoch=f"e{self.epochs + 1}",
            snapshot=None if self.is_store_silent else self.run,
            store_silent_seconds=silent,
            admitted=self.has_user
            and self.has_secret
            and self.told_limits == (self.queue.rate_limits if self.queue else []),
            child=child,
            missing=self.missing,
            parent=self.parent,
            circle=self.circle,
            certain=self.certain,
            pods=self.pods if child and (child.is_starting or child.is_losing) else None,
            since_write_seconds=(self.now - self.written_at).total_seconds() if self.written_at else float("inf"),
            queue=self.queue,
            queue_unreadable=self.queue_unreadable,
            rate=self.rate,
        )
        claim = claim_of(seen)
        if claim is None or self.queue is None:
            self.line.leave(UID)
        else:
            self.line.rules = build_rules(self.queue)
            self.line.ask(claim)
        self.line.admit()
        return replace(seen, place=self.line.place(UID))

    def child(self) -> ChildJob | None:
        """The newest Job, as `children.newest_child` finds it."""
        created = self.status.jobs_created if self.status else 0
        names = (child_name(NAME, UID, index) for index in range(created, -1, -1))
        return next((self.jobs[name] for name in names if name in self.jobs), None)

    def plan(self) -> do.Plan:
        """What the operator would do now."""
        if is_terminal(self.status) and self.status and self.status.observed_generation == self.generation:
            linger = SETTINGS.linger_seconds
            return plan_ended(Ended(NAME, UID, linger, self.has_user, self.dismissed, self.child()), linger)
        return make_plan(self.observe(), SETTINGS)

    def look(self, crash_after: int | None = None, *, in_burst: bool = False) -> do.Plan:
        """One look; with `crash_after`, the operator dies after so many actions; in a burst, words may wait."""
        plan = self.plan()
        for action in plan.actions[:crash_after]:
            self._do(action)
        if crash_after is None and plan.status is not None and not (in_burst and plan.patient):
            child = self.child()
            made = any(isinstance(action, do.CreateJob) for action in plan.actions)
            named = {"jobs": [JobReference(name=child.name, uid=child.uid)]} if child and made else {}
            self.status = plan.status.model_copy(update=named)
            self.written_at = self.now
            self.writes += 1
        return plan

    def settle(self, limit: int = 12) -> int:
        """Look until nothing is left to do; returns how often."""
        for looks in range(1, limit + 1):
            plan = self.look()
            if not plan.actions and plan.status is None:
                return looks
        raise AssertionError(f"still busy after {limit} looks: {plan}")

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on."""
        self.now += timedelta(seconds=seconds)
        aged = {name: replace(job, age_seconds=job.age_seconds + seconds) for name, job in self.jobs.items()}
        self.jobs = aged

    def edit(self, **spec: Any) -> None:
        """The user changes the spec."""
        self.spec |= spec
        self.generation += 1

    def work(self, succeeded: int = 0, failed: int = 0) -> None:
        """Workers finish items; with the last one the run closes."""
        run = self.run
        if run is None or run.state is not RunState.OPEN or run.paused:
            return
        counts = run.counts
        ok = min(succeeded, counts.waiting)
        bad = min(failed, counts.waiting - ok)
        left = counts.waiting - ok - bad
        moved = {"waiting": left, "succeeded": counts.succeeded + ok, "failed": counts.failed + bad}
        errors = [LastError("a", "upstream", "HTTP 503")] if moved["failed"] else []
        self.change(
            counts=counts.model_copy(update=moved),
            state=run.state if left else RunState.SEALING,
            tripped=run.tripped if left else None,
            last_errors=errors,
            failed_positions=list(range(moved["failed"])),
        )

    def load(self, total: int) -> None:
        """A worker has read the source."""
        if self.run and self.run.state is RunState.LOADING:
            self.change(state=RunState.OPEN, total=total, counts=Counts(total=total, waiting=total))

    def trip(self, failed: int = 3, items: int = 10, percent: int = 20) -> None:
        """Too many items failed for the circuit breaker."""
        if self.run and self.run.state is RunState.OPEN and self.run.breaker and not self.run.paused:
            self.change(paused=True, tripped=Trip(failed, items, percent, self.now))

    def spend(self, tokens: int) -> None:
        """So many tokens were used, which is as much as the budget or more."""
        if self.run and self.run.state is RunState.OPEN and not self.run.paused:
            budget = int(self.run.breaker.split("/")[3])
            self.change(paused=True, tripped=Spent(tokens, budget, self.now), usage={"promptTokens": tokens})

    def seal(self) -> None:
        """A worker has finished the results."""
        if self.run and self.run.state is RunState.SEALING:
            self.change(state=RunState.CLOSED)

    def end_job(self, failure: tuple[str, str] | None) -> None:
        """The current Job ends."""
        if (child := self.child()) and not child.ended:
            self.jobs[child.name] = replace(child, ended=True, ready=0, active=0, failure=failure)

    def fail_pods(self, number: int) -> None:
        """So many pods of the current Job have failed, and none works."""
        if child := self.child():
            self.jobs[child.name] = replace(child, failed=number, ready=0)

    def kueue_says(self, *, suspend: bool) -> None:
        """Kueue lets the Job's pods start, or takes them back."""
        if child := self.child():
            self.jobs[child.name] = replace(child, suspended=suspend)

    def change(self, **values: Any) -> None:
        """The run in the store is another one now."""
        if self.run is None:
            return
        facts = {name: getattr(self.run, name) for name in self.run.__struct_fields__}
        self.run = Snapshot(**facts | values | {"version": self.run.version + 1})

    def _do(self, action: do.Action) -> None:
        match action:
            case do.OpenRun(epoch):
                if self.run is None:
                    self.run = snapshot(RunState.LOADING, None, epoch=epoch)
                    self.epochs += 1
                assert self.run.epoch == epoch
            case do.Admit(run):
                self.told_limits = run.rate_limits
                self.has_secret = self.has_user = True
            case do.CreateJob(manifest):
                self._create(manifest)
            case do.SetSlots(name, parallelism, suspend):
                job = self.jobs[name]
                slots = job.parallelism if parallelism is None else parallelism
                self.jobs[name] = replace(
                    job, parallelism=slots, suspended=job.suspended if suspend is None else suspend, ready=0
                )
            case do.DeleteJob(name, _):
                self.jobs.pop(name, None)
            case do.Dismiss():
                self.has_secret = self.has_user = False
                self.dismissed = True
            case do.PrepareReport():
                pass  # no figures here
            case _:
                self._tell_store(action)

    def _create(self, manifest: dict[str, Any]) -> None:
        name, notes = manifest["metadata"]["name"], manifest["metadata"]["annotations"]
        indexes = [index for index in range(50) if child_name(NAME, UID, index) == name]
        self.jobs.setdefault(
            name,
            ChildJob(
                index=indexes[0],
                name=name,
                uid=f"uid-of-{name}",
                version="1",
                suspended=manifest["spec"].get("suspend", False),
                kueue=manifest["metadata"]["labels"].get(KUEUE_LABEL),
                parallelism=manifest["spec"]["parallelism"],
                active=1,
                ready=0,
                failed=0,
                begun=True,
                age_seconds=0,
                ended=False,
                failure=None,
                epoch=notes[EPOCH],
                finished_before=int(notes[FINISHED_BEFORE]),
                fruitless_before=int(notes[FRUITLESS_BEFORE]),
            ),
        )

    def _tell_store(self, action: do.Action) -> None:
        if self.run is None or self.run.state in ENDED:
            return
        counts = self.run.counts
        rest = counts.waiting + counts.active + counts.delayed
        none_left = {"waiting": 0, "active": 0, "delayed": 0}
        match action:
            case do.PauseRun():
                self.change(paused=True)
            case do.ResumeRun(token):
                if self.run.tripped is None or self.run.state is RunState.SEALING:
                    self.change(paused=False, tripped=None)
                elif token:
                    self.change(paused=False, tripped=None, resumed_by=token)
            case do.SetBreaker(breaker):
                self.change(breaker=breaker)
            case do.CancelRun():
                left = none_left | {"cancelled": counts.cancelled + rest}
                self.change(state=RunState.CANCELLED, counts=counts.model_copy(update=left))
            case do.FailRun(reason, message):
                left = none_left | {"cancelled": counts.cancelled + rest}
                counts = counts.model_copy(update=left)
                self.change(state=RunState.FAILED, reason=reason, message=message, counts=counts)
            case do.AbandonRun(message):
                left = none_left | {"failed": counts.failed + rest}
                self.change(
                    state=RunState.CLOSED,
                    reason="WorkersFailed",
                    message=message,
                    counts=counts.model_copy(update=left),
                )
            case _:
                raise TypeError(f"unknown action {action!r}")


def kinds(plan: do.Plan) -> list[type]:
    """What the plan does, by the kind of action."""
    return [type(action) for action in plan.actions]


def started(**spec: Any) -> World:
    """A BatchJob whose pods work on ten loaded items, and whose status says so."""
    world = World(spec=spec)
    world.look()
    world.load(10)
    world.settle()
    return world


def condition(status: BatchJobStatus | None, kind: ConditionType) -> tuple[str, str, str]:
    """Status, reason and message of a condition, which has to be there."""
    found = status.condition(kind) if status else None
    assert found is not None
    return found.status, found.reason, found.message
