"""What all sources are: a stream of records with unique ids, read once, and a checksum of what was read."""

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from batchjob.errors import InvalidSource

ID_LIMIT: Final = 128  # characters, as of items in a manifest
_FIRST_SLOTS: Final = 1024
_FULL: Final = 0.6


class Record(msgspec.Struct, frozen=True):
    """One item of a source: its id, its fields, and how many bytes it took."""

    id: str
    data: dict[str, Any]
    size: int


class Source(ABC):
    """A source to be read once, from its beginning."""

    def __init__(self) -> None:
        self.etag: str | None = None
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read, in hex."""
        return self._digest.hexdigest()

    @abstractmethod
    def records(self) -> AsyncIterator[Record]:
        """The records in order.

        Raises:
            InvalidSource: the source is wrong; the message names the place.
            SourceUnreachable: it cannot be read now; the message names the place.
        """


class Ids:
    """Ids seen so far, with the place of each, in about 30 bytes an id: a dict of a million would take 150 MB.

    An open-addressing table of 64-bit hashes. Python's string hash is keyed anew in each process, so that nobody can
    make two ids meet; by chance that happens once in 30 million sources of a million items.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit  # what `place` counts, such as line
        self._used = 0
        self._hashes = array("Q", bytes(8 * _FIRST_SLOTS))
        self._places = array("Q", bytes(8 * _FIRST_SLOTS))

    def add(self, item_id: str, place: int) -> None:
        """Raises InvalidSource where the id was seen before."""
        key = hash(item_id) & 0xFFFF_FFFF_FFFF_FFFF or 1  # 0 marks a free slot
        slot = self._slot(key)
        if self._hashes[slot]:
            first = self._places[slot]
            raise InvalidSource(f"{self._unit} {place}: id {item_id!r} is already used by {self._unit} {first}")
        self._hashes[slot], self._places[slot] = key, place
        self._used += 1
        if self._used > _FULL * len(self._hashes):
            self._grow()

    def _slot(self, key: int) -> int:
        mask = len(self._hashes) - 1
        slot = key & mask
        while self._hashes[slot] not in {0, key}:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        entries = [(key, place) for key, place in zip(self._hashes, self._places, strict=True) if key]
        size = 8 * 2 * len(self._hashes)
        self._hashes, self._places = array("Q", bytes(size)), array("Q", bytes(size))
        for key, place in entries:
            slot = self._slot(key)
            self._hashes[slot], self._places[slot] = key, place


_KINDS: Final = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return "an empty text" if value == "" else _KINDS.get(type(value), "a number")


def record_id(data: dict[str, Any], field: str, where: str) -> str:
    """The id in a record's field `field`; raises InvalidSource, naming `where`."""
    value = data.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        said = "is missing" if field not in data else f"must be a text or a whole number, not {kind_of(value)}"
        raise InvalidSource(f"{where}: the field {field!r}, which names the item (spec.source.idField), {said}")
    found = str(value)
    if len(found) > ID_LIMIT:
        raise InvalidSource(f"{where}: the id has {len(found)} characters; at most {ID_LIMIT} are allowed")
    return found
