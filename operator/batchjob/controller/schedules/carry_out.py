"""Doing what a plan says about a BatchSchedule; a crash after any step is mended by the next look.

An object whose name is taken counts as ours only if its controller is: the BatchSchedule of a CronJob, the CronJob of
a Job, for a BatchJob the Job that wants it; and that one's owner has to be the BatchSchedule's.
"""

from collections.abc import Callable
from typing import Any, Final

from batchjob import log
from batchjob.api.schedule import SCHEDULE_KIND
from batchjob.controller.events import Events
from batchjob.controller.informer import Informer, controller_uid
from batchjob.controller.observed import Trouble
from batchjob.controller.obstacles import COMMON, Obstacles, build_trouble
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
from batchjob.controller.schedules.manifests import parts_of
from batchjob.controller.schedules.observed import SeenSchedule, read_run
from batchjob.controller.schedules.plan import SchedulePlan
from batchjob.core.reasons import Reason
from batchjob.errors import AlreadyExists, Invalid, NameTaken
from batchjob.kube import BATCH_JOBS, CRON_JOBS, JOBS, Kube, Regarding, Resource

# What keeps a step from being taken and is not ours to mend: the reason of the condition, and what to do.
OBSTACLES: Final[Obstacles] = COMMON | {
    Invalid: (Reason.REFUSED, " Correct the spec: runs that wait for it are made then."),
}

logger = log.get(__name__)


class CarryOutSchedule:
    """The hands of the schedules. What a write returned is put into the copies at once."""

    def __init__(self, kube: Kube, cron_jobs: Informer, jobs: Informer, runs: Informer) -> None:
        self._kube = kube
        self._events = Events(kube)
        self._copies = {CRON_JOBS: cron_jobs, JOBS: jobs, BATCH_JOBS: runs}

    async def __call__(self, seen: SeenSchedule, plan: SchedulePlan) -> tuple[Trouble | None, list[ScheduleAction]]:
        """Take every step that can be taken; returns the first obstacle, and what met one. Errors: KubernetesError."""
        trouble: Trouble | None = None
        undone: list[ScheduleAction] = []
        for step in plan.steps:
            for action in step.actions:
                try:
                    await self._do(seen, action)
                except tuple(OBSTACLES) as error:
                    trouble = trouble or build_trouble(error, OBSTACLES)
                    undone.append(action)
                    break
        return trouble, undone

    async def _do(self, seen: SeenSchedule, action: ScheduleAction) -> None:
        metadata = seen.schedule.metadata
        match action:
            case Tell(note):
                about = Regarding(SCHEDULE_KIND, metadata.namespace, metadata.name, metadata.uid)
                await self._events.post(about, [note])
            case MakeCronJob(manifest):
                there = await self._create(
                    CRON_JOBS, _without_nulls(manifest), lambda found: controller_uid(found) == metadata.uid
                )
                if there is not None:  # its label was taken away, or our copy is behind
                    await self._patch(CRON_JOBS, there["metadata"], parts_of(manifest))
            case ChangeCronJob(name, change, version):
                await self._patch(CRON_JOBS, _at(metadata.namespace, name, version), change)
            case DeleteCronJob(name, uid):
                logger.info("removing a CronJob that is not wanted", cronjob=f"{metadata.namespace}/{name}")
                await self._kube.delete(CRON_JOBS, metadata.namespace, name, uid=uid)
            case MakeJob(manifest, _, _):
                [owner] = manifest["metadata"]["ownerReferences"]
                await self._create(JOBS, manifest, lambda found: controller_uid(found) == owner["uid"])
            case MakeRun(manifest):
                await self._create(
                    BATCH_JOBS, manifest, lambda found: seen.is_ours(read_run(found, controller_uid(found)))
                )
            case TellJob(name, status, version):
                place = _at(metadata.namespace, name, version)
                await self._patch(JOBS, place, {"status": status}, subresource="status")

    async def _create(
        self, resource: Resource, manifest: dict[str, Any], is_ours: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any] | None:
        """Create an object; one of that name counts, and is returned, if it is ours."""
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            made = await self._kube.create(resource, namespace, manifest)
        except AlreadyExists:
            there = await self._kube.get(resource, namespace, name)
            if not is_ours(there):
                raise NameTaken(
                    f"{resource.kind} {name} exists and belongs to somebody else; this BatchSchedule needs that name. "
                    f"Delete the {resource.kind}, or create the BatchSchedule under another name."
                ) from None
            return there
        self._copies[resource].remember(made)
        logger.info("created", kind=resource.kind, name=f"{namespace}/{name}")
        return None

    async def _patch(
        self, resource: Resource, place: dict[str, Any], change: dict[str, Any], subresource: str | None = None
    ) -> None:
        changed = await self._kube.patch(
            resource,
            place["namespace"],
            place["name"],
            change,
            subresource=subresource,
            resource_version=place["resourceVersion"],
        )
        self._copies[resource].remember(changed)


def _at(namespace: str, name: str, version: str) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "resourceVersion": version}


def _without_nulls(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "spec": {name: value for name, value in manifest["spec"].items() if value is not None}}
