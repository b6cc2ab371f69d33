"""Documents as JSON: results, manifests; text and names that can be written down. Pure.

JSON has no NaN and no infinity, and the encoder writes null in their place: a number that went wrong would look like
one that was left out on purpose.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

import msgspec

NAME_LIMIT: Final = 128  # characters of the name of a counter or a part


def writable(text: str) -> str:
    """Text as UTF-8 can have it: what comes from a file name may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def check_name(what: str, name: Any) -> None:
    """ValueError for what is no name of a `what`: text of 1 to 128 characters."""
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_LIMIT or name != writable(name):
        raise ValueError(f"{what}: {name!r} is no name: give text of 1 to {NAME_LIMIT} characters")


def encode(result: Any) -> bytes:
    """The document; TypeError, ValueError, OverflowError or RecursionError where it is none."""
    body = msgspec.json.encode(result)
    if b"null" in body:  # a walk takes longer than to encode: most results have nothing to look for
        for place, number in _not_finite(msgspec.to_builtins(result), ""):
            raise ValueError(f"{place.lstrip('.') or 'it'} is {number}, and JSON has no such number")
    return body


def _not_finite(value: Any, place: str) -> Iterator[tuple[str, float]]:
    match value:
        case float():
            if not isfinite(value):
                yield place, value
        case dict():
            for key, child in value.items():
                yield from _not_finite(child, f"{place}.{key}")
        case list() | tuple():
            for index, child in enumerate(value):
                yield from _not_finite(child, f"{place}[{index}]")
