"""What pages read through the doors, and of it only what who looks at them may see."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from pydantic import ValidationError

from batchjob import log
from batchjob.api.queue import BatchQueue
from batchjob.api.schedule import BatchSchedule
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.queries import Query
from batchjob.errors import Forbidden, Invalid, KubernetesError, StoreError
from batchjob.gateway.access import Caller
from batchjob.gateway.batchjobs import find
from batchjob.gateway.doors import Doors
from batchjob.gateway.lists import AT_ONCE, find_jobs, list_queues, seen_schedules
from batchjob.gateway.problems import FORBIDDEN, NOT_FOUND, Problem
from batchjob.gateway.views import job_id
from batchjob.kube import BATCH_SCHEDULES, CORE_EVENTS, POD_LOGS, PODS, Resource
from batchjob.store import DeadLetter, ItemResult
from batchjob.store.index import MOST_ROWS

NAME: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"  # else a name could lead elsewhere in the API server
LETTERS: Final = 25  # of a page: each may hold a record of 1 MiB
GROUPED: Final = 200  # dead letters whose errors are put into groups
RESULTS: Final = 10
POSITIONS: Final = 2000  # of items whose results are looked for: many leave none
CONTAINER: Final = "worker"  # of a worker pod
LOG_LINES: Final = 500
MOST_LOG: Final = 60_000  # characters: a page has 100 kB
MOST_BULK: Final = 500  # BatchJobs that one form names, and that are looked at one by one before
MOST_ALL: Final = 10_000  # BatchJobs of a search that one form is for: some minutes'

logger = log.get(__name__)

Kind = TypeVar("Kind", BatchQueue, BatchSchedule)
Named = Annotated[str, Path(pattern=NAME)]


def owner_seen(caller: Caller, *, is_admin: bool) -> str | None:
    """Whose BatchJobs they see; None: everybody's."""
    return None if is_admin else caller.name


async def read_job(doors: Doors, caller: Caller, namespace: str, name: str) -> tuple[BatchJob, dict[str, Any]]:
    """A BatchJob and its body; another one's is not there."""
    try:
        return await find(doors, caller, job_id(namespace, name), "get")
    except Problem as problem:
        if problem.slug is not NOT_FOUND:
            raise
        said = f"There is no BatchJob {name} in the namespace {namespace}, or it is not yours"
        raise Problem(NOT_FOUND, said) from None


async def read_jobs(
    doors: Doors, caller: Caller, keys: Sequence[tuple[str, str]]
) -> list[tuple[tuple[str, str], BatchJob | None, dict[str, Any]]]:
    """Many by (namespace, name), some side by side; None where one is not there, not theirs, or cannot be read here."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(key: tuple[str, str]) -> tuple[tuple[str, str], BatchJob | None, dict[str, Any]]:
        async with gate:
            try:
                return (key, *await read_job(doors, caller, *key))
            except ValidationError:
                return key, None, {}
            except Problem as problem:
                if problem.slug not in {NOT_FOUND, FORBIDDEN}:
                    raise
                return key, None, {}

    return list(await asyncio.gather(*map(read, keys)))


async def found_by(
    doors: Doors, caller: Caller, query: Query, until: float, most: int
) -> tuple[list[tuple[str, str]], bool]:
    """(namespace, name) of the first that a search finds and that were made until then, and whether there are more."""
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        page = await find_jobs(doors, caller, query, MOST_ROWS, cursor)
        found += [(row.namespace, row.name) for row in page.rows if row.created <= until]
        cursor = page.cursor
        if cursor is None or len(found) > most:
            return found[:most], len(found) > most or cursor is not None


async def read_letters(doors: Doors, uid: str, first: int) -> tuple[list[DeadLetter], int | None]:
    """Failed items from a position on, and where the next ones begin."""
    found = await doors.store.dead_letters(uid, LETTERS, first)
    return found, found[-1].position + 1 if len(found) == LETTERS else None


async def read_results(doors: Doors, uid: str) -> list[ItemResult]:
    """The first results that the store still has."""
    found: list[ItemResult] = []
    results: AsyncIterator[ItemResult] = doors.store.results(uid, 0, POSITIONS)
    async for result in results:
        found.append(result)
        if len(found) == RESULTS:
            break
    return found


async def read_events(doors: Doors, namespace: str, uid: str) -> tuple[list[dict[str, Any]], str]:
    """Events of an object, or why there are none."""
    try:
        return (await doors.kube.list(CORE_EVENTS, namespace, fields=f"involvedObject.uid={uid}")).items, ""
    except Forbidden:
        return [], "Events are not shown: the gateway's account may not list events."


async def read_pods(doors: Doors, namespace: str | None, labels: str) -> tuple[list[dict[str, Any]], str]:
    """Pods by their labels, of a namespace or of all that are watched; or why there are none."""
    try:
        return await _listed(doors, PODS, namespace, labels), ""
    except Forbidden:
        return [], "Pods are not shown: the gateway's account may not list pods."


async def read_signs(doors: Doors, uids: Sequence[str]) -> tuple[dict[str, float], str]:
    """Signs of life of the workers of some runs, or why there are none."""
    try:
        return await doors.store.signs(uids), ""
    except StoreError:
        return {}, "The store does not answer: when workers were last heard is left out."


async def read_log(doors: Doors, caller: Caller, job: BatchJob, pod: str) -> tuple[str, str]:
    """The end of the log of a pod of a BatchJob, or why there is none."""
    namespace = job.metadata.namespace
    if not doors.settings.pod_logs:
        raise Problem(NOT_FOUND, "Logs are not shown here: gateway.podLogs.enabled of the chart is off")
    await caller.need("get", POD_LOGS, namespace)
    selector = job.status.selector if job.status else ""
    pods = (await doors.kube.list(PODS, namespace, labels=selector)).items if selector else []
    if pod not in {one["metadata"]["name"] for one in pods}:
        raise Problem(NOT_FOUND, f"The BatchJob has no pod {pod}, or not any more; its log may be kept elsewhere")
    try:
        text = await doors.kube.log(namespace, pod, CONTAINER, LOG_LINES)
    except Invalid as error:
        return "", f"There is no log yet: {error}"
    return text[-MOST_LOG:], ""


async def _listed(
    doors: Doors, resource: Resource, namespace: str | None = None, labels: str | None = None
) -> list[dict[str, Any]]:
    """Objects of a namespace, or of all that are watched: where these are some, we may list in them alone."""
    spaces: list[str | None] = [namespace] if namespace else [*doors.settings.watch_namespaces]
    found: list[dict[str, Any]] = []
    async with doors.listing:
        for space in spaces or [None]:
            found += (await doors.kube.list(resource, space, labels=labels, shorten=_SHORTEN[resource])).items
    return found


def _shorten_pod(body: dict[str, Any]) -> dict[str, Any]:
    """What `views_workers` reads of a pod: a tenth."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    body["metadata"].pop("managedFields", None)
    kept = {name: status[name] for name in ("phase", "startTime", "containerStatuses", "conditions") if name in status}
    return {"metadata": body["metadata"], "spec": {"nodeName": spec.get("nodeName")}, "status": kept}


