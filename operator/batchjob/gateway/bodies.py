"""The bodies of requests: read in bounds, and as JSON that can mean one thing only.

The bytes are counted as they come: a length that was announced is refused before anything is read, one that was not
(chunked) where it gets too long. A key that stands twice, NaN, and numbers too large for JSON's readers are refused:
what one side reads and another does not is how a check is got around.
"""

import asyncio
import json
import math
import re
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from batchjob.gateway.problems import BAD_REQUEST, INVALID, TOO_LARGE, TOO_SLOW, WRONG_MEDIA_TYPE, Fault, Problem

MAX_BYTES: Final = 512 * 1024  # of any body: items of 64 KiB, templates and forms, all of it escaped
MAX_SECONDS: Final = 30.0  # for all of it: who sends a byte a minute holds a connection, and no more
MAX_DEPTH: Final = 64  # a spec has 10 levels, the data of an item is a user's own
JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})

_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)  # a string is one, whatever is in it


async def read_object(request: Request, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The body as a JSON object; a problem says why it is none."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES:
        raise Problem(WRONG_MEDIA_TYPE, "Send Content-Type: application/json", headers={"Accept": "application/json"})
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(WRONG_MEDIA_TYPE, "Send the body as it is, without Content-Encoding")
    return parse_object(await _read(request, limit))


async def read_optional(request: Request, limit: int = MAX_BYTES) -> dict[str, Any]:
    """The same, where no body at all is an empty object."""
    if request.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in request.headers:
        return {}
    return await read_object(request, limit)


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    found = bytearray()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            async for chunk in request.stream():
                if len(found) + len(chunk) > limit:
                    raise too_large(limit)
                found += chunk
    except TimeoutError:
        raise Problem(TOO_SLOW, f"The body has to be here within {MAX_SECONDS:g} s: send it again") from None
    except ClientDisconnect:
        raise Problem(BAD_REQUEST, "The body broke off") from None  # nobody hears it; the log has it
    return bytes(found)


def too_large(limit: int) -> Problem:
    """413 for a body."""
    return Problem(
        TOO_LARGE,
        f"The body may have {limit} bytes. Put items into a file in a bucket or on a claim, and name it in source.uri; "
        "or into a ConfigMap, and name it in source.configMapRef",
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is."""
    try:
        text = body.decode("utf-8")
        check_depth(text)
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except UnicodeError:
        raise Problem(BAD_REQUEST, "The body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Problem(BAD_REQUEST, f"The body is not JSON that we read: {error}") from None
    if not isinstance(found, dict):
        raise Problem(INVALID, "The body has to be a JSON object", faults=[Fault("", "has to be an object")])
    return found


def check_depth(text: str) -> None:
    """ValueError for what nests too deep; brackets within strings do not count."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.100} is there twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.40} is too large a number")
    return number
