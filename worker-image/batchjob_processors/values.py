"""Values of a column as what its `format` says they are. Pure.

An item's data comes as JSON, which has no dates, and often as text alone (CSV, decimals of a database). What a text
says is read without guessing: ISO 8601, digits, true or false; anything else is an error of that item.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from batchjob.api.blocks.export import Column, ColumnFormat
from batchjob_processors.tables import NUMBER, cell

SMALLEST: Final = -(2**63)  # of whole numbers: what 64 bits hold
LARGEST: Final = 2**63 - 1
SHOWN: Final = 40  # characters of a value in a message

_WHOLE: Final = re.compile(r"[-+]?\d+", re.ASCII)
_BOOLEANS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_DATE_LENGTH: Final = len("2026-12-31")


def read_as(column: Column, content: Any) -> Any:
    """The value as the column's format: str, int, float, bool, date or datetime (in UTC); None stays None.

    Raises ValueError, which names column, value and way out.
    """
    if column.format is None or content is None:
        return content
    read, name = _READERS[column.format]
    try:
        return read(content)
    except (ValueError, OverflowError):
        shown = repr(content)[:SHOWN]
        raise ValueError(
            f"column {column.name!r} has {shown}, which is no {name}: correct the item, or choose another "
            f"spec.export.columns[].format than {column.format}, such as text"
        ) from None


def _integer(content: Any) -> int:
    found = _whole(content)
    if not SMALLEST <= found <= LARGEST:
        raise ValueError
    return found


def _whole(content: Any) -> int:
    match content:
        case bool():
            raise ValueError
        case int():
            return content
        case Decimal() if content == content.to_integral_value():
            return int(content)
        case float() if content.is_integer():
            return int(content)
        case str() if _WHOLE.fullmatch(content):
            return int(content)
    raise ValueError


def _number(content: Any) -> int | float:
    match content:
        case bool():
            raise ValueError
        case int() | float():
            found: int | float = content
        case Decimal():
            found = float(content)
        case str() if _WHOLE.fullmatch(content):
            found = int(content)
        case str() if NUMBER.fullmatch(content):
            found = float(content)
        case _:
            raise ValueError
    if not isfinite(found):  # OverflowError for a whole number that no double comes near
        raise ValueError
    return found


def _boolean(content: Any) -> bool:
    found = _BOOLEANS.get(cell(content).lower())
    if found is None:
        raise ValueError
    return found


def _date(content: Any) -> date:
    """The day that a date, or the beginning of a date with time, says."""
    if isinstance(content, date):  # of a database
        return content.date() if isinstance(content, datetime) else content
    if not isinstance(content, str):
        raise ValueError  # noqa: TRY004 - one kind of error tells all that cannot be read
    if len(content) > _DATE_LENGTH:
        datetime.fromisoformat(content)
    return date.fromisoformat(content[:_DATE_LENGTH])


def _datetime(content: Any) -> datetime:
    if not isinstance(content, str | date):
        raise ValueError  # noqa: TRY004 - as above
    found = content if isinstance(content, datetime) else datetime.fromisoformat(cell(content))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


_READERS: Final[dict[ColumnFormat, tuple[Callable[[Any], Any], str]]] = {
    ColumnFormat.TEXT: (cell, "text"),
    ColumnFormat.INTEGER: (_integer, "whole number of 64 bits"),
    ColumnFormat.NUMBER: (_number, "number"),
    ColumnFormat.BOOLEAN: (_boolean, "boolean (true, false, t, f, 1, 0)"),
    ColumnFormat.DATE: (_date, "date such as 2026-12-31"),
    ColumnFormat.DATETIME: (_datetime, "time such as 2026-12-31T09:00:00Z"),
}
