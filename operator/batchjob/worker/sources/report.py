"""What a report is made from: the figures that the operator put into the run, and the rows of its queries.

Together they are a document that is noted in the run once, so that whoever delivers it delivers the same. The items are
its deliveries: the files, and a mail for each recipient.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec

from batchjob.api.blocks.report import Report, ReportQuery
from batchjob.api.figures import DOCUMENT_NOTE, FIGURES_NOTE, Cell, Delivery, Document, Figures, Rows
from batchjob.api.run import Run, query_purpose
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.store import RunStore
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source

MOST_ROWS: Final = 500
MOST_COLUMNS: Final = 20
CELL_CHARACTERS: Final = 500
MOST_BYTES: Final = 4 * 2**20  # of all rows: the document is one value of the store, and each format is in memory
PAGE_ROWS: Final = 10  # fetched at once: a cell may have a gigabyte before it is cut
CHART_ROWS: Final = 60  # points that can be told apart
CHART_SERIES: Final = 6  # colours that can be


class ReportSource(Source):
    """`spec.report`."""

    def __init__(self, run: Run, block: Report, store: RunStore, references_dir: Path) -> None:
        super().__init__()
        self._run = run
        self._block = block
        self._store = store
        self._references_dir = references_dir

    async def records(self) -> AsyncIterator[list[Record]]:
        """A record for each delivery."""
        figures = await self._store.note(FIGURES_NOTE, b"{}")  # the operator's: it was first
        document = Document(
            title=" ".join(self._block.title.split()),  # one line, as headings and subjects are
            batch_job=f"{self._run.namespace}/{self._run.name}",
            figures=Figures.model_validate_json(figures),
            queries={str(number): rows async for number, rows in self._queries()},
        )
        await self._store.note(DOCUMENT_NOTE, document.model_dump_json(by_alias=True).encode())
        for record in self._deliveries():
            self._digest.update(msgspec.json.encode([record.id, record.data]))
            yield [record]

    def _deliveries(self) -> list[Record]:
        deliver = self._block.deliver
        found: list[tuple[str, dict[str, Any]]] = []
        if deliver.destination:
            found.append(("files", {"deliver": Delivery.FILES}))
        for number, recipient in enumerate(deliver.email.to if deliver.email else (), start=1):
            found.append((f"mail-{number}", {"deliver": Delivery.MAIL, "to": recipient}))
        return [Record(name, data, len(msgspec.json.encode(data))) for name, data in found]

    async def _queries(self) -> AsyncIterator[tuple[int, Rows]]:
        left = MOST_BYTES
        for number, section in enumerate(self._block.shown):
            if section.sql is None:
                continue
            field = f"spec.report.sections[{number}].sql"
            try:
                found, size = await _read(section.sql, self._references_dir / query_purpose(number), left)
            except InvalidSource as error:
                raise InvalidSource(_renamed(error, field)) from None
            except SourceUnreachable as error:
                raise SourceUnreachable(_renamed(error, field), lasts=error.lasts) from None
            left -= size
            yield number, found


def _renamed(error: Exception, field: str) -> str:
    """What is said of a source, of this query."""
    said = str(error).removeprefix("spec.source.sql: ").replace("spec.source.sql", field)
    return said if said.startswith(field) else f"{field}: {said}"


async def _read(place: ReportQuery, credentials: Path, left: int) -> tuple[Rows, int]:
    """The rows of a query and how many bytes they have, of those that are left."""
    from batchjob.worker.sources import postgres  # noqa: PLC0415 - its library would cost every pod 25 MB

    with postgres.translated():
        async with postgres.open_cursor(place, credentials, place.query.encode(), lambda _: None) as cursor:
            columns = postgres.columns_of(cursor)
            if len(columns) > MOST_COLUMNS:
                raise InvalidSource(f"the query has {len(columns)} columns, and {MOST_COLUMNS} fit: name fewer")
            found = Rows(columns=columns, rows=[], exact=postgres.numeric_columns(cursor))
            size = len(msgspec.json.encode(columns))
            while page := await postgres.in_time(cursor.fetchmany(PAGE_ROWS)):
                rows = [[_cell(value) for value in row] for row in page]
                size += len(msgspec.json.encode(rows))
                found.rows.extend(rows)
                _check_size(len(found.rows), size, left)
    if place.chart:
        _check_chart(found)
    return found, size


def _check_size(rows: int, size: int, left: int) -> None:
    if rows > MOST_ROWS:
        raise InvalidSource(f"the query has more than {MOST_ROWS} rows: let the database add up, or add LIMIT")
    if size > left:
        said = f"with its rows the report's queries have more than {MOST_BYTES // 2**20} MiB, which is what fits"
        raise InvalidSource(f"{said}: let the database add up, add LIMIT, or cut long texts, as left(text, 80) does")


def _check_chart(rows: Rows) -> None:
    """InvalidSource where no chart can be drawn of them."""
    if not 2 <= len(rows.columns) <= CHART_SERIES + 1:  # noqa: PLR2004 - a name and a number
        said = f"a chart needs 2 to {CHART_SERIES + 1} columns, and the query has {len(rows.columns)}"
        raise InvalidSource(f"{said}: the first names the points, the others are numbers")
    if len(rows.rows) > CHART_ROWS:
        raise InvalidSource(f"a chart shows {CHART_ROWS} rows at most: add up more, add LIMIT, or remove chart")
    for number, name in enumerate(rows.columns[1:], start=1):
        for row in rows.rows:
            value = row[number]
            if value is not None and not _is_number(value, exact=number in rows.exact):
                said = f"column {name!r} is to be drawn, and {str(value)!r:.40} is no number"
                raise InvalidSource(f"{said}: the first column names the points, the others are numbers")


def _is_number(value: Cell, *, exact: bool) -> bool:
    if exact and isinstance(value, str):
        try:
            return isfinite(float(value))
        except ValueError:
            return False  # too long: it was cut
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> Cell:
    """A value as JSON and every format can have it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    text = _text(value)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict | list):
        return msgspec.json.encode(value, enc_hook=str).decode()
    if isinstance(value, bytes):
        return rf"\x{value.hex()}"  # as the database writes it
    return str(value)  # of a date: by ISO 8601
