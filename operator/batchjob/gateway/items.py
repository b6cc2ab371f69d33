"""An item as somebody sent it, to the line that a worker reads (format `items`). Pure."""

import json
from typing import Any, Final

from batchjob.gateway.bodies import parse_object
from batchjob.gateway.problems import TOO_LARGE, Fault, Problem, invalid, pointer
from batchjob.gateway.splitting import ITEM_BYTES, Piece

MOST_ID: Final = 128  # characters, as in the manifest
_KNOWN: Final = frozenset({"id", "data", "json"})
_WITH_DATA: Final = frozenset({"id", "data"})
_LINE_ENDS: Final = str.maketrans("\r\n", "  ")  # between tokens: within a text JSON does not allow them


def staged_line(piece: Piece, number: int) -> bytes:
    """The line of an item, the number of which (from 0) is said where it is wrong."""
    item = piece.value

    def fault(field: str, said: str) -> Problem:
        if piece.line is not None:
            return invalid(Fault(field, said, line=piece.line))
        return invalid(Fault(f"/items/{number}{field}", said))

    if not isinstance(item, dict):
        raise fault("", 'has to be an object such as {"id": "1", "data": {"text": "…"}}')
    if unknown := sorted(set(item) - _KNOWN):
        raise fault(pointer((unknown[0][:100],)), "there is no such field; an item has id and data")
    item_id = item.get("id")
    if not isinstance(item_id, str) or not 0 < len(item_id) <= MOST_ID:
        raise fault("/id", f"has to be a text of 1 to {MOST_ID} characters")
    if ("data" in item) == ("json" in item):
        raise fault("", "has to have either data (an object) or json (an object as text)")
    if "data" in item and not isinstance(item["data"], dict):
        raise fault("/data", "has to be an object")
    if item.keys() == _WITH_DATA:
        text = piece.text.translate(_LINE_ENDS)
    else:
        text = json.dumps({"id": item_id, "data": _data_of(item["json"], fault)}, ensure_ascii=False)
    line = text.encode() + b"\n"
    if len(line) > ITEM_BYTES:
        problem = fault("", f"has {len(line)} bytes, and an item may have {ITEM_BYTES}")
        raise Problem(TOO_LARGE, problem.detail, faults=problem.faults)
    return line


def _data_of(text: Any, fault: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise fault("/json", "has to be a text that is a JSON object")
    try:
        return parse_object(text.encode())
    except (Problem, UnicodeError) as problem:
        raise fault("/json", f"has to be a text that is a JSON object: {problem}") from None
