"""Routes of what is in a BatchJob: items, errors, results. The store has them; the custom resource says whose they are.

Pages go by position: a page is so many positions long, and has those of them that fit, which may be fewer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from batchjob import log
from batchjob.api.status import ErrorClass
from batchjob.api.v1alpha1 import BatchJob
from batchjob.errors import RunGone
from batchjob.gateway.batchjobs import find
from batchjob.gateway.causes import AT_ONCE, read_causes
from batchjob.gateway.doors import CallerOf, Doors, DoorsOf
from batchjob.gateway.limits import READS
from batchjob.gateway.problems import CONFLICT, GONE, Problem
from batchjob.gateway.views import JOBS
from batchjob.store import DeadLetter, ItemResult

MOST: Final = 500  # of a page
SHOWN_BYTES: Final = 2048  # of an item's data or result in a list: whole ones are in results
PAGE_BYTES: Final = 8 * 1024 * 1024  # of items that are read for a page, about: 500 may have 500 MiB
MOST_POSITION: Final = 2**53
LETTERS_READ: Final = 10_000  # for the errors of one answer: some 400 calls
FORGOTTEN: Final = "The store has forgotten the run: its items and results were kept as long as spec.retention says."

SEND_SECONDS: Final = 60.0  # for a result of 1 MiB at 16 KiB a second: whoever takes longer keeps the memory of others

logger = log.get(__name__)

router = APIRouter(prefix=JOBS, tags=["Items and results"], dependencies=[READS])
CursorOf = Annotated[int, Query(ge=0, le=MOST_POSITION, description="Where to go on: from Link or next.")]
LimitOf = Annotated[int, Query(ge=1, le=MOST, description="Positions of a page.")]


class ItemStatus(StrEnum):
    """Which items can be listed; the others are counted in the BatchJob."""

    FAILED = "failed"
    SUCCEEDED = "succeeded"


def _excerpt(document: bytes) -> Any:
    """A document that is short, else the beginning of its text."""
    if len(document) <= SHOWN_BYTES:
        return msgspec.Raw(document)
    return {"truncated": True, "bytes": len(document), "begin": document[:SHOWN_BYTES].decode("utf-8", "ignore")}


def letter_view(letter: DeadLetter) -> dict[str, Any]:
    """An item that was given up."""
    return {
        "id": letter.id,
        "position": letter.position,
        "status": ItemStatus.FAILED.value,
        "errorClass": letter.error_class,
        "message": letter.message,
        "attempts": letter.attempts,
        "losses": letter.losses,
        "data": _excerpt(letter.data),
    }


def result_view(result: ItemResult) -> dict[str, Any]:
    """An item with a result."""
    shown = {"id": result.id, "position": result.position, "status": ItemStatus.SUCCEEDED.value}
    return shown | {"result": _excerpt(result.result)}


class Download(StreamingResponse):
    """Lines of results, as fast as they are taken; who takes them too slowly is cut off, which is no end of them."""

    def __init__(
        self, lines: AsyncIterator[bytes], place: AbstractContextManager[None], headers: Mapping[str, str]
    ) -> None:
        super().__init__(lines, media_type="application/x-ndjson", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, once there is a place."""
        with self._place:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send them, each within its time; without the end of a body, the server breaks the connection off."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            logger.info("results were taken too slowly")


@router.get("/{job}/items")
async def items(  # noqa: PLR0913 - a query has its parameters
    request: Request,
    job: str,
    caller: CallerOf,
    doors: DoorsOf,
    *,
    status: ItemStatus = ItemStatus.FAILED,
    error_class: Annotated[ErrorClass | None, Query(alias="errorClass")] = None,
    cursor: CursorOf = 0,
    limit: LimitOf = 100,
) -> Response:
    """Items that failed, or those that succeeded and left a result in the store."""
    found, _ = await find(doors, caller, job, "get")
    if status is ItemStatus.FAILED:
        shown, following = await read_failed(doors, found.metadata.uid, error_class, cursor, limit)
    else:
        _need_store(found)
        total = found.status.counts.total if found.status else 0
        shown, stop = [], total
        with _of_run(found):
            shown, stop = await read_succeeded(doors, found.metadata.uid, cursor, limit)
        following = stop if stop < total else None
    headers = {}
    if following is not None:
        there = request.url.include_query_params(cursor=following)
        headers["Link"] = f'<{there.path}?{there.query}>; rel="next"'
    return _json({"success": True, "items": shown, "next": following}, headers)


