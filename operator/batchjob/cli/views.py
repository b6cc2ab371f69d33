"""Cells of tables, ages and durations: what the API server's objects look like to people. Pure.

The columns are those of the CRDs, as kubectl shows them, read by their own JSON paths.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from batchjob.api.kinds import KINDS

_FILTERED: Final = re.compile(r"(.+)\[\?\(@\.(\w+)==\"(\w+)\"\)\]\.(\w+)")
_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_TWO_UNITS: Final = 10  # of a unit: below that the next one is told too
NONE: Final = "<none>"  # kubectl's


class Column(NamedTuple):
    """A column of a kind."""

    header: str
    path: str
    type: str
    priority: int

    def cell(self, item: Mapping[str, Any], now: datetime) -> str:
        """What it shows of an object."""
        value = read_path(item, self.path)
        if value is None or value == []:
            return NONE
        if self.type == "date":
            return age(str(value), now)
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return str(value).lower() if isinstance(value, bool) else str(value)


TABLES: Final[dict[str, tuple[Column, ...]]] = {
    kind.kind: tuple(Column(one.header, one.path, one.type, one.priority) for one in kind.columns) for kind in KINDS
}


def read_path(item: Any, path: str) -> Any:
    """The value at a JSON path of the CRDs: fields, and `[?(@.a=="b")].c`, the first that is so; None: none."""
    if filtered := _FILTERED.fullmatch(path):
        listed, field, wanted, shown = filtered.groups()
        for entry in read_path(item, listed) or ():
            if entry.get(field) == wanted:
                return entry.get(shown)
        return None
    for step in path.removeprefix(".").split("."):
        item = item.get(step) if isinstance(item, Mapping) else None
    return item


def parse_time(text: str) -> datetime:
    """A time of Kubernetes'."""
    return datetime.fromisoformat(text).astimezone(UTC)


def age(since: str, now: datetime) -> str:
    """How long ago, as kubectl says it."""
    return in_units((now - parse_time(since)).total_seconds())


def in_units(seconds: float) -> str:
    """A duration in its largest unit, with the next one where that is telling: 45s, 3m20s, 12m, 3h5m, 2d."""
    left = max(0, int(seconds))
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            number, rest = divmod(left, size)
            if place + 1 < len(_UNITS) and number < _TWO_UNITS:
                smaller, its_size = _UNITS[place + 1]
                return f"{number}{unit}" + (f"{rest // its_size}{smaller}" if rest // its_size else "")
            return f"{number}{unit}"
    return "0s"
