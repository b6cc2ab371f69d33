"""One BatchJob, its items, and what is done to one or many: first a look at what would be done, then it is done."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from batchjob import log
from batchjob.api.status import ErrorClass
from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.queries import parse_query
from batchjob.errors import AlreadyExists, KubernetesError, QueryError, RunGone, StoreError
from batchjob.gateway.access import Caller
from batchjob.gateway.causes import read_causes
from batchjob.gateway.doors import Doors, DoorsOf
from batchjob.gateway.problems import INVALID, NOT_FOUND, Problem, build_problem
from batchjob.gateway.ui import reading
from batchjob.gateway.ui.actions import Action, build_change, build_redrive, obstacle
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import Page, page
from batchjob.gateway.ui.session import Visitor, read_form
from batchjob.gateway.ui.views_bulk import BulkJob, build_plan, bulk_job
from batchjob.gateway.ui.views_job import (
    MOST_DOCUMENT,
    build_events,
    build_job,
    build_letter,
    build_results,
    group_errors,
    items_path,
    pods_of,
)
from batchjob.kube import BATCH_JOBS

STORE_AWAY: Final = "The store does not answer: items and errors are left out. What stands here is the BatchJob's."
RUN_GONE: Final = "The store has forgotten the run: its items and results were kept as long as spec.retention says."

audit = log.get("batchjob.audit")
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
    found, notice = await _of_run(doors, job, view.path, first, now)
    notices = [one for one in (notice, no_events, no_pods) if one]
    given = {"events": build_events(events, now), "pods": pods_of(pods, now), "one_job": True, "is_later": first > 0}
    return await page("job.html", caller, here="jobs", job=view, notices=notices, **found, **given)


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
        return found, RUN_GONE
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


@router.post("/jobs/bulk")
async def bulk(request: Request, caller: Visitor, doors: DoorsOf) -> Response:
    """An action on some BatchJobs, or on all that a search finds."""
    form = await read_form(request)
    action, error_class = _action(form), _error_class(form)
    keys, cut = await _chosen(form, doors, caller)
    read = await reading.read_jobs(doors, caller, keys)
    jobs = [job for _, job, _ in read if job is not None]
    missing = [bulk_job(*key, "there is no such BatchJob, or it is not yours") for key, job, _ in read if job is None]
    plan = build_plan(action, jobs, missing, error_class, cut=cut)
    typed = form.get("typed", [""])[0].strip().lower()
    if form.get("sure") != ["1"] or not plan.fit or (plan.typed and typed != plan.typed):
        fault = f"Type {plan.typed}, as it stands above; {typed or 'nothing'} was typed." if "typed" in form else ""
        return await page("confirm.html", caller, here="jobs", plan=plan, fault=fault)
    fit = [(job, body) for _, job, body in read if job is not None and obstacle(action, job) is None]
    done, failed = await _do_all(doors, caller, action, error_class, fit)
    if len(done) == 1 and not failed:
        return RedirectResponse(done[0].path, 303)
    return await page("done.html", caller, here="jobs", label=plan.label, done=done, failed=failed)


def _action(form: dict[str, list[str]]) -> Action:
    given = form.get("action", [""])[0]
    if given not in set(Action):
        raise Problem(INVALID, f"action: {given or 'nothing'} was sent. There are {', '.join(Action)}")
    return Action(given)


def _error_class(form: dict[str, list[str]]) -> str:
    given = form.get("class", [""])[0]
    if given and given not in set(ErrorClass):
        raise Problem(INVALID, f"class: {given} is none of an error. There are {', '.join(ErrorClass)}")
    return given


async def _chosen(form: dict[str, list[str]], doors: Doors, caller: Caller) -> tuple[list[tuple[str, str]], bool]:
    """(namespace, name) of what was chosen, and whether there is more."""
    if form.get("all") == ["1"]:
        try:
            return await reading.found_by(doors, caller, parse_query(form.get("q", [""])[0]))
        except QueryError as error:
            raise Problem(INVALID, f"q: {error}") from error
    keys = [reading.parse_key(text) for text in dict.fromkeys(form.get("job", []))]
    if None in keys:
        raise Problem(INVALID, "job: what was sent is no <namespace>.<name>")
    named = [key for key in keys if key is not None]
    return named[: reading.MOST_BULK], len(named) > reading.MOST_BULK


async def _do_all(
    doors: Doors, caller: Caller, action: Action, error_class: str, fit: Sequence[tuple[BatchJob, dict[str, Any]]]
) -> tuple[list[BulkJob], list[BulkJob]]:
    """What was done, and what was not: one that fails holds up no other."""
    gate = asyncio.Semaphore(reading.AT_ONCE)

    async def do(job: BatchJob, body: dict[str, Any]) -> tuple[bool, BulkJob]:
        async with gate:
            try:
                return True, await _do(doors, caller, action, error_class, job, body)
            except (Problem, KubernetesError) as error:
                return False, bulk_job(*job.key, build_problem(error).detail)

    told = await asyncio.gather(*(do(job, body) for job, body in fit))
    return [one for is_done, one in told if is_done], [one for is_done, one in told if not is_done]


async def _do(
    doors: Doors, caller: Caller, action: Action, error_class: str, job: BatchJob, body: dict[str, Any]
) -> BulkJob:
    namespace, name = job.key
    if action is Action.REDRIVE:
        await caller.need("create", BATCH_JOBS, namespace)
        redrive = build_redrive(job, body, caller.name, error_class)
        name = redrive["metadata"]["name"]
        try:
            await doors.kube.create(BATCH_JOBS, namespace, redrive)
            detail = f"tries the failed items of {job.metadata.name} again"
        except AlreadyExists:
            detail = f"has the failed items of {job.metadata.name} already"
    else:
        await caller.need("patch", BATCH_JOBS, namespace)
        change = build_change(action, job, secrets.token_hex(16))
        await doors.kube.patch(BATCH_JOBS, namespace, name, change)
        detail = ""
    told = {"job": f"{namespace}.{job.metadata.name}", "owner": job.spec.owner}
    audit.info("audit", user=caller.name, verb=action.value, made=name if action is Action.REDRIVE else None, **told)
    return bulk_job(namespace, name, detail)
