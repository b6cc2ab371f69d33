"""The load lease: one worker streams the source into chunks; the run opens when all of it is there.

Of a run that was opened `early`, chunks may be claimed before that. So what a loader put stays when it is taken over,
with a mark: the checksum, made by the loader, of all items so far. The next one reads the source from the beginning,
sees by the mark whether it is the same, and goes on behind it.

An item is packed as its id and its JSON, side by side in one msgpack array a chunk: Lua can pick an item without
ever reading its JSON, whose numbers it would change. (As text: Redis' cmsgpack does not know msgpack's binary type.)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batchjob.core.items import Item
from batchjob.core.ranges import Ranges
from batchjob.store import scripts
from batchjob.store.connection import Connection
from batchjob.store.duty import Duty
from batchjob.store.keys import CHUNK_LIMIT, run_key


class LoadLease(Duty):
    """The right to load, for `lease_ms` after each call. Errors: LeaseLost when another worker took over."""

    kind = "load"

    def __init__(self, connection: Connection, uid: str, token: int) -> None:
        super().__init__(connection, uid, token)
        self._next_position = 0

    async def before(self) -> tuple[Ranges, str]:
        """Positions that an earlier epoch has done: they are not to be put. And its source's SHA-256; empty: none."""
        meta = run_key(self._uid, "meta")
        done, sha256 = await self._connection.command("HMGET", meta, "done", "pinned_sha256")
        return Ranges((done or b"").decode()), (sha256 or b"").decode()

    async def reached(self) -> tuple[int, str] | None:
        """The position that comes next, and the mark of what lies before it: an earlier loader's, or 0 and empty.

        None where nothing can be claimed before all is loaded: then a load begins at 0, and needs no mark.
        """
        meta = run_key(self._uid, "meta")
        early, loaded, mark = await self._connection.command("HMGET", meta, "early", "loaded", "loaded_mark")
        return (int(loaded or 0), (mark or b"").decode()) if early == b"1" else None

    async def is_rebuilt(self) -> bool:
        """Whether items had ended before the store was lost."""
        meta = run_key(self._uid, "meta")
        done, repeats = await self._connection.command("HMGET", meta, "done_items", "repeats")
        return int(done or 0) + int(repeats or 0) > 0

    async def keep(self, parts: Mapping[str, bytes], items: int) -> None:
        """Keep parts that an earlier epoch has sealed (name → JSON): `items` of theirs are not in `before`. Renews.

        They count as succeeded once the load is finished. A later call replaces what an earlier one kept.
        """
        flat = [text for name, part in parts.items() for text in (name, part)]
        await self._call(scripts.LOAD_KEEP, self._token, items, *flat)

    async def put(self, chunks: Sequence[Sequence[Item]], mark: str = "") -> None:
        """Add chunks of 1 to 10,000 items; positions ascend, within a chunk without gaps (ValueError). Renews.

        `mark`: what `reached` shall say once they are there.
        """
        arguments: list[Any] = [mark]
        position = self._next_position
        for chunk in chunks:
            first = chunk[0].position if chunk else position
            if first < position:
                raise ValueError(f"item {chunk[0].id!r} is at position {first}, but {position} or more comes next")
            arguments += (first, len(chunk), _pack(chunk, first))
            position = first + len(chunk)
        await self._call(scripts.LOAD_PUT, self._token, *arguments)
        self._next_position = position

    async def finish(
        self,
        total: int,
        sha256: str | None,
        etag: str | None,
        bad_items: int = 0,
        messages: Sequence[str] = (),
        missing: Ranges = Ranges(),  # noqa: B008 - never changed
    ) -> None:
        """Open the run, after checking that all of `total` items arrived or were done before (StoreError if not).

        `bad_items` were left out; `messages`, a line each, are about the first of them. `missing`: items that were done
        before and are in no part that was kept, so that their results are lost.
        """
        arguments = total, sha256 or "", etag or "", bad_items, "\n".join(messages), len(missing), str(missing)
        await self._call(scripts.LOAD_FINISH, self._token, *arguments)

    async def trouble(self, error_class: str, message: str) -> None:
        """The source cannot be read now; shown in the snapshot until it is loaded. Renews the lease."""
        await self._call(scripts.DUTY_KEEP, self.kind, self._token, error_class, message)


def _pack(chunk: Sequence[Item], first: int) -> bytes:
    if not 1 <= len(chunk) <= CHUNK_LIMIT:
        raise ValueError(f"a chunk holds 1 to {CHUNK_LIMIT} items, not {len(chunk)}")
    packed: list[str] = []
    for position, item in enumerate(chunk, start=first):
        if item.position != position:
            raise ValueError(f"item {item.id!r} is at position {item.position}, but {position} comes next")
        # Not the source's own text, though it is there: its spaces and escapes (\u4e2d) may take twice the memory.
        packed += (item.id, msgspec.json.encode(item.data).decode())
    return msgspec.msgpack.encode(packed)
