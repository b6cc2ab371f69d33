"""Cells of an export: which value of a row goes into which column, and how it looks as text. Pure."""

import json
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from math import inf, isfinite
from typing import Any, Final

from batchjob.api.blocks.export import Column

# A spreadsheet runs a cell that begins with one of these as a formula (OWASP, CSV injection).
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
# Except a number, whose sign is its own: it runs nothing, and an apostrophe would turn it into text.
NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
CELL_CHARACTERS: Final = 32_767  # of Excel's cells


def header(column: Column) -> str:
    """The column's name in the file."""
    return column.header or column.name


def value(row: dict[str, Any], path: str) -> Any:
    """The field at a path such as `address.city`; None where there is none. A field named with a dot goes first."""
    if path in row:
        return row[path]
    found: Any = row
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def cell(content: Any) -> str:
    """A value as text: numbers as they are, dates by ISO 8601, nested data as JSON, nothing for None."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, bool):  # from here as JSON writes it, at a tenth of its price
        return "true" if content else "false"
    if isinstance(content, int | Decimal):
        return str(content)
    if isinstance(content, date):
        return iso(content)
    return as_json(content).strip('"') if isinstance(content, float) else as_json(content)


def as_json(content: Any) -> str:
    """A value as JSON; NaN and the infinities, which a database has and JSON has not, as text."""
    try:
        return json.dumps(content, ensure_ascii=False, default=iso, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(content), ensure_ascii=False, default=iso)


def _finite(content: Any) -> Any:
    match content:
        case float() if not isfinite(content):
            return {inf: "Infinity", -inf: "-Infinity"}.get(content, "NaN")
        case list():
            return [_finite(entry) for entry in content]
        case dict():
            return {name: _finite(entry) for name, entry in content.items()}
    return content


def iso(moment: Any) -> str:
    """A date, or a time with Z for UTC, by ISO 8601. TypeError for anything else."""
    if not isinstance(moment, date):
        raise TypeError(f"{type(moment).__name__} is no JSON")
    text = moment.isoformat()
    return text.removesuffix("+00:00") + "Z" if isinstance(moment, datetime) and text.endswith("+00:00") else text


def escaped(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(text) else text


def empty_columns(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Names of columns for which no row has a value: most likely typing errors."""
    return [column.name for place, column in enumerate(columns) if all(row[place] is None for row in rows)]


def check_cells(columns: Sequence[Column], row: Sequence[Any]) -> None:
    """ValueError where a text is too long for Excel: it would be cut off."""
    for column, content in zip(columns, row, strict=True):
        if isinstance(content, str | dict | list) and len(cell(content)) > CELL_CHARACTERS:
            raise ValueError(
                f"column {column.name!r} has more than {CELL_CHARACTERS} characters, the most that a cell of Excel "
                "takes: leave the column out, or choose another spec.export.format"
            )
