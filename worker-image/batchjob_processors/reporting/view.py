"""What a report shows, apart from how it is drawn: headings, key figures, charts and tables. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchjob_processors.reporting import numbers


@dataclass(frozen=True)
class Tile:
    """A key figure."""

    label: str
    value: str
    figure: float | None = None  # the value as it is
    change: str = ""
    is_good: bool | None = None  # the change; None: neither


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and how its values are written."""

    name: str
    write: Callable[[Any], str] = numbers.plain
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of values; formats for people write them, the others take them as they are."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]

    def written(self) -> list[list[str]]:
        """The rows as text."""
        return [[column.write(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A chart: a label and a value of each series for each point."""

    kind: str  # bars, stacked, line, or across: bars that lie, for long labels
    labels: Sequence[str]
    series: Sequence[tuple[str, Sequence[float | None]]]
    tones: Sequence[str] = ()  # good or bad, for each series; else the colours in their order
    write: Callable[[float | None], str] = numbers.number


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    name: str  # for files
    tiles: Sequence[Tile] = ()
    charts: Sequence[Chart] = ()
    table: Table | None = None
    is_aside: bool = False  # the table says what the chart shows
    note: str = ""

    @property
    def shown(self) -> Table | None:
        """The table, where it has rows."""
        return self.table if self.table and self.table.rows else None


@dataclass(frozen=True)
class View:
    """A report."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    notes: Sequence[str] = field(default_factory=tuple)
    warning: str = ""  # before all else
