"""A world of one BatchSchedule in which plans are carried out: Kubernetes as plain values, no I/O.

It does what the API server and the CronJob controller do as far as a plan can tell, and it can stop in the middle of
a plan, as a killed operator does.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from batchjob.api.schedule import BatchSchedule, BatchScheduleStatus, ScheduleConditionType
from batchjob.controller.actions import Note
from batchjob.controller.observed import Trouble
from batchjob.controller.schedules.actions import (
    ChangeCronJob,
    DeleteCronJob,
    MakeCronJob,
    MakeJob,
    MakeRun,
    ScheduleAction,
    Tell,
    TellJob,
)
from batchjob.controller.schedules.manifests import CAUGHT_UP, JOB_TIME, build_missed_job, cron_job_name
from batchjob.controller.schedules.observed import SeenSchedule, read_cron_job, read_job, read_run
from batchjob.controller.schedules.plan import SchedulePlan, plan_schedule
from batchjob.controller.schedules.status import build_schedule_status
from batchjob.core.reasons import Reason
from batchjob.core.zones import find_zone
from tests.support.manifests import inline, noop

NAME, HOURLY = "nightly", "0 * * * *"
START = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


@dataclass
class ScheduleWorld:
    """One BatchSchedule, its CronJobs, Jobs and BatchJobs by name, and a clock that moves when told to."""

    spec: dict[str, Any] = field(default_factory=dict)
    now: datetime = START
    generation: int = 1
    status: BatchScheduleStatus | None = None
    cron_jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: list[ScheduleAction] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)  # names under which nothing can be made
    said: list[Note] = field(default_factory=list)  # Events; one that tells of the same is refused
    versions: int = 0

    def schedule(self) -> BatchSchedule:
        """The object."""
        base = {"schedules": [HOURLY], "jobTemplate": {"spec": noop(NAME, inline(1))["spec"]}}
        metadata = {"name": NAME, "namespace": "team", "uid": "uid-s", "generation": self.generation}
        found = BatchSchedule.parse({"metadata": metadata, "spec": base | self.spec})
        return found.model_copy(update={"status": self.status})

    def observe(self) -> SeenSchedule:
        """What the operator would see."""
        schedule = self.schedule()
        cron_jobs = [read_cron_job(body) for body in self.cron_jobs.values()]
        uids = {one.uid for one in cron_jobs}
        jobs = [
            job
            for body in self.jobs.values()
            if (owner := body["metadata"]["ownerReferences"][0]["uid"]) in uids and (job := read_job(body, NAME, owner))
        ]
        runs = {name: read_run(body, _owner(body)) for name, body in self.runs.items()}
        template = {"spec": schedule.spec.job_template.spec.to_json()}
        return SeenSchedule(
            schedule=schedule,
            template=self.spec.get("jobTemplate", template),
            now=self.now,
            image="worker:test",
            cron_jobs=cron_jobs,
            jobs=jobs,
            runs=runs,
        )

    def look(self, crash_after: int | None = None) -> SchedulePlan:
        """One look; with `crash_after`, the operator dies after so many actions."""
        seen = self.observe()
        plan = plan_schedule(seen)
        left = float("inf") if crash_after is None else crash_after
        undone: list[ScheduleAction] = []
        for step in plan.steps:
            for action in step.actions[: int(min(left, len(step.actions)))]:
                if isinstance(action, MakeJob | MakeRun) and action.manifest["metadata"]["name"] in self.taken:
                    undone.append(action)
                    break
                self._do(action)
                left -= 1
        if left > 0:
            trouble = Trouble(Reason.NAME_TAKEN, "taken") if undone else plan.trouble
            self.status = build_schedule_status(seen, plan, trouble, undone)
        return plan

    def settle(self) -> None:
        """Look until nothing is left to do."""
        for _ in range(12):
            before = self.status
            plan = self.look()
            if not plan.steps and self.status == before:
                return
        raise AssertionError(f"still busy: {plan}")

    def edit(self, **spec: Any) -> None:
        """The user changes the spec."""
        self.spec |= spec
        self.generation += 1

    def hour(self, number: int) -> datetime:
        """A full hour after the start."""
        return START.replace(minute=0) + timedelta(hours=number)

    def fire(self, at: datetime, text: str = HOURLY) -> str:
        """The CronJob controller makes a Job; returns its name."""
        cron_job = self.cron_jobs[self.cron_job(text)]
        manifest = build_missed_job(cron_job, cron_job["metadata"]["uid"], at, find_zone("UTC"))
        del manifest["metadata"]["annotations"][CAUGHT_UP]
        self.now = max(self.now, at)
        self._create(self.jobs, manifest)
        cron_job.setdefault("status", {})["lastScheduleTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return str(manifest["metadata"]["name"])

    def by_hand(self, name: str) -> None:
        """`kubectl create job --from=cronjob/…`."""
        cron_job = self.cron_jobs[self.cron_job()]
        manifest = build_missed_job(cron_job, cron_job["metadata"]["uid"], self.now, find_zone("UTC"))
        del manifest["metadata"]["annotations"][JOB_TIME], manifest["metadata"]["annotations"][CAUGHT_UP]
        manifest["metadata"]["name"] = name
        self._create(self.jobs, manifest)

    def prune(self, keep: int) -> None:
        """The CronJob controller keeps the newest Jobs that are Complete, and garbage collection takes the runs."""
        done = [
            (body["metadata"]["annotations"].get(JOB_TIME, ""), name)
            for name, body in self.jobs.items()
            if any(c["type"] == "Complete" for c in body.get("status", {}).get("conditions", ()))
        ]
        for _, name in sorted(done)[: max(0, len(done) - keep)]:
            del self.jobs[name]
        self._collect_garbage()

    def cron_job(self, text: str = HOURLY) -> str:
        """The name of a CronJob."""
        return cron_job_name(NAME, text, self.schedule().spec.time_zone)

    def end(self, run: str, phase: str = "Succeeded") -> None:
        """A BatchJob ends."""
        kind = "Complete" if phase == "Succeeded" else "Failed"
        condition = {"type": kind, "status": "True", "reason": "ItemsFailed", "message": "2 of 3 items failed."}
        moment = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.runs[run]["status"] = {"phase": phase, "completionTime": moment, "conditions": [condition]}

    def _do(self, action: ScheduleAction) -> None:
        if isinstance(action, Tell):
            if (action.note.reason, action.note.about) not in {(note.reason, note.about) for note in self.said}:
                self.said.append(action.note)
            return
        self.writes.append(action)
        match action:
            case MakeCronJob(manifest):
                self._create(self.cron_jobs, manifest)
            case ChangeCronJob(name, change, version):
                self._change(self.cron_jobs[name], change, version)
            case DeleteCronJob(name, uid):
                assert self.cron_jobs.pop(name)["metadata"]["uid"] == uid
                self._collect_garbage()
            case MakeJob(manifest):
                self._create(self.jobs, manifest)
            case MakeRun(manifest):
                self._create(self.runs, manifest)
            case TellJob(name, status, version):
                assert self.jobs[name].get("status", {}).get("conditions") is None, "a Job ends once"
                self._change(self.jobs[name], {"status": {**self.jobs[name].get("status", {}), **status}}, version)

    def create_run(self, manifest: dict[str, Any]) -> None:
        """Somebody creates a BatchJob."""
        self._create(self.runs, manifest)

    def _create(self, objects: dict[str, dict[str, Any]], manifest: dict[str, Any]) -> None:
        self.versions += 1
        name = manifest["metadata"]["name"]
        given = {
            "uid": f"uid-{name}-{self.versions}",
            "resourceVersion": str(self.versions),
            "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        objects.setdefault(name, {**manifest, "metadata": {**manifest["metadata"], **given}})

    def _change(self, body: dict[str, Any], change: dict[str, Any], version: str) -> None:
        assert body["metadata"]["resourceVersion"] == version
        self.versions += 1
        body["metadata"] = {
            **body["metadata"],
            **change.get("metadata", {}),
            "resourceVersion": str(self.versions),
        }
        for part in ("spec", "status"):
            if part in change:
                body[part] = {**body.get(part, {}), **change[part]}

    def _collect_garbage(self) -> None:
        for children, owners in ((self.jobs, self.cron_jobs), (self.runs, self.jobs)):
            uids = {body["metadata"]["uid"] for body in owners.values()}
            for name in [name for name, body in children.items() if _owner(body) not in uids]:
                del children[name]


def world(**spec: Any) -> ScheduleWorld:
    """A BatchSchedule whose CronJobs are there."""
    found = ScheduleWorld(spec)
    found.settle()
    return found


def missed(found: ScheduleWorld, hours: int) -> None:
    """Kubernetes' controllers were away: it makes the last run alone."""
    found.fire(found.hour(hours))


def run(number: int) -> str:
    """The name of the BatchJob of a full hour."""
    return f"{NAME}-{START:%Y%m%d}{number:02}00"


def times_of_jobs(found: ScheduleWorld) -> list[datetime]:
    """The times that have Jobs."""
    return sorted(job.at for job in found.observe().jobs)


def condition(found: ScheduleWorld, kind: ScheduleConditionType) -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    assert found.status is not None
    one = found.status.condition(kind)
    assert one is not None
    return one.status, one.reason, one.message


def _owner(body: dict[str, Any]) -> str:
    return str(body["metadata"]["ownerReferences"][0]["uid"])
