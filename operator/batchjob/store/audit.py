"""The audit trail: who did what to which object, when and from where, and what of it was refused.

Two streams, so that strangers cannot push out what is known of those who signed in. Both are capped by number and by
age. Only gateways write and read here; no worker's user may reach these keys. The record of truth is the log: this is
the part of it that a page shows.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from batchjob.errors import CursorError
from batchjob.store import keys
from batchjob.store.connection import Connection, answered

ENTRIES_KEPT: Final = 50_000  # about: 20 MB
STRANGERS_KEPT: Final = 5_000  # about, of those who had not signed in
KEPT_MS: Final = 90 * 24 * 3_600_000
MOST_CHARACTERS: Final = 512  # of a value: names are Kubernetes' own, or somebody tries something
MOST_DIGITS: Final = 20  # of half an id, a number of 64 bits
PAGE: Final = 500  # entries a call
LOOKS: Final = 10_000  # entries that are looked at for one answer, at most


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One action, done or refused. No field holds what was sent or a secret."""

    verb: str
    outcome: str  # done, refused, failed
    user: str = ""
    kind: str = ""
    object: str = ""
    owner: str = ""
    made: str = ""  # what the action created, where that is another object
    code: int = 0  # of the answer
    address: str = ""  # where the request came from
    via: str = ""  # api or ui
    request: str = ""  # its id in the log
    id: str = ""  # in the stream; given by the store


class AuditFilter(NamedTuple):
    """What is looked for; empty: anything. `object`: a part of its name."""

    user: str = ""
    verb: str = ""
    object: str = ""
    outcome: str = ""

    def fits(self, entry: AuditEntry) -> bool:
        """Whether an entry is what is looked for."""
        return (
            self.user in {"", entry.user}
            and self.verb in {"", entry.verb}
            and self.outcome in {"", entry.outcome}
            and (self.object in entry.object or self.object in entry.made)
        )


class AuditPage(NamedTuple):
    """Entries, newest first; `cursor` is where to go on, None: there are no more."""

    entries: list[AuditEntry]
    cursor: str | None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AuditEntry).decode


class AuditTrail:
    """The trail. Errors of every call: StoreUnavailable, StoreNotReady; StoreFull for `put`."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.time) -> None:
        self._connection, self._clock = connection, clock

    async def put(self, *entries: AuditEntry) -> None:
        """Keep entries; those without a user among the strangers'."""
        commands: list[tuple[str | bytes | int, ...]] = []
        oldest = int(self._clock() * 1000) - KEPT_MS
        for entry in map(_shortened, entries):
            key, most = keys.audit_key(signed_in=bool(entry.user)), ENTRIES_KEPT if entry.user else STRANGERS_KEPT
            commands += [
                ("XADD", key, "MAXLEN", "~", most, "*", "entry", _encode(entry)),
                ("XTRIM", key, "MINID", "~", oldest),
                ("PEXPIRE", key, KEPT_MS),
            ]
        for answer in await self._connection.commands(commands):
            answered(answer)

    async def read(
        self, wanted: AuditFilter, *, limit: int, cursor: str | None = None, signed_in: bool = True
    ) -> AuditPage:
        """Entries from the newest on, or those before `cursor`; CursorError where that is none.

        A page may have fewer than `limit`, even none, and yet a next one: so much was looked at for one answer.
        """
        key, before = keys.audit_key(signed_in=signed_in), f"({_checked(cursor)}" if cursor else "+"
        found: list[AuditEntry] = []
        for _ in range(LOOKS // PAGE):
            page = await self._connection.command("XREVRANGE", key, before, "-", "COUNT", PAGE)
            for entry_id, fields in page:
                entry = msgspec.structs.replace(_decode(fields[1]), id=entry_id.decode())
                if wanted.fits(entry):
                    found.append(entry)
                if len(found) > limit:
                    return AuditPage(found[:limit], found[limit - 1].id)
                before = f"({entry.id}"
            if len(page) < PAGE:
                return AuditPage(found, None)
        return AuditPage(found, before[1:])


def _shortened(entry: AuditEntry) -> AuditEntry:
    texts = {name: value[:MOST_CHARACTERS] for name, value in msgspec.structs.asdict(entry).items() if name != "code"}
    return msgspec.structs.replace(entry, **texts)


def _checked(cursor: str) -> str:
    first, dash, second = cursor.partition("-")
    fits = dash and all(
        part.isascii() and part.isdecimal() and len(part) <= MOST_DIGITS and int(part) < 2**64
        for part in (first, second)
    )
    if not fits or not int(first) + int(second):  # nothing is before the first of all, and Redis says so
        raise CursorError("the cursor is none of this list: begin without one")
    return cursor
