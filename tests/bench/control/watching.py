"""What the bench itself sees of Jobs, pods and BatchJobs, with the moment at which it saw it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from batchjob.api.reading import UNSEEN
from batchjob.controller.manifests import NAME_LABEL
from batchjob.errors import ApiUnavailable
from batchjob.kube import BATCH_JOBS, JOBS, PODS, Kube, Resource

PATIENCE_SECONDS: Final = 1800
POLL_SECONDS: Final = 0.002
WATCH_SECONDS: Final = 600

Moments = dict[str, float]  # by the name of what the client made, of the bench's monotonic clock


@dataclass
class Seen:
    """When something was first seen."""

    jobs: Moments = field(default_factory=dict)  # the Job: the client's own or a BatchJob's child
    pods: Moments = field(default_factory=dict)
    jobs_complete: Moments = field(default_factory=dict)
    statuses: Moments = field(default_factory=dict)  # the first of a BatchJob
    batch_jobs_complete: Moments = field(default_factory=dict)

    def take(self, resource: Resource, item: dict[str, Any]) -> None:
        """What an object says now."""
        labels = item["metadata"].get("labels", {})
        name = labels.get(NAME_LABEL) or labels.get("job-name") or item["metadata"]["name"]
        now = time.perf_counter()
        if resource is PODS:
            self.pods.setdefault(name, now)
        elif resource is JOBS:
            self.jobs.setdefault(name, now)
            if _is_complete(item):
                self.jobs_complete.setdefault(name, now)
        elif item["status"] != UNSEEN:
            self.statuses.setdefault(name, now)
        if resource is BATCH_JOBS and _is_complete(item):
            self.batch_jobs_complete.setdefault(name, now)

    def lost(self, job: dict[str, Any]) -> None:
        """A Job that a busy Job controller had not completed a minute after the end of its BatchJob: the operator
        deletes it, and nobody can wait for it any more."""
        self.jobs_complete.setdefault(job["metadata"]["labels"].get(NAME_LABEL, ""), time.perf_counter())


@asynccontextmanager
async def watching(kube: Kube, namespace: str, *resources: Resource) -> AsyncIterator[Seen]:
    """Watch kinds of objects in a namespace."""
    seen = Seen()
    versions = {resource: (await kube.list(resource, namespace)).resource_version for resource in resources}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_follow(kube, namespace, *place, seen)) for place in versions.items()]
        yield seen
        for task in tasks:
            task.cancel()


async def until(look: Callable[[], bool], what: str) -> None:
    """Wait for what a watch tells."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not look():  # noqa: ASYNC110 - a look is cheaper than an event for each object
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"waited {PATIENCE_SECONDS} s for {what}") from None


async def _follow(kube: Kube, namespace: str, resource: Resource, since: str, seen: Seen) -> None:
    while True:
        with suppress(ApiUnavailable):  # it goes on from where it was
            async with aclosing(kube.watch(resource, namespace, since, seconds=WATCH_SECONDS)) as stream:
                async for event in stream:
                    since = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        seen.take(resource, event.object)
                    if event.type == "DELETED" and resource is JOBS:
                        seen.lost(event.object)


def _is_complete(item: dict[str, Any]) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)
