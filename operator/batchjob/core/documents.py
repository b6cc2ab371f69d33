"""Documents as JSON: results, manifests. Pure.

JSON has no NaN and no infinity, and the encoder writes null in their place: a number that went wrong would look like
one that was left out on purpose.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

import msgspec


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
