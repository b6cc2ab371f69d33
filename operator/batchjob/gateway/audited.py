"""The route of the audit trail, for admins: who did what, newest first."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from batchjob.errors import CursorError
from batchjob.gateway.access import Caller
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.limits import READS
from batchjob.gateway.problems import FORBIDDEN, Fault, Problem, invalid
from batchjob.store import AuditEntry, AuditFilter

MOST: Final = 500  # of a page
MOST_TEXT: Final = 512

router = APIRouter(prefix="/api/v1/audit", tags=["Audit"], dependencies=[READS])
TextOf = Annotated[str, Query(max_length=MOST_TEXT)]


async def need_admin(caller: Caller) -> None:
    """A 403 for others: what people did is told to nobody else."""
    if not await caller.is_admin():
        raise Problem(FORBIDDEN, "The audit trail is for those who may update batchqueues: ask one of them")


@router.get("")
async def read(  # noqa: PLR0913 - a query has its parameters
    request: Request,
    caller: CallerOf,
    doors: DoorsOf,
    *,
    user: TextOf = "",
    verb: TextOf = "",
    object: Annotated[str, Query(max_length=MOST_TEXT, description="A part of its name.")] = "",  # noqa: A002 - its name in the query
    outcome: Annotated[str, Query(pattern="^(|done|refused|failed)$")] = "",
    signed_in: Annotated[
        bool, Query(alias="signedIn", description="false: what was tried by those who had not signed in.")
    ] = True,
    cursor: Annotated[str | None, Query(max_length=41, description="Where to go on: from Link or next.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> JSONResponse:
    """What was done, and what was refused; for admins.

    A page may have fewer than `limit`, even none, and yet a next one: so much was looked at for one answer.
    """
    await need_admin(caller)
    wanted = AuditFilter(user, verb, object, outcome)
    try:
        found = await doors.store.audit.read(wanted, limit=limit, cursor=cursor, signed_in=signed_in)
    except CursorError as error:
        raise invalid(Fault("cursor", str(error), "parameter")) from None
    headers = {}
    if found.cursor is not None:
        there = request.url.include_query_params(cursor=found.cursor)
        headers["Link"] = f'<{there.path}?{there.query}>; rel="next"'
    return JSONResponse(
        {"success": True, "entries": [*map(view, found.entries)], "next": found.cursor}, headers=headers
    )


def view(entry: AuditEntry) -> dict[str, Any]:
    """An entry as the API shows it: what is not known of it is null."""
    told = {name: getattr(entry, name) or None for name in entry.__struct_fields__}
    return {"time": format_time(entry.id), **told}


def format_time(entry_id: str) -> str:
    """When an entry was kept, by its id: RFC 3339 in UTC."""
    moment = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