def _shorten_schedule(body: dict[str, Any]) -> dict[str, Any]:
    """A schedule without its items, of which it may have 64 KiB."""
    body["metadata"].pop("managedFields", None)
    template = body["spec"].get("jobTemplate")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        template["spec"].pop("source", None)
    return body


_SHORTEN: Final = {PODS: _shorten_pod, BATCH_SCHEDULES: _shorten_schedule}


def _readable(parse: Callable[[Any], Kind], bodies: Iterable[dict[str, Any]]) -> list[Kind]:
    """All that can be read: one of a newer version must not take the page of the others."""
    found = []
    for body in bodies:
        try:
            found.append(parse(body))
        except ValidationError as error:
            logger.warning(
                "an object cannot be read", kind=body.get("kind"), name=body["metadata"]["name"], error=str(error)
            )
    return found


async def read_queues(doors: Doors, caller: Caller) -> tuple[list[BatchQueue], str]:
    """All BatchQueues, or why they are not known."""
    try:
        return _readable(BatchQueue.parse, await list_queues(doors, caller)), ""
    except Problem as problem:
        return [], f"Queues are those of the types, without their limits and rates: {problem.detail}."
    except KubernetesError:
        return [], "Kubernetes does not answer: limits and rates of queues are left out."


async def read_schedules(doors: Doors, caller: Caller) -> list[BatchSchedule]:
    """BatchSchedules that they may see."""
    return _readable(BatchSchedule.parse, await seen_schedules(caller, await _listed(doors, BATCH_SCHEDULES)))


async def read_schedule(
    doors: Doors, caller: Caller, namespace: str, name: str
) -> tuple[BatchSchedule, dict[str, Any]]:
    """A BatchSchedule and its body; another one's is not there. By a list: the gateway has no other right on them."""
    bodies = (await doors.kube.list(BATCH_SCHEDULES, namespace)).items
    body = next(iter(await seen_schedules(caller, [one for one in bodies if one["metadata"]["name"] == name])), None)
    if body is None:
        raise Problem(NOT_FOUND, f"There is no BatchSchedule {name} in the namespace {namespace}, or it is not yours")
    return BatchSchedule.parse(body), body


def parse_key(text: str) -> tuple[str, str] | None:
    """(namespace, name) of `<namespace>.<name>`; None where it is none."""
    namespace, _, name = text.partition(".")
    return (namespace, name) if re.fullmatch(NAME, namespace) and re.fullmatch(NAME, name) else None
