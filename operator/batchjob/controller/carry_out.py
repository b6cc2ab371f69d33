"""Doing what a plan says, step by step; a crash after any of them is mended by the next look.

Order: the run in the store, its Secret and user, the Job (pods start now), then Events, then the status: a transition
that is written is none any more, so an Event after it would be lost in a crash between. An object whose name is taken
counts as ours only if its owner is our BatchJob.
"""

from typing import Any

from batchjob import log
from batchjob.api.run import Run
from batchjob.api.status import BatchJobStatus, JobReference
from batchjob.api.v1alpha1 import KIND, BatchJob
from batchjob.controller.actions import (
    AbandonRun,
    Action,
    Admit,
    CancelRun,
    CreateJob,
    DeleteJob,
    Dismiss,
    FailRun,
    Note,
    OpenRun,
    PauseRun,
    Plan,
    PrepareReport,
    ResumeRun,
    SetBreaker,
    SetSlots,
)
from batchjob.controller.events import Events
from batchjob.controller.informer import Informer, ObjectKey, controller_uid
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.manifests import slots_patch
from batchjob.controller.reports import Reports
from batchjob.controller.traced import tell_run
from batchjob.controller.users import Users
from batchjob.core.phases import TERMINAL
from batchjob.core.reasons import Reason
from batchjob.core.records import RunRecord
from batchjob.errors import AlreadyExists, BatchJobError, Conflict, Invalid, NameTaken, StoreFull
from batchjob.kube import BATCH_JOBS, JOBS, Kube, Regarding
from batchjob.store import Store

logger = log.get(__name__)


