"""What there is, as far as who asks may list it: the same for the API and the pages."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from batchjob.core.queries import Query
from batchjob.gateway.access import Caller
from batchjob.gateway.doors import Doors
from batchjob.kube import BATCH_JOBS, BATCH_QUEUES, BATCH_SCHEDULES, Resource
from batchjob.store import Page

AT_ONCE: Final = 8  # calls side by side


async def allowed(caller: Caller, verb: str, resource: Resource, namespaces: Iterable[str]) -> frozenset[str]:
    """Those of the namespaces in which they may."""
    gate, asked = asyncio.Semaphore(AT_ONCE), list(set(namespaces))

    async def may(namespace: str) -> bool:
        async with gate:
            return await caller.may(verb, resource, namespace)

    answers = await asyncio.gather(*map(may, asked))
    return frozenset(namespace for namespace, answer in zip(asked, answers, strict=True) if answer)


async def find_jobs(doors: Doors, caller: Caller, query: Query, limit: int, cursor: str | None) -> Page:
    """BatchJobs that a search finds, newest first: theirs, for admins everybody's, where they may get them.

    A page may have fewer than `limit`, even none, and yet a next one; QueryError where the search or cursor is none.
    """
    owner = None if await caller.is_admin() else caller.name
    found = await doors.store.index.search(query, time.time(), owner=owner, limit=limit, cursor=cursor)
    spaces = await allowed(caller, "get", BATCH_JOBS, (row.namespace for row in found.rows))
    return found._replace(rows=[row for row in found.rows if row.namespace in spaces])


async def list_queues(doors: Doors, caller: Caller) -> list[dict[str, Any]]:
    """All BatchQueues."""
    await caller.need("list", BATCH_QUEUES)
    return (await doors.kube.list(BATCH_QUEUES)).items


async def seen_schedules(caller: Caller, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of BatchSchedules those that they own, for admins all, where they may list them."""
    spaces = await allowed(caller, "list", BATCH_SCHEDULES, (body["metadata"]["namespace"] for body in bodies))
    seen = [body for body in bodies if body["metadata"]["namespace"] in spaces]
    return [body for body in seen if await caller.owns(body["spec"].get("owner"))]