async def read_failed(
    doors: Doors, uid: str, error_class: ErrorClass | None, cursor: int, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """A page of items that failed, and where to go on; long records make it a short page."""
    shown, read, size = list[dict[str, Any]](), 0, 0
    while read < limit and size < PAGE_BYTES:
        asked = min(AT_ONCE, limit - read)
        letters = await doors.store.dead_letters(uid, asked, cursor)
        shown += [letter_view(letter) for letter in letters if error_class in (None, letter.error_class)]
        if len(letters) < asked:
            return shown, None
        read, cursor = read + asked, letters[-1].position + 1
        size += sum(len(letter.data) for letter in letters)
    return shown, cursor


async def read_succeeded(doors: Doors, uid: str, cursor: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """A page of results, and where it ends; long ones make it a short page."""
    shown, size = list[dict[str, Any]](), 0
    async for result in doors.store.results(uid, cursor, cursor + limit):
        shown.append(result_view(result))
        size += len(result.result)
        if size >= PAGE_BYTES:
            return shown, result.position + 1
    return shown, cursor + limit


@router.get("/{job}/errors")
async def errors(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """Why items failed, by the fingerprint of their errors: how many, and one of them; the most frequent first."""
    found, _ = await find(doors, caller, job, "get")
    causes = await read_causes(doors, found.metadata.uid, LETTERS_READ)
    shown = [
        {
            "fingerprint": cause.fingerprint,
            "errorClass": cause.error_class,
            "message": cause.message,
            "count": cause.count,
            "exampleItem": cause.item,
        }
        for cause in causes.most_common(MOST)
    ]
    return JSONResponse({"success": True, "errors": shown, "itemsRead": causes.read, "complete": causes.complete})


@router.get("/{job}/results")
async def results(job: str, caller: CallerOf, doors: DoorsOf) -> Response:
    """All results in the store, a JSON line each, in the order of the source."""
    found, _ = await find(doors, caller, job, "get")
    _need_store(found)
    lines = _lines(doors.store.results(found.metadata.uid))
    first = b""
    with _of_run(found):  # what is wrong with the run or the store is found out before the answer begins
        first = await anext(lines, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for line in lines:
            yield line

    name = f"{found.metadata.name}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Download(body(), doors.downloads.take(caller.name), headers)


async def _lines(found: AsyncIterator[ItemResult]) -> AsyncIterator[bytes]:
    async for result in found:
        yield msgspec.json.encode({"id": result.id, "result": msgspec.Raw(result.result)}) + b"\n"


def _need_store(job: BatchJob) -> None:
    """Whether results can be in the store."""
    where = job.status.results if job.status else None
    if where and where.uri:
        raise Problem(CONFLICT, f"The results are at the destination of the BatchJob: {where.uri} lists their files")
    if where and where.expires_at and _is_past(where.expires_at):
        raise Problem(GONE, f"The results were removed at {where.expires_at} (spec.retention)")


@contextmanager
def _of_run(job: BatchJob) -> Iterator[None]:
    """Of a run that has not begun the store knows nothing, and there are no results; one that has is forgotten."""
    try:
        yield
    except RunGone:
        if job.status and job.status.store_epoch:
            raise Problem(GONE, FORGOTTEN) from None


def _is_past(moment: str) -> bool:
    return datetime.fromisoformat(moment) < datetime.now(UTC)


def _json(body: Any, headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(body), headers=headers, media_type="application/json")
