"""The index of all BatchJobs: lists and searches without asking Kubernetes, newest first.

The operator writes a row a BatchJob, in one call for many, and keeps a mark beside them (`controller.indexing`);
whoever searches gets rows. A call looks at a bounded number of BatchJobs, whatever it is asked: where that was not
enough for a page, its cursor goes on. The keys share a hash tag, so that one script reaches all of them in a cluster.
"""

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from batchjob.api.status import Phase
from batchjob.core.queries import LABEL, NAME, WORD, Query
from batchjob.core.rows import ROW_ID_BYTES, JobRow
from batchjob.errors import CursorError, QueryError, ScriptsUnknown
from batchjob.store import keys, scripts
from batchjob.store.connection import Connection, answered, load
from batchjob.store.wire import Command

MOST_ROWS: Final = 500  # of a page
MOST_NAMESPACES: Final = 64  # that a search may be kept to; each may be asked about each BatchJob that is looked at
BUDGET: Final = 2500  # looks a call: some milliseconds, in which nobody else is served
CALLS: Final = 16  # of a search, one after the other; what they have not found, the next page goes on with
DIGEST_BYTES: Final = 12  # of a cursor, to tell apart searches

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(JobRow).decode


class Page(NamedTuple):
    """A part of what a search finds.

    `cursor`: where the next part begins; None after the last. A page with fewer rows than asked for, even with none,
    may have one: so much was looked at that it was time for an answer.
    `at_most`: how many rows there are from the beginning of this page on, or fewer.
    """

    rows: list[JobRow]
    cursor: str | None
    at_most: int


class Index:
    """The index. Errors of every call: StoreUnavailable, StoreNotReady; StoreFull for `keep`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def search(
        self,
        query: Query,
        now: float,
        *,
        owner: str | None = None,
        namespaces: Collection[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """The BatchJobs that a query finds at `now` (seconds since 1970), newest first; `limit` of them, at most 500.

        `owner`, `namespaces`: whose, and in which of them; None: all. No query reaches beyond. Raises CursorError
        unless `cursor` is of a page of the same search.
        """
        if namespaces is not None and len(namespaces) > MOST_NAMESPACES:
            raise QueryError(f"A search is of {MOST_NAMESPACES} namespaces at most, not {len(namespaces)}.")
        who = _digest(query, owner, namespaces)
        names, plan = _plan(query, now, owner, namespaces)
        if cursor is not None:
            plan["newest"] = min(plan["newest"], f"({_read_cursor(cursor, who)}", key=_place)
        found: list[JobRow] = []
        limit, next_id, at_most = max(1, min(limit, MOST_ROWS)), None, 0
        for call in range(CALLS):
            wanted = limit + 1 - len(found)  # one more, to know whether there is one
            rows, next_id, most = await self._searched(_search(names, plan, wanted))
            found += map(_read_row, rows)
            at_most = at_most if call else most
            if next_id is None or len(found) > limit:
                break
            plan["newest"] = f"({next_id.decode()}"
        place = found[limit - 1].id if len(found) > limit else next_id and next_id.decode()
        return Page(found[:limit], _cursor(who, place) if place else None, at_most)

    async def counts(self, queues: Sequence[str], owner: str | None = None) -> dict[str, dict[Phase, int]]:
        """How many BatchJobs there are in some queues, by phase: of all, or of an owner's."""
        if not queues:
            return {}
        fields = [f"{queue} {phase}" for queue in queues for phase in Phase]
        found = await self._connection.command("HMGET", keys.index_counts(owner), *fields)
        numbers = iter(int(number or 0) for number in found)
        return {queue: {phase: next(numbers) for phase in Phase} for queue in queues}

    async def keep(self, changes: Mapping[str, JobRow | None], mark: str) -> str | None:
        """Put rows by their ids, and remove those that are None, then leave `mark`; returns the mark before it.

        Idempotent; what is as it was costs a look. None too where the store has lost our scripts, and so perhaps more.
        """
        batch = [*(_put(row_id, row) for row_id, row in changes.items()), ("SET", keys.INDEX.mark, mark, "GET")]
        try:
            before = await self._done(batch)
        except ScriptsUnknown:
            await self._connection.everywhere(load(scripts.INDEX_PUT))
            await self._done(batch)
            return None
        return None if before is None else before.decode()

    async def mark(self) -> str | None:
        """The mark that was left last."""
        found = await self._connection.command("GET", keys.INDEX.mark)
        return None if found is None else found.decode()

    async def rows_after(self, row_id: str, limit: int) -> dict[str, JobRow | None]:
        """Some rows by id, in the order of ids, after one (empty: from the first on); for a comparison."""
        ids = await self._connection.command(
            "ZRANGE", keys.INDEX.all, f"({row_id}" if row_id else "-", "+", "BYLEX", "LIMIT", 0, limit
        )
        rows = await self._connection.command("HMGET", keys.INDEX.rows, *ids) if ids else []
        return {name.decode(): row and _read_row(row) for name, row in zip(ids, rows, strict=True)}

    async def _done(self, batch: Sequence[Command]) -> Any:
        """The last answer to commands of which none failed."""
        return [answered(answer) for answer in await self._connection.commands(batch)][-1]

    async def _searched(self, command: Command) -> list[Any]:
        try:
            found: list[Any] = await self._done([command])
        except ScriptsUnknown:  # the store was restarted
            await self._connection.everywhere(load(scripts.INDEX_SEARCH))
            found = await self._done([command])
        return found


