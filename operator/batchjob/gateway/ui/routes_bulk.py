"""What is done to one BatchJob or to many: first a look at what would be done, then it is done while one watches.

The result comes as one page in pieces, a step after each group, so progress shows without a script and no replica has
to remember anything. What was done stays done if the page is closed on the way; the rest is left.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from anyio import CancelScope
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response, StreamingResponse

from batchjob.api.status import ErrorClass
from batchjob.api.v1alpha1 import KIND
from batchjob.core.actions import Action, obstacle
from batchjob.core.queries import parse_query
from batchjob.errors import KubernetesError, QueryError
from batchjob.gateway import changes
from batchjob.gateway.access import Caller
from batchjob.gateway.audit import Deed, acted, nothing_yet, outcome_of
from batchjob.gateway.doors import Doors, DoorsOf
from batchjob.gateway.lists import AT_ONCE
from batchjob.gateway.problems import INVALID, Problem, build_problem
from batchjob.gateway.ui import reading
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import HEADERS, Page, build_html, page
from batchjob.gateway.ui.session import Visitor, read_form
from batchjob.gateway.ui.views_bulk import (
    Outcome,
    build_many,
    build_plan,
    bulk_job,
    label_of,
    sum_up,
    typed_for,
)

GROUP: Final = 5 * AT_ONCE  # BatchJobs between two words on how far it is: about a second's
CUT: Final = "<!--steps-->"  # where the page is
MISSING: Final = "there is no such BatchJob, it is not yours, or it is of a newer version than this gateway"
CLOSED: Final = "the page was closed before"
MOST_MARK: Final = 64  # characters

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)


class Order(NamedTuple):
    """What a form asks for."""

    action: Action
    error_class: str
    query: str | None  # all that a search finds; None: those of `keys`
    keys: list[tuple[str, str]]  # (namespace, name)
    mark: str  # of the look that came before: the same form makes a redrive once
    asked: int  # how many it was said to be for: some of those that a search found may have changed since
    until: float = 0.0  # of a search: BatchJobs that were made later are not meant
    more: bool = False  # the search finds more than these


@router.post("/jobs/bulk")
async def bulk(request: Request, caller: Visitor, doors: DoorsOf) -> Response:
    """An action on some BatchJobs, or on all that a search finds."""
    form = await read_form(request)
    order = await _read_order(form, doors, caller)
    wanted = typed_for(order.action, order.asked)
    typed = form.get("typed", [""])[0].strip().lower()
    if form.get("sure") != ["1"] or not order.keys or (wanted and typed != wanted):
        nothing_yet()
        return await _look(doors, caller, order, typed if "typed" in form else None)
    outcomes: list[Outcome] = []
    if len(order.keys) == 1:
        outcomes = [await _do(doors, caller, order, order.keys[0])]
        if outcomes[0].kind == "done":
            return RedirectResponse(outcomes[0].job.path, 303)
    nothing_yet()
    label, all_of_it = label_of(order.action, order.error_class), len(order.keys)
    head = build_html("bulk.html", who=caller.name, is_admin=await caller.is_admin(), here="jobs", label=label,
                      count=all_of_it)  # fmt: skip
    return StreamingResponse(
        _run(doors, caller, order, head, outcomes),
        media_type="text/html",
        headers=HEADERS | {"X-Accel-Buffering": "no"},  # a proxy that gathers it would show nothing until the end
    )


async def _look(doors: Doors, caller: Caller, order: Order, typed: str | None) -> Response:
    """What would be done. A few are looked at one by one; of thousands each when its turn comes."""
    if order.query is not None and len(order.keys) > reading.MOST_BULK:
        plan = build_many(order.action, order.query, len(order.keys), order.until, order.error_class, more=order.more)
    else:
        read = await reading.read_jobs(doors, caller, order.keys)
        jobs = [job for _, job, _ in read if job is not None]
        missing = [bulk_job(*key, MISSING) for key, job, _ in read if not job]
        plan = build_plan(order.action, jobs, missing, order.error_class)
    fault = f"Type {plan.typed}, as it stands above; {typed or 'nothing'} was typed." if typed is not None else ""
    return await page(
        "confirm.html", caller, here="jobs", plan=plan, mark=order.mark, fault=fault if plan.typed else ""
    )


async def _read_order(form: dict[str, list[str]], doors: Doors, caller: Caller) -> Order:
    """What was chosen, of what may be seen."""
    action, error_class = _action(form), _error_class(form)
    mark = form.get("mark", [""])[0][:MOST_MARK] or secrets.token_hex(16)
    if form.get("all") != ["1"]:
        sent = [reading.parse_key(text) for text in dict.fromkeys(form.get("job", []))]
        named = [key for key in sent if key is not None]
        if len(named) < len(sent):
            raise Problem(INVALID, "job: what was sent is no <namespace>.<name>")
        if len(named) > reading.MOST_BULK:
            raise Problem(INVALID, f"job: {len(named)} were sent, and a form is for {reading.MOST_BULK} at most")
        return Order(action, error_class, None, named, mark, len(named))
    query = form.get("q", [""])[0]
    until = float(_number(form, "until") or time.time())
    asked = min(_number(form, "count") or reading.MOST_ALL, reading.MOST_ALL)
    try:
        keys, more = await reading.found_by(doors, caller, parse_query(query), until, asked)
    except QueryError as error:
        raise Problem(INVALID, f"q: {error}") from error
    return Order(action, error_class, query, keys, mark, asked if "count" in form else len(keys), until, more)


def _number(form: dict[str, list[str]], name: str) -> int:
    """A whole number of a form of ours; 0: none is given."""
    given = form.get(name, ["0"])[0]
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(2**53))):
        raise Problem(INVALID, f"{name}: {given or 'nothing'} was sent, and a number is needed")
    return int(given)


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


async def _run(doors: Doors, caller: Caller, order: Order, html: str, outcomes: list[Outcome]) -> AsyncIterator[str]:
    """The page, in pieces: its head at once, how far it is after each group, then the result."""
    head, _, tail = html.partition(CUT)
    yield head
    for first in range(len(outcomes), len(order.keys), GROUP):
        outcomes += await _do_some(doors, caller, order, order.keys[first : first + GROUP])
        yield build_html("bulk_step.html", so_far=len(outcomes), count=len(order.keys))
    result = sum_up(order.action, outcomes, order.error_class)
    yield build_html("bulk_result.html", result=result, more=order.more)
    yield tail


async def _do_some(doors: Doors, caller: Caller, order: Order, keys: Sequence[tuple[str, str]]) -> list[Outcome]:
    """Some of them, a few side by side: one that fails holds up no other.

    Where the page is closed meanwhile, those that are under way are waited for: what they did is told of.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    is_closed = False

    async def do(key: tuple[str, str]) -> Outcome:
        async with gate:
            return Outcome("left", bulk_job(*key, CLOSED)) if is_closed else await _do(doors, caller, order, key)

    tasks = [asyncio.create_task(do(key)) for key in keys]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        is_closed = True
        with CancelScope(shield=True):
            await asyncio.wait(tasks)
        raise
    return [task.result() for task in tasks]


async def _do(doors: Doors, caller: Caller, order: Order, key: tuple[str, str]) -> Outcome:
    """One of them: done, left as it is, or refused, and why."""
    action, error_class = order.action, order.error_class
    try:
        job, body = await reading.read_job(doors, caller, *key)
        if why := obstacle(action, job):
            return Outcome("left", bulk_job(*key, why))
        if action is not Action.REDRIVE:
            await changes.change(doors, caller, action, job)
            return Outcome("done", bulk_job(*key, ""))
        wanted = {"filter": {"errorClass": [error_class]}} if error_class else {}
        again = await changes.redrive(doors, caller, job, body, wanted, f"{caller.name}\0{order.mark}")
    except (Problem, ValidationError, KubernetesError) as error:
        problem = build_problem(error)
        named = {"namespace": key[0], "name": key[1]}
        acted(Deed(action.value, KIND, named, outcome=outcome_of(problem.slug.status)))
        return Outcome("refused", bulk_job(*key, problem.detail))
    detail = f"{'tries' if again.made else 'has'} the failed items of {key[1]} {'again' if again.made else 'already'}"
    return Outcome("done", bulk_job(key[0], again.name, detail))
