"""The route that lists BatchJobs: what a search of the index finds, newest first."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from batchjob.core.queries import MOST_CHARACTERS, parse_query
from batchjob.core.rows import JobRow
from batchjob.errors import CursorError, QueryError
from batchjob.gateway.doors import CallerOf, DoorsOf
from batchjob.gateway.limits import READS
from batchjob.gateway.lists import find_jobs
from batchjob.gateway.problems import Fault, invalid
from batchjob.gateway.views import JOBS, job_id, links
from batchjob.store.index import MOST_ROWS

router = APIRouter(prefix=JOBS, tags=["BatchJobs"], dependencies=[READS])
MOST_CURSOR: Final = 200
TextOf = Annotated[
    str, Query(max_length=MOST_CHARACTERS, description="A search (docs/reference/search.md); empty: all.")
]
CursorOf = Annotated[str | None, Query(max_length=MOST_CURSOR, description="Where to go on: from Link or next.")]
LimitOf = Annotated[int, Query(ge=1, le=MOST_ROWS, description="BatchJobs of a page.")]


@router.get("")
async def search(
    request: Request, caller: CallerOf, doors: DoorsOf, *, q: TextOf = "", cursor: CursorOf = None, limit: LimitOf = 50
) -> JSONResponse:
    """Your BatchJobs that a search finds, newest first; admins find everybody's.

    A page may have fewer than `limit`, even none, and yet a next one: so much was looked at for one answer.
    """
    try:
        found = await find_jobs(doors, caller, parse_query(q), limit, cursor)
    except QueryError as error:
        where = "cursor" if isinstance(error, CursorError) else "q"
        raise invalid(Fault(where, str(error), "parameter")) from None
    headers = {}
    if found.cursor is not None:
        there = request.url.include_query_params(cursor=found.cursor)
        headers["Link"] = f'<{there.path}?{there.query}>; rel="next"'
    jobs = [row_view(row) for row in found.rows]
    return JSONResponse({"success": True, "jobs": jobs, "next": found.cursor}, headers=headers)


def row_view(row: JobRow) -> dict[str, Any]:
    """A BatchJob in a list. Times are seconds since 1970 (UTC)."""
    name = job_id(row.namespace, row.name)
    return {
        "id": name,
        "name": row.name,
        "namespace": row.namespace,
        "type": row.type,
        "queue": row.queue,
        "owner": row.owner,
        "labels": dict(label.split("=", 1) for label in row.labels),
        "state": row.phase.lower(),
        "reason": row.reason or None,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "counts": {
            field: getattr(row, field)
            for field in ("total", "waiting", "delayed", "active", "succeeded", "failed", "cancelled")
        },
        "links": links(name),
    }
