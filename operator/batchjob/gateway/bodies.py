"""The bodies of requests: JSON that can mean one thing only.

A key that stands twice, NaN, and numbers too large for JSON's readers are refused: what one side reads and another does
not is how a check is got around.
"""

import json
import math
import re
from typing import Any, Final

from starlette.requests import Request

from batchjob.gateway.blocks import read_blocks
from batchjob.gateway.problems import BAD_REQUEST, INVALID, TOO_LARGE, WRONG_MEDIA_TYPE, Fault, Problem

MAX_BYTES: Final = 512 * 1024  # of any body: items of 64 KiB, templates and forms, all of it escaped
MAX_DEPTH: Final = 64  # a spec has 10 levels, the data of an item is a user's own
JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})
WAY_OUT: Final = (
    "put the items into a file in a bucket or on a claim, and name it in source.uri; or into a ConfigMap, and name it "
    "in source.configMapRef"
)
NO_STAGING: Final = f"{WAY_OUT}; or have staging set up for the gateway (gateway.staging in the values of its chart)"

# A string is one, whatever is in it. One that does not end goes to the end: looked for from each of its quotation marks
# again, 64 KiB would take ten seconds.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


async def read_object(request: Request, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The body as a JSON object; a problem says why it is none."""
    if media_type(request) not in JSON_TYPES:
        raise Problem(WRONG_MEDIA_TYPE, "Send Content-Type: application/json", headers={"Accept": "application/json"})
    return parse_object(b"".join([block async for block in read_blocks(request, limit, too_large(limit))]))


def media_type(request: Request) -> str:
    """What the body is said to be."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read_optional(request: Request, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The same, where no body at all is an empty object."""
    if request.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in request.headers:
        return {}
    return await read_object(request, limit)


def too_large(limit: int) -> Problem:
    """413 for a body."""
    return Problem(TOO_LARGE, f"The body may have {limit} bytes: {NO_STAGING}")


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is."""
    try:
        text = body.decode("utf-8")
        check_depth(text)
        found = DECODER.decode(text)
        check_characters(found, text)
    except UnicodeError:
        raise Problem(BAD_REQUEST, "The body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Problem(BAD_REQUEST, f"The body is not JSON that we read: {error}") from None
    if not isinstance(found, dict):
        raise Problem(INVALID, "The body has to be a JSON object", faults=[Fault("", "has to be an object")])
    return found


def check_characters(value: Any, text: str) -> None:
    """UnicodeError where half a surrogate pair stands in it, which is no text; `text`: the JSON of the value."""
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()


def check_depth(text: str) -> None:
    """ValueError for what nests too deep; brackets within strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name!r:.100} is there twice in an object")
            seen.add(name)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is too large a number")
    return number


# Of documents, and of values that stand somewhere in a text (`raw_decode`). ValueError, RecursionError.
DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
