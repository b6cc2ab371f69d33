"""Pages with lists: queues, BatchJobs, those with dead letters, schedules, workers."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from batchjob.api.queue import QUEUE_KIND
from batchjob.api.schedule import SCHEDULE_KIND
from batchjob.api.status import ErrorClass
from batchjob.core.queries import Query, Term, build_query, parse_query
from batchjob.core.schedule_runs import build_run_now
from batchjob.errors import AlreadyExists, QueryError
from batchjob.gateway.access import Caller
from batchjob.gateway.audit import Deed, acted
from batchjob.gateway.doors import Doors, DoorsOf
from batchjob.gateway.lists import find_jobs
from batchjob.gateway.making import create
from batchjob.gateway.problems import FORBIDDEN, INVALID, Problem
from batchjob.gateway.submission import KEPT_SECONDS
from batchjob.gateway.ui import reading
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.day import day_of
from batchjob.gateway.ui.pages import Page, page
from batchjob.gateway.ui.session import Visitor, read_form
from batchjob.gateway.ui.views_jobs import JobList, Tab, build_fault, build_list, job_path
from batchjob.gateway.ui.views_queues import build_overview, queue_names
from batchjob.gateway.ui.views_schedules import build_schedules
from batchjob.gateway.ui.views_workers import SELECTOR, build_pods, uids_of
from batchjob.kube import BATCH_QUEUES, BATCH_SCHEDULES

ROWS: Final = 50  # of a page
MOST_PODS: Final = 200  # of a page
_ANY_ERROR: Final = tuple(Term("error", kind.value) for kind in ErrorClass)

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


@router.get("")
async def overview(request: Request, caller: Visitor, doors: DoorsOf) -> Response:
    """The queues at a glance."""
    is_admin = await caller.is_admin()
    queues, notice = await reading.read_queues(doors, caller)
    owner = reading.owner_seen(caller, is_admin=is_admin)
    counts = await doors.store.index.counts(queue_names(queues), owner)
    ended = await day_of(request).ended(doors.store, owner)
    view = build_overview(queues, counts, ended, time.time(), is_admin=is_admin)
    return await page("overview.html", caller, here="overview", view=view, notice=notice)


@router.post("/queues/{name}")
async def change_queue(name: reading.Named, request: Request, caller: Visitor, doors: DoorsOf) -> Response:
    """Pause a queue, or let it go on; for admins."""
    if not await caller.is_admin():
        raise Problem(FORBIDDEN, "Queues are changed by those who may update batchqueues: ask one of them")
    paused = _flag(await read_form(request), "paused")
    made = await doors.kube.patch(BATCH_QUEUES, None, name, {"spec": {"paused": paused}})
    acted(Deed("pause" if paused else "unpause", QUEUE_KIND, made["metadata"]))
    return RedirectResponse(ROOT, 303)


@router.get("/jobs")
async def jobs(caller: Visitor, doors: DoorsOf, q: str = "", cursor: str = "") -> Response:
    """The BatchJobs that a search finds."""
    try:
        query = parse_query(q)
        found = await _search(doors, caller, query, q, cursor)
    except QueryError as error:
        found = build_fault(q, str(error), error.offset)
    return await page("jobs.html", caller, here="jobs", list=found)


async def _search(doors: Doors, caller: Caller, query: Query, text: str, cursor: str) -> JobList:
    found = await find_jobs(doors, caller, query, ROWS, cursor or None)
    return build_list(text, query, found, time.time(), is_later=bool(cursor))


@router.get("/dead-letters")
async def dead_letters(caller: Visitor, doors: DoorsOf, error: str = "", cursor: str = "") -> Response:
    """BatchJobs with items that were given up."""
    chosen = error if error in set(ErrorClass) else ""
    terms = [Term("error", chosen)] if chosen else _ANY_ERROR
    query = build_query(terms)
    here = f"{ROOT}/dead-letters"
    try:
        found = await _search(doors, caller, query, str(query), cursor)
    except QueryError as fault:
        found = build_fault(str(query), str(fault), -1)
    tabs = [Tab("All", here, not chosen), *(Tab(one, f"{here}?error={one}", one == chosen) for one in ErrorClass)]
    given: dict[str, Any] = {"tabs": tabs, "chosen": chosen, "list": _at(found, chosen)}
    return await page("letters.html", caller, here="letters", **given)


def _at(found: JobList, chosen: str) -> JobList:
    """The same list, whose parts are on this page."""
    here = f"{ROOT}/dead-letters"
    error = f"error={chosen}&" if chosen else ""
    following = found.following and found.following.partition("cursor=")[2]
    return replace(
        found,
        first=(f"{here}?error={chosen}" if chosen else here) if found.first else None,
        following=f"{here}?{error}cursor={following}" if following else None,
    )


@router.get("/schedules")
async def schedules(caller: Visitor, doors: DoorsOf) -> Response:
    """BatchSchedules."""
    lines = build_schedules(await reading.read_schedules(doors, caller), time.time())
    return await page("schedules.html", caller, here="schedules", lines=lines)


@router.post("/schedules/{namespace}/{name}")
async def change_schedule(
    namespace: reading.Named, name: reading.Named, request: Request, caller: Visitor, doors: DoorsOf
) -> Response:
    """Pause a schedule, or let it run."""
    suspend = _flag(await read_form(request), "suspend")
    schedule, body = await reading.read_schedule(doors, caller, namespace, name)
    await caller.need("patch", BATCH_SCHEDULES, namespace)
    await caller.need_for(schedule.spec.owner, namespace)
    change = {"metadata": {"uid": body["metadata"]["uid"]}, "spec": {"suspend": suspend}}  # of this very one
    made = await doors.kube.patch(BATCH_SCHEDULES, namespace, name, change)
    acted(Deed("suspend" if suspend else "resume", SCHEDULE_KIND, made["metadata"], made["spec"].get("owner")))
    return RedirectResponse(f"{ROOT}/schedules", 303)


@router.post("/schedules/{namespace}/{name}/run")
async def run_schedule(namespace: reading.Named, name: reading.Named, caller: Visitor, doors: DoorsOf) -> Response:
    """Make a BatchJob of a schedule now."""
    schedule, body = await reading.read_schedule(doors, caller, namespace, name)
    await caller.need_to_make(namespace, schedule.spec.owner, schedule.spec.job_template.spec)
    run = build_run_now(schedule, body["spec"]["jobTemplate"], datetime.now(UTC), KEPT_SECONDS)
    made = run["metadata"]["name"]
    try:
        await create(doors, run, {})
    except AlreadyExists:  # the button was pressed twice
        return RedirectResponse(job_path(namespace, made), 303)
    acted(Deed("run", SCHEDULE_KIND, body["metadata"], run["spec"].get("owner"), f"{namespace}.{made}"))
    return RedirectResponse(job_path(namespace, made), 303)


@router.get("/workers")
async def workers(caller: Visitor, doors: DoorsOf) -> Response:
    """Worker pods of all; for admins."""
    if not await caller.is_admin():
        raise Problem(FORBIDDEN, "The pods of everybody are for admins; yours are on the pages of your BatchJobs")
    pods, notice = await reading.read_pods(doors, None, SELECTOR)
    if notice:
        raise Problem(FORBIDDEN, notice)
    now, total = time.time(), len(pods)
    shown = {line.name for line in build_pods(pods, now)[:MOST_PODS]}
    pods = [pod for pod in pods if pod["metadata"]["name"] in shown]
    heard, no_signs = await reading.read_signs(doors, uids_of(pods))
    lines = build_pods(pods, now, heard)
    given: dict[str, Any] = {"pods": lines, "total": total, "one_job": False, "logs": False, "notice": no_signs}
    return await page("workers.html", caller, here="workers", **given)


def _flag(form: dict[str, list[str]], name: str) -> bool:
    """A field that is 0 or 1."""
    value = form.get(name, [""])[0]
    if value not in {"0", "1"}:
        raise Problem(INVALID, f"{name}: {value or 'nothing'} was sent, and 0 or 1 is needed")
    return value == "1"
