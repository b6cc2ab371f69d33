"""Bodies that make a BatchJob, small or large. Items that fit go into the object itself; more are staged first.

    body ──► small? ──► BatchJob with the items in it
               │ no
               ▼
             split ──► check, count, hash ──► staged object ──► BatchJob whose source it is
                                                (visible whole, or not at all)

Nothing is kept but a block, an item and the part that the bucket takes at once. The last thing before the object
becomes visible is to check the BatchJob as it is going to be: whatever is refused leaves nothing behind. What the body
says may stand after its items; it is checked early as far as it is known by then.

Other ways were looked at. A file that is uploaded first and named afterwards (OpenAI's batches, BigQuery's resumable
loads) is two requests, with files of nobody in between, that need a life of their own; here one request makes all or
nothing, and whoever has a file in a bucket names it in source.uri. Lines in pairs of an order and a document
(Elasticsearch's _bulk) are for orders that differ; ours is one, and stands in the first line.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

from fastapi import Request, Response

from batchjob.api.base import MAX_NAME
from batchjob.api.queue import QueueLimits
from batchjob.api.v1alpha1 import JobType
from batchjob.errors import ApiUnavailable, KubernetesError, NotFound
from batchjob.gateway.blocks import PIECE_BYTES, read_blocks
from batchjob.gateway.bodies import JSON_TYPES, MAX_BYTES, WAY_OUT, media_type, parse_object, too_large
from batchjob.gateway.items import staged_line
from batchjob.gateway.limits import Kind, take
from batchjob.gateway.making import Making, check_replay, queued
from batchjob.gateway.problems import TOO_LARGE, WRONG_MEDIA_TYPE, Fault, Problem, invalid
from batchjob.gateway.splitting import Document, Lines, Piece, Splitter
from batchjob.gateway.staging import Place, Staging
from batchjob.gateway.submission import Staged, Submission
from batchjob.gateway.tally import Tally
from batchjob.gateway.views import job_id
from batchjob.kube import BATCH_JOBS

LINES: Final = "application/x-ndjson"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # what may be a part of an object's name
_LINE_OF: Final = re.compile(r"/items/(\d+)(.*)", re.DOTALL)


class Shape(NamedTuple):
    """What a route makes of a body: by default, what it says."""

    body: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    fields: Callable[[Mapping[str, Any]], dict[str, Any]] = dict  # of a body without its items
    item: Callable[[Any, int], Any] | None = None
    retold: Callable[[Problem], Problem] = lambda problem: problem  # about `body` or `fields`, of what was sent
    is_counted: bool = False  # as a request of its type, already


async def take_in(request: Request, making: Making, shape: Shape | None = None) -> Response:
    """Make the BatchJob of a request's body."""
    upload = _Upload(request, making, shape or Shape())
    try:
        return await upload.take_in()
    except Problem as problem:
        raise upload.retold(problem) from None


