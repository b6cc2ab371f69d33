"""One BatchJob, and its items."""

import asyncio
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from batchjob.api.v1alpha1 import BatchJob
from batchjob.errors import RunGone, StoreDamaged, StoreError
from batchjob.gateway.causes import read_causes
from batchjob.gateway.contents import FORGOTTEN
from batchjob.gateway.doors import Doors, DoorsOf
from batchjob.gateway.links import build_links
from batchjob.gateway.problems import DAMAGED, NOT_FOUND, Problem
from batchjob.gateway.ui import reading
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import Page, page
from batchjob.gateway.ui.session import Visitor
from batchjob.gateway.ui.views_job import (
    MOST_DOCUMENT,
    build_events,
    build_job,
    build_letter,
    build_results,
    group_errors,
    items_path,
    times_of,
)
from batchjob.gateway.ui.views_workers import build_pods
from batchjob.kube import POD_LOGS

STORE_AWAY: Final = "The store does not answer: items and errors are left out. What stands here is the BatchJob's."

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


@router.get("/jobs/{namespace}/{name}")
async def job_page(
    namespace: reading.Named,
    name: reading.Named,
    caller: Visitor,
    doors: DoorsOf,
    first: Annotated[int, Query(alias="from", ge=0, le=2**53)] = 0,
) -> Response:
    """A BatchJob."""
    job, body = await reading.read_job(doors, caller, namespace, name)
    now = time.time()
    view = build_job(job, body, now)
    selector = job.status.selector if job.status else ""
    (events, no_events), (pods, no_pods) = await asyncio.gather(
        reading.read_events(doors, namespace, job.metadata.uid),
        reading.read_pods(doors, namespace, selector) if selector else _nothing(),
    )
    heard, no_signs = await reading.read_signs(doors, [job.metadata.uid] if pods else [])
    found, notice = await _of_run(doors, job, view.path, first, now)
    notices = [one for one in (notice, no_events, no_pods, "" if notice else no_signs) if one]
    given = {"events": build_events(events, now), "pods": build_pods(pods, now, heard), "is_later": first > 0}
    return await page(
        "job.html",
        caller,
        here="jobs",
        job=view,
        notices=notices,
        one_job=True,
        links=build_links(doors.settings.ui_links, job, times_of(job, now)),
        logs=doors.settings.pod_logs and await caller.may("get", POD_LOGS, namespace),
        **found,
        **given,
    )


@router.get("/jobs/{namespace}/{name}/pods/{pod}")
async def log_page(
    namespace: reading.Named, name: reading.Named, pod: reading.Named, caller: Visitor, doors: DoorsOf
) -> Response:
    """The end of a pod's log."""
    job, body = await reading.read_job(doors, caller, namespace, name)
    text, why = await reading.read_log(doors, caller, job, pod)
    view = build_job(job, body, time.time())
    return await page("log.html", caller, here="jobs", job=view, pod=pod, text=text, why=why)


async def _nothing() -> tuple[list[dict[str, Any]], str]:
    return [], ""


async def _of_run(doors: Doors, job: BatchJob, path: str, first: int, now: float) -> tuple[dict[str, Any], str]:
    """What the store knows of a run, or why that is not shown: the custom resource alone is worth a page."""
    found: dict[str, Any] = {"letters": (), "following": None, "groups": (), "grouped_of": 0, "results": ()}
    uid, counts = job.metadata.uid, job.status and job.status.counts
    try:
        letters, following = await reading.read_letters(doors, uid, first)
        found["letters"] = [build_letter(letter, path, now) for letter in letters]
        found["following"] = None if following is None else items_path(path, following)
        if letters:
            causes = await read_causes(doors, uid, reading.GROUPED)
            found["groups"] = group_errors(causes, path)
            found["grouped_of"] = 0 if causes.complete else causes.read
        if counts and counts.succeeded and not job.spec.has_destination:
            found["results"] = build_results(await reading.read_results(doors, uid))
    except RunGone:
        return found, FORGOTTEN
    except StoreDamaged:
        return found, DAMAGED
    except StoreError:
        return found, STORE_AWAY
    return found, ""


@router.get("/jobs/{namespace}/{name}/items/{position}")
async def item_page(
    namespace: reading.Named, name: reading.Named, position: int, caller: Visitor, doors: DoorsOf
) -> Response:
    """An item that was given up."""
    job, body = await reading.read_job(doors, caller, namespace, name)
    found = await doors.store.dead_letters(job.metadata.uid, 1, position) if 0 <= position < 2**53 else []
    if not found or found[0].position != position:
        raise Problem(NOT_FOUND, f"The item at position {position} is not among the failed ones, or not any more")
    now = time.time()
    view = build_job(job, body, now)
    return await page(
        "item.html", caller, here="jobs", job=view, letter=build_letter(found[0], view.path, now, MOST_DOCUMENT)
    )
