"""The page of the audit trail, for admins: who did what, newest first, by plain links and one form."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from batchjob.errors import CursorError
from batchjob.gateway.audited import MOST_TEXT, format_time, need_admin
from batchjob.gateway.doors import DoorsOf
from batchjob.gateway.problems import INVALID, Problem
from batchjob.gateway.ui.assets import ROOT
from batchjob.gateway.ui.pages import Page, page
from batchjob.gateway.ui.session import Visitor
from batchjob.gateway.ui.views_jobs import Tab
from batchjob.store import AuditFilter

ROWS: Final = 50
HERE: Final = f"{ROOT}/audit"

router = APIRouter(prefix=ROOT, include_in_schema=False, route_class=Page)
TextOf = Annotated[str, Query(max_length=MOST_TEXT)]


@router.get("/audit")
async def audit(
    caller: Visitor, doors: DoorsOf, *, who: TextOf = "", what: TextOf = "", on: TextOf = "", cursor: TextOf = "",
    strangers: bool = False,
) -> Response:  # fmt: skip
    """What was done, and what was refused."""
    await need_admin(caller)
    who, what, on = who.strip(), what.strip(), on.strip()
    try:
        found = await doors.store.audit.read(
            AuditFilter(who, what, on), limit=ROWS, cursor=cursor or None, signed_in=not strangers
        )
    except CursorError as error:
        raise Problem(INVALID, f"cursor: {error}") from None
    given = {"who": who, "what": what, "on": on} | ({"strangers": "1"} if strangers else {})
    kept = {name: value for name, value in given.items() if value}
    tabs = [Tab("Signed in", HERE, not strangers), Tab("Not signed in", f"{HERE}?strangers=1", strangers)]
    pager = {
        "first": _path(kept) if cursor else None,
        "following": _path(kept | {"cursor": found.cursor}) if found.cursor else None,
    }
    lines = [(format_time(entry.id), entry, _job_path(entry.kind, entry.object)) for entry in found.entries]
    form = {"who": who, "what": what, "on": on, "strangers": strangers, "is_filtered": bool(who or what or on)}
    return await page("audit.html", caller, here="audit", lines=lines, tabs=tabs, pager=pager, form=form)


def _path(query: dict[str, str]) -> str:
    return f"{HERE}?{urlencode(query)}" if query else HERE


def _job_path(kind: str, name: str) -> str:
    """The page of what an entry is about; empty where it has none."""
    namespace, dot, rest = name.partition(".")
    return f"{ROOT}/jobs/{namespace}/{rest}" if kind == "BatchJob" and dot and rest else ""