class _Upload:
    """One request."""

    def __init__(self, request: Request, making: Making, shape: Shape) -> None:
        self._request, self._making, self._shape = request, making, shape
        self._staging = making.doors.staging
        self._settings = making.doors.settings
        self._limits = QueueLimits()
        self._is_counted = shape.is_counted
        self._splitter: Splitter = Document()
        self._lines: list[int] = []  # of a small body, where each item stands
        self._line: int | None = None  # of the item at hand
        kind = media_type(request)
        if kind == LINES:
            self._splitter = Lines()
        elif kind not in JSON_TYPES:
            detail = f"Send Content-Type: application/json, or {LINES}: a line with the fields, then a line an item"
            raise Problem(WRONG_MEDIA_TYPE, detail, headers={"Accept": f"application/json, {LINES}"})

    async def take_in(self) -> Response:
        """Read as much as a small body has; then one way or the other."""
        limit, refusal = MAX_BYTES, too_large(MAX_BYTES)
        if self._staging is not None:
            limit = self._settings.uploads_max_bytes
            said = f"The body has more than {limit} bytes, the most that is taken here (BATCHJOB_UPLOADS_MAX_BYTES)"
            refusal = Problem(TOO_LARGE, f"{said}: {WAY_OUT}")
        blocks = read_blocks(self._request, limit, refusal)
        head = bytearray()
        async for block in blocks:
            head += block
            if len(head) > MAX_BYTES:
                return await self._stage(self._split(bytes(head), blocks), {})
        return await self._take_small(bytes(head))

    async def _take_small(self, body: bytes) -> Response:
        given = self._parse(body)
        shaped, items = self._shape.body(given), given.get("items")
        await self._count(shaped)
        try:
            submission = await self._making.prepare(shaped)
        except Problem as problem:
            if problem.slug is not TOO_LARGE or self._staging is None or not isinstance(items, list):
                raise
        else:
            answer, _ = await self._making.make(submission, shaped)
            return answer
        fields = {name: value for name, value in given.items() if name != "items"}
        return await self._stage(_listed(items, self._lines), fields)

    def _parse(self, body: bytes) -> dict[str, Any]:
        if not isinstance(self._splitter, Lines):
            return parse_object(body)
        pieces = [*self._splitter.feed(body), *self._splitter.finish()]
        self._lines = [piece.line or 0 for piece in pieces]
        return {**self._splitter.fields, **({"items": [piece.value for piece in pieces]} if pieces else {})}

    async def _split(self, head: bytes, blocks: AsyncIterator[bytes]) -> AsyncIterator[Piece]:
        for start in range(0, len(head), PIECE_BYTES):
            for piece in self._splitter.feed(head[start : start + PIECE_BYTES]):
                yield piece
        held = bytearray()  # each block has the splitter look again at an item that it does not end
        async for block in blocks:
            held += block
            if len(held) < PIECE_BYTES:
                continue
            for piece in self._splitter.feed(bytes(held)):
                yield piece
            held.clear()
            await asyncio.sleep(0)  # splitting computes: others get their turn
        for piece in self._splitter.feed(bytes(held)):
            yield piece
        for piece in self._splitter.finish():
            yield piece

    async def _stage(self, pieces: AsyncIterator[Piece], known: Mapping[str, Any]) -> Response:
        """Put the items where they are to be read, then make the BatchJob. `known`: fields, where all of them are.

        No more is read before they may make one at all, and have one of the few places.
        """
        making, staging = self._making, self._staging
        if staging is None:
            raise too_large(MAX_BYTES)
        await making.caller.need("create", BATCH_JOBS, making.namespace)
        with staging.uploads.take(making.caller.name):
            first = await anext(pieces, None)
            fields = known or self._splitter.fields
            body = self._shape.fields(fields)
            if first is None:
                raise invalid(Fault("/items", "has to be a list that holds an item"))
            place = staging.place(making.namespace, self._job(body))
            await self._count(body)
            if known or isinstance(self._splitter, Lines):
                nothing = Staged(0, 0, "", staging.source(place), staging.volume)
                submission = await making.prepare(body, nothing)
                self._limits = (await making.read_queue(submission)).limits
            return await self._write(staging, place, Tally(first, pieces), fields)

    def _job(self, body: Mapping[str, Any]) -> str:
        """The name of the BatchJob, which is a part of the object's."""
        name = body.get("name", self._making.name)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            said = f"has to be of small letters, digits and -, at most {MAX_NAME}"
            raise self._shape.retold(invalid(Fault("/name", said)))
        return name

    async def _count(self, body: Mapping[str, Any]) -> None:
        """Count the request as one of its type, once that is known."""
        if not self._is_counted and body.get("type") == JobType.AI_BATCH:
            self._is_counted = True
            await take(self._request, Kind.ANNOTATE, self._making.caller.name, self._making.doors)

    async def _write(self, staging: Staging, place: Place, tally: Tally, fields: Mapping[str, Any]) -> Response:
        making, body = self._making, dict[str, Any]()
        prepared: list[Submission] = []

        async def checked() -> AsyncIterator[bytes]:
            async for piece in tally.pieces(self._staged_line, self._check_size):
                yield piece
            body.update(self._shape.fields(fields))
            if self._job(body) != place.job:
                said = f"has to stand before items in a body of more than {MAX_BYTES} bytes"
                raise self._shape.retold(invalid(Fault("/name", said)))
            await self._count(body)
            staged = Staged(tally.items, tally.bytes, tally.sha256, staging.source(place), staging.volume)
            prepared.append(await making.prepare(body, staged))

        if await self._is_there(place):  # made by this key before: only whether it is the same has to be found out
            async for _ in checked():
                pass
            await check_replay(making.doors, prepared[0], making.key)
            return queued(job_id(place.namespace, place.job))
        await staging.write(place, checked())
        try:
            answer, is_new = await making.make(prepared[0], body)
        except ApiUnavailable:  # whether it was made, and whether it still is going to be, the sweep will find out
            raise
        except (Problem, KubernetesError):
            await staging.drop_unless_used(making.doors.kube, place)
            raise
        if not is_new:
            await staging.drop_unless_used(making.doors.kube, place)
        return answer

    async def _is_there(self, place: Place) -> bool:
        if self._making.key is None:
            return False
        try:
            await self._making.doors.kube.get(BATCH_JOBS, place.namespace, place.job)
        except NotFound:
            return False
        return True

    def _staged_line(self, piece: Piece, number: int) -> bytes:
        """An item as it is staged."""
        self._line = piece.line
        shape = self._shape.item
        if shape is not None:
            value = shape(piece.value, number)
            piece = Piece(value, json.dumps(value, ensure_ascii=False, separators=(",", ":")), piece.line)
        return staged_line(piece, number)

    def _check_size(self, items: int, size: int) -> None:
        """Whether so many may be sent; what the queue allows is checked early where it is known."""
        most, named = self._settings.uploads_max_items, "the most that is taken here (BATCHJOB_UPLOADS_MAX_ITEMS)"
        if self._limits.max_items is not None and self._limits.max_items < most:
            most, named = self._limits.max_items, "the most that the queue takes (limits.maxItems)"
        if items > most:
            raise _items_refused(f"there are more than {most} items, {named}")
        most_bytes = self._limits.max_payload_bytes
        if most_bytes is not None and size > most_bytes:
            raise _items_refused(
                f"the items have more than {most_bytes} bytes, the most that the queue takes (limits.maxPayloadBytes)"
            )

    def retold(self, problem: Problem) -> Problem:
        """A problem in terms of the body that was sent."""
        if not problem.faults:
            return problem
        if not isinstance(self._splitter, Lines):
            return problem
        faults = [self._on_line(fault) for fault in problem.faults]
        same = faults == list(problem.faults)
        detail = problem.detail if same else "; ".join(map(str, faults))
        return Problem(problem.slug, detail, faults=faults, headers=problem.headers)

    def _on_line(self, fault: Fault) -> Fault:
        found = _LINE_OF.fullmatch(fault.where)
        if fault.line is not None or fault.place != "pointer" or fault.where == "/items":
            return fault
        if found is None:
            return fault._replace(line=self._splitter.line_of_fields)
        number = int(found[1])
        return fault._replace(where=found[2], line=self._lines[number] if number < len(self._lines) else self._line)


async def _listed(items: list[Any], lines: list[int]) -> AsyncIterator[Piece]:
    """Items of a body that is here."""
    for place, item in enumerate(items):
        text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        yield Piece(item, text, lines[place] if lines else None)


def _items_refused(said: str) -> Problem:
    return Problem(TOO_LARGE, f"/items: {said}", faults=[Fault("/items", said)])
