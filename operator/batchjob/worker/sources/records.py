"""Records: what a source is made of. Their ids, their JSON, and what becomes of those that are wrong. Pure."""

from array import array
from typing import Any, Final

import msgspec

from batchjob.api.source import OnBadItem
from batchjob.errors import BadItem, InvalidSource
from batchjob.worker.sources.limits import BAD_ITEM_CHARACTERS, BAD_ITEMS_SHOWN, DEPTH

ID_LIMIT: Final = 128  # characters, as of items in a manifest
_FIRST_SLOTS: Final = 1024
_FULL: Final = 0.6
_KINDS: Final = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}


class Record(msgspec.Struct, frozen=True):
    """One item of a source: its id, its fields, and how many bytes it took."""

    id: str
    data: dict[str, Any]
    size: int


class BadItems:
    """The records that were left out: how many, and what is wrong with the first."""

    def __init__(self, policy: OnBadItem) -> None:
        self.count = 0
        self.messages: list[str] = []
        self._policy = policy

    def add(self, error: InvalidSource) -> None:
        """Count it, where it is one record's fault and may be left out; else raise it."""
        if self._policy is not OnBadItem.SKIP or not isinstance(error, BadItem):
            raise error
        self.count += 1
        if len(self.messages) < BAD_ITEMS_SHOWN:
            self.messages.append(" ".join(str(error).split())[:BAD_ITEM_CHARACTERS])

    def check(self, good: int) -> None:
        """InvalidSource where no record at all is good: a run of nothing must not look like a success."""
        if self.count and not good:
            raise InvalidSource(
                f"none of its records can be used ({self.count} are bad); the first: {self.messages[0]}"
            )


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
        """Raises BadItem where the id was seen before."""
        key = hash(item_id) & 0xFFFF_FFFF_FFFF_FFFF or 1  # 0 marks a free slot
        slot = self._slot(key)
        if self._hashes[slot]:
            first = self._places[slot]
            raise BadItem(f"{self._unit} {place}: id {item_id!r} is already used by {self._unit} {first}")
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


def record_id(data: dict[str, Any], field: str, where: str) -> str:
    """The id in a record's field `field`; raises BadItem, naming `where`."""
    value = data.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        said = "is missing" if field not in data else f"must be a text or a whole number, not {kind_of(value)}"
        raise BadItem(f"{where}: the field {field!r}, which names the item (spec.source.idField), {said}")
    found = str(value)
    if len(found) > ID_LIMIT:
        raise BadItem(f"{where}: the id has {len(found)} characters; at most {ID_LIMIT} are allowed")
    return found


def decode_object(body: bytes, where: str) -> dict[str, Any]:
    """A JSON object; raises BadItem, naming `where`."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = f"not JSON: {error}" if _is_text(body) else "not UTF-8"
        raise BadItem(f"{where}: {said}") from None
    except RecursionError:
        raise BadItem(f"{where}: nested deeper than {DEPTH} levels") from None
    if not isinstance(found, dict):
        raise BadItem(f"{where}: not a JSON object but {kind_of(found)}")
    # Counted first, since to walk through a record takes longer than to decode it.
    if body.count(b"[") + body.count(b"{") > DEPTH and _is_deeper(found, DEPTH):
        raise BadItem(f"{where}: nested deeper than {DEPTH} levels")
    return found


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than so many levels; recurses no deeper than that."""
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return "an empty text" if value == "" else _KINDS.get(type(value), "a number")