def _put(row_id: str, row: JobRow | None) -> Command:
    body = b"" if row is None else row.name.encode() + b"\0" + _encode(row)
    names = (keys.INDEX.rows, keys.INDEX.all, keys.INDEX.names, keys.INDEX.counts)
    return ("EVALSHA", scripts.INDEX_PUT.sha, len(names), *names, keys.INDEX_PREFIX, row_id, body)


def _search(names: Sequence[str], plan: Mapping[str, Any], limit: int) -> Command:
    told = _encode({**plan, "limit": limit, "budget": BUDGET})
    return ("EVALSHA", scripts.INDEX_SEARCH.sha, len(names), *names, told)


def _read_row(body: bytes) -> JobRow:
    return _decode(body[body.index(b"\0") + 1 :])


def _plan(
    query: Query, now: float, owner: str | None, namespaces: Collection[str] | None
) -> tuple[list[str], dict[str, Any]]:
    """The keys that a search needs, and what index_search.lua is told of them."""
    names: list[str] = [keys.INDEX.rows, keys.INDEX.all, keys.INDEX.names]
    sets: list[tuple[bool, list[int]]] = []
    beginnings: list[tuple[bool, list[str]]] = []

    def of_facet(facet: str, values: Iterable[str], *, excluded: bool = False) -> None:
        first = len(names) + 1
        names.extend(keys.index_set(facet, value) for value in values)
        sets.append((excluded, list(range(first, len(names) + 1))))

    for (field, excluded), values in query.groups().items():
        if field == WORD:
            beginnings.append((excluded, values))
        elif field == NAME:
            beginnings.append((excluded, [f"{value}\0" for value in values]))
        elif field == "status":
            of_facet("phase", (value.capitalize() for value in values), excluded=excluded)
        elif field.startswith(LABEL):
            label = field.removeprefix(LABEL)
            of_facet("label", (f"{label}={value}" for value in values), excluded=excluded)
        else:
            of_facet(field, values, excluded=excluded)
    if owner is not None:
        of_facet("owner", [owner])
    if namespaces is not None:
        of_facet("namespace", sorted(namespaces))
    older, younger = query.ages()
    newest = "+" if older is None else f"({max(0, -int(-(now - older) // 1)):08x}"
    oldest = "-" if younger is None else f"[{max(0, int((now - younger) // 1) + 1):08x}"
    return names, {"sets": sets, "names": beginnings, "newest": newest, "oldest": oldest}


def _place(bound: str) -> tuple[bool, str]:
    """Sorts upper bounds: + is after all."""
    return bound == "+", bound


def _digest(query: Query, owner: str | None, namespaces: Collection[str] | None) -> bytes:
    """Names a search."""
    told = _encode((str(query), owner, None if namespaces is None else sorted(namespaces)))
    return hashlib.sha256(told).digest()[:DIGEST_BYTES]


def _cursor(who: bytes, row_id: str) -> str:
    return base64.urlsafe_b64encode(who + bytes.fromhex(row_id)).decode().rstrip("=")


def _read_cursor(cursor: str, who: bytes) -> str:
    try:
        told = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        told = b""
    if len(told) != DIGEST_BYTES + ROW_ID_BYTES or told[:DIGEST_BYTES] != who:
        raise CursorError("The cursor is of another search. Begin again without one.")
    return told[DIGEST_BYTES:].hex()