class CarryOut:
    """The hands of the controller."""

    def __init__(self, kube: Kube, store: Store, users: Users, jobs: Informer, known: KnownBatchJobs) -> None:
        self._kube = kube
        self._store = store
        self._users = users
        self._jobs = jobs
        self._known = known
        self._events = Events(kube)
        self._reports = Reports(store, known)

    async def __call__(self, entry: Entry, plan: Plan) -> set[ObjectKey]:
        """Carry out a plan for a BatchJob; returns the others to look at because of it: those that read its results.

        The watch will tell of our own write too, but as old news: what it says is what we then know already.
        Errors: NameTaken, KubernetesError, StoreError.
        """
        concerned: set[ObjectKey] = set()
        traceparent = entry.traceparent  # which an entry that has ended knows no more
        created: JobReference | None = None
        for action in plan.actions:
            if isinstance(action, CreateJob):
                created = await self._create_job(entry, action.manifest)
            else:
                await self._do(entry, action)
        lost = () if plan.record is None else await self._remember(plan.record)
        regarding = Regarding(KIND, entry.namespace, entry.name, entry.uid)
        await self._events.post(regarding, (*plan.notes, *lost))
        if plan.status is not None:
            status = plan.status.model_copy(update={"jobs": [created]}) if created else plan.status
            concerned = await self.write_status(entry, status)
        if plan.record is not None:
            tell_run(plan.record, traceparent)
        return concerned

    async def write_status(self, entry: Entry, status: BatchJobStatus) -> set[ObjectKey]:
        """Write the status; returns the others it concerns. Conflict if the object changed since we saw it.

        Nulls go out too: in a merge patch they remove what is no longer said.
        """
        change = {"status": status.model_dump(mode="json", by_alias=True)}
        version = str(entry.version)
        try:
            body = await self._kube.patch(
                BATCH_JOBS, entry.namespace, entry.name, change, subresource="status", resource_version=version
            )
        except Invalid as error:  # nothing that its owner could correct
            raise BatchJobError(f"is the CRD that of another version? Our status is refused: {error}") from None
        if (before := entry.phase) != status.phase:
            reason = next((c.reason for c in status.conditions if c.status == "True"), None)
            logger.info("phase", phase=status.phase, before=before, reason=reason)
        return self._known.seen(body) - {(entry.namespace, entry.name)}

    async def tidy(self, key: ObjectKey, uid: str) -> None:
        """Remove what a deleted BatchJob had in the store; Kubernetes removes what it owned there."""
        await self._users.revoke(uid)
        await self._store.delete_run(uid)
        self._known.tidied(key, uid)

    async def _do(self, entry: Entry, action: Action) -> None:
        match action:
            case OpenRun():
                await self._open_run(entry, action)
            case PrepareReport(wanted):
                await self._reports.prepare(entry.uid, wanted)
            case Admit(run):
                await self._users.admit(await self._with_items(entry, run))
            case SetSlots():
                await self._set_slots(entry.namespace, action)
            case DeleteJob(name, uid, version):
                only = {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version}
                await self._kube.delete(JOBS, entry.namespace, name, **only)
            case Dismiss(secret):
                await self._users.dismiss(entry.namespace, secret, entry.uid)
            case _:
                await self._tell_store(entry.uid, action)

    async def _set_slots(self, namespace: str, wanted: SetSlots) -> None:
        """Of the Job as we know it; where it has changed since, Conflict, and another look decides."""
        known = self._jobs.get((namespace, wanted.name))
        version = known["metadata"]["resourceVersion"] if known else None
        patch = slots_patch(wanted.parallelism, wanted.suspend)
        self._jobs.remember(await self._kube.patch(JOBS, namespace, wanted.name, patch, resource_version=version))

    async def _tell_store(self, uid: str, action: Action) -> None:
        match action:
            case PauseRun():
                await self._store.pause(uid)
            case ResumeRun(token):
                await self._store.resume(uid, token)
            case SetBreaker(breaker):
                await self._store.set_breaker(uid, breaker)
            case CancelRun():
                await self._store.cancel(uid)
            case AbandonRun(message):
                await self._store.abandon(uid, message)
            case FailRun(reason, message):
                await self._store.fail(uid, reason, message)
            case _:
                raise TypeError(f"unknown action {action!r}")

    async def _open_run(self, entry: Entry, wanted: OpenRun) -> None:
        in_force = await self._store.open_run(
            entry.uid,
            epoch=wanted.epoch,
            max_losses=wanted.max_losses,
            created_for=f"{entry.namespace}/{entry.name}",
            before=wanted.before,
            rules=wanted.rules,
        )
        if in_force != wanted.epoch:
            raise BatchJobError(f"the run was opened meanwhile, in epoch {in_force}; looking again")

    async def _remember(self, record: RunRecord) -> tuple[Note, ...]:
        """Before the status says that it ended: a crash between the two writes the same record again."""
        try:
            await self._store.history.put(record)
        except StoreFull as error:  # that it ends is worth more than that a report knows of it
            logger.warning("no report will know of this BatchJob", error=str(error))
            message = f"No report will know of this BatchJob: {error}. Raise the store's memory (redis.maxMemory)."
            return (Note("Warning", Reason.NOT_RECORDED, message, record.uid),)
        return ()

    async def _with_items(self, entry: Entry, run: Run) -> Run:
        """A run with the items of its manifest, which nothing else here needs. NotFound, Conflict, ValidationError."""
        if not entry.inline.number:
            return run
        body = await self._kube.get(BATCH_JOBS, entry.namespace, entry.name)
        if body["metadata"]["uid"] != entry.uid:
            raise Conflict(f"BatchJob {entry.namespace}/{entry.name} is another one by now")
        items = BatchJob.parse(body).spec.source.items
        source = run.spec.source.model_copy(update={"items": items})
        return run.model_copy(update={"spec": run.spec.model_copy(update={"source": source})})

    async def _must_be_there(self, entry: Entry) -> None:
        """Its Job may be gone because the BatchJob is, or has ended, and our copy behind: who would want those pods?

        Raises NotFound or Conflict, upon which the reconciler reads it again.
        """
        found = await self._kube.get(BATCH_JOBS, entry.namespace, entry.name)
        metadata, has_ended = found["metadata"], (found.get("status") or {}).get("phase") in TERMINAL
        if metadata["uid"] != entry.uid or "deletionTimestamp" in metadata or has_ended:
            raise Conflict(f"BatchJob {entry.namespace}/{entry.name} has ended, goes, or is another one by now")

    async def _create_job(self, entry: Entry, manifest: dict[str, Any]) -> JobReference:
        name = manifest["metadata"]["name"]
        if entry.jobs_created:
            await self._must_be_there(entry)
        try:
            job = await self._kube.create(JOBS, entry.namespace, manifest)
        except AlreadyExists:
            job = await self._kube.get(JOBS, entry.namespace, name)
            if controller_uid(job) != entry.uid:
                raise NameTaken(
                    f"Job {name} exists and belongs to somebody else; this BatchJob needs that name. "
                    "Delete the Job, or create the BatchJob under another name."
                ) from None
        self._jobs.remember(job)
        return JobReference(name=name, uid=job["metadata"]["uid"])
