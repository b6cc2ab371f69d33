"""What a report is made from: the figures that the operator put into the run, and the rows of its queries.

Together they are a document that is noted in the run once, so that whoever delivers it delivers the same. The items are
its deliveries: the files, and a mail for each recipient.
"""

from collections.abc import AsyncIterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from batchjob.api.blocks.report import Report, ReportQuery
from batchjob.api.figures import DOCUMENT_NOTE, FIGURES_NOTE, Cell, Delivery, Document, Figures, Rows
from batchjob.api.run import Run, query_purpose
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.store import RunStore
from batchjob.worker.sources.records import Record
from batchjob.worker.sources.source import Source

if TYPE_CHECKING:
    from batchjob.worker.sources.postgres import Cursor

MOST_ROWS: Final = 500
MOST_COLUMNS: Final = 20
CELL_CHARACTERS: Final = 500
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
            title=self._block.title,
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
        for number, section in enumerate(self._block.shown):
            if section.sql is None:
                continue
            field = f"spec.report.sections[{number}].sql"
            try:
                yield number, await _read(section.sql, self._references_dir / query_purpose(number))
            except InvalidSource as error:
                raise InvalidSource(_renamed(error, field)) from None
            except SourceUnreachable as error:
                raise SourceUnreachable(_renamed(error, field), lasts=error.lasts) from None


def _renamed(error: Exception, field: str) -> str:
    """What is said of a source, of this query."""
    said = str(error).removeprefix("spec.source.sql: ").replace("spec.source.sql", field)
    return said if said.startswith(field) else f"{field}: {said}"


async def _read(place: ReportQuery, credentials: Path) -> Rows:
    from batchjob.worker.sources import postgres  # noqa: PLC0415 - its library would cost every pod 25 MB

    with postgres.translated():
        async with postgres.open_cursor(place, credentials, place.query.encode(), lambda _: None) as cursor:
            rows = await _fetch(cursor)
            if len(rows) > MOST_ROWS:
                raise InvalidSource(f"the query has more than {MOST_ROWS} rows: let the database add up, or add LIMIT")
            columns = postgres.columns_of(cursor)
            if len(columns) > MOST_COLUMNS:
                raise InvalidSource(f"the query has {len(columns)} columns, and {MOST_COLUMNS} fit: name fewer")
    found = Rows(columns=columns, rows=[[_cell(value) for value in row] for row in rows])
    if place.chart:
        _check_chart(found)
    return found


async def _fetch(cursor: "Cursor") -> list[tuple[Any, ...]]:
    from batchjob.worker.sources.postgres import in_time  # noqa: PLC0415 - as above

    return await in_time(cursor.fetchmany(MOST_ROWS + 1))


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
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                said = f"column {name!r} is to be drawn, and {str(value)!r:.40} is no number"
                raise InvalidSource(f"{said}: the first column names the points, the others are numbers")


def _cell(value: Any) -> Cell:
    """A value as JSON and every format can have it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal | float):
        number = float(value)
        return number if number - number == 0 else str(value)  # neither infinite nor NaN
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    text = value.isoformat() if isinstance(value, date) else str(value)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"
