"""Records: what a source is made of. Their ids, their JSON, and what becomes of those that are wrong. Pure."""

import re
from struct import Struct
from typing import Any, Final

import msgspec

from batchjob.api.source import OnBadItem
from batchjob.errors import BadItem, InvalidSource
from batchjob.worker.sources.limits import BAD_ITEM_CHARACTERS, BAD_ITEMS_SHOWN, DEPTH

ID_LIMIT: Final = 128  # characters, as of items in a manifest
_BUCKETS: Final = 2**14  # 1 MB where there are few ids; at 10 million a search takes 3 µs
_MARK: Final = Struct("=qI")  # a hash and a place
_HASH_BYTES: Final = 8
# Other escapes and whole pairs are stepped over; the group is the half of one.
_SURROGATES: Final = re.compile(
    rb"\\[^u]|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(\\u[dD][89a-fA-F][\da-fA-F]{2})"
)
_NAMES: Final = (str, int)
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

    def add_lost(self, count: int, what: str) -> None:
        """Records that are nobody's fault, and cannot be had any more: said whatever the policy."""
        self.count += count
        self.messages.append(what[:BAD_ITEM_CHARACTERS])

    def check(self, good: int) -> None:
        """InvalidSource where no record at all is good: a run of nothing must not look like a success."""
        if self.count and not good:
            raise InvalidSource(f"none of its records can be used (bad: {self.count}); the first: {self.messages[0]}")


class Ids:
    """Ids seen so far, with the place of each, in about 20 bytes an id: a dict of a million would take 150 MB.

    A fixed table of buckets, each a row of marks that is searched as bytes: it never has to be rebuilt, so memory grows
    without peaks. A mark is a 64-bit hash and a place. Python's string hash is keyed anew in each process, so that
    nobody can make two ids meet; by chance that happens once in 30 million sources of a million items.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit  # what `place` counts, such as line
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, item_id: str, place: int) -> None:
        """Raises BadItem where the id was seen before."""
        key = hash(item_id)
        bucket = self._buckets[key % _BUCKETS]
        mark = _MARK.pack(key, place)
        found = bucket.find(mark[:_HASH_BYTES])
        if found >= 0:
            _, first = _MARK.unpack_from(bucket, found)
            raise BadItem(f"{self._unit} {place}: id {item_id!r} is already used by {self._unit} {first}")
        bucket += mark


def record_id(data: dict[str, Any], field: str, where: str) -> str:
    """The id in a record's field `field`; raises BadItem, naming `where`."""
    value = data.get(field)
    if isinstance(value, bool) or not isinstance(value, _NAMES) or value == "":
        kind = "a number with a fraction or an exponent" if isinstance(value, float) else kind_of(value)
        said = "is missing" if field not in data else f"must be a text or a whole number, not {kind}"
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
        said = explain_json(body, error) if _is_text(body) else "not UTF-8"
        raise BadItem(f"{where}: {said}") from None
    except RecursionError:
        raise BadItem(f"{where}: nested deeper than {DEPTH} levels") from None
    if not isinstance(found, dict):
        raise BadItem(f"{where}: not a JSON object but {kind_of(found)}")
    # Measured and counted first, since to walk through a record takes longer than to decode it.
    if len(body) > 2 * DEPTH and body.count(b"[") + body.count(b"{") > DEPTH and _is_deeper(found, DEPTH):
        raise BadItem(f"{where}: nested deeper than {DEPTH} levels")
    return found


def explain_json(body: bytes, error: Exception) -> str:
    """Why a text is not JSON, in the decoder's words but for half a surrogate pair, of which it says too little."""
    half = next((found[1] for found in _SURROGATES.finditer(body) if found[1]), None)
    return f"holds {half.decode()}, half of a surrogate pair and so no character" if half else f"not JSON: {error}"


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
