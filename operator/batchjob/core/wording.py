"""What pydantic finds wrong, as a field and a sentence for people. Pure."""

import re
from typing import Any, Final

_OPENINGS: Final = re.compile("^(Input |String |List |Dictionary |Value error, )")  # of pydantic's sentences


def in_words(error: Any) -> tuple[tuple[str | int, ...], str]:
    """The way to the field, and what is wrong with it: of one of the entries of `ValidationError.errors()`."""
    place: tuple[str | int, ...] = error["loc"] or ("",)
    *steps, last = place
    said = _OPENINGS.sub("", error["msg"]).replace("Field", "field")
    if last in {"str", "int"}:  # a choice of pydantic's between two types, and not a field
        said = "should be a text or an integer; anything deeper goes into json, as the text of a JSON object"
    elif last:
        steps.append(last)
    given = error["input"]
    if error["type"] == "string_type" and isinstance(given, int | float):
        said += ": put it in quotes"
    return tuple(steps), said if isinstance(given, dict | list) else f"{said} (it is {given!r:.60})"
