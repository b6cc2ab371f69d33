"""Workbooks for Excel, row by row: memory stays constant, and the rest waits in temporary files.

Text stays text, whatever it begins with: nothing is ever a formula or a link. More rows than a sheet takes go on in
another one, under the same header.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

import xlsxwriter

from batchjob.api.blocks.export import Column
from batchjob_processors.encoders import Encoder, Row
from batchjob_processors.tables import cell, check_cells, header

SHEET_ROWS: Final = 1_048_576  # of Excel's sheets, the header among them
SHEET_COLUMNS: Final = 16_384
BLOCK_BYTES: Final = 1024 * 1024
_EXACT: Final = 10**15  # Excel's numbers have 15 digits: longer ones are text
_FIRST_DAY: Final = date(1900, 3, 1)  # Excel counts a 29 February 1900: days before March are text
_CREATED: Final = datetime(1980, 1, 1)  # noqa: DTZ001 - the library wants none; the same rows give the same bytes


class WorkbookEncoder(Encoder):
    """A workbook with these columns."""

    def __init__(self, columns: Sequence[Column], sheet_rows: int = SHEET_ROWS) -> None:
        """ValueError for more columns than a sheet takes: the library would leave them out without a word."""
        if len(columns) > SHEET_COLUMNS:
            raise ValueError(f"{len(columns)} columns, and Excel takes {SHEET_COLUMNS}: choose by spec.export.columns")
        self._columns = columns
        self._headers = [header(column) for column in columns]
        self._sheet_rows = sheet_rows
        folder = tempfile.mkdtemp()
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `_clear_up`
        self._book = xlsxwriter.Workbook(self._file, {"constant_memory": True, "tmpdir": folder})
        # When it is ended, and where an attempt comes to no end: its files may have hundreds of megabytes.
        self._clear_up = weakref.finalize(self, _clear_up, self._book, self._file, folder)
        self._book.set_properties({"created": _CREATED})
        self._styles = {
            date: self._book.add_format({"num_format": "yyyy-mm-dd"}),
            datetime: self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }
        self._sheet: Any = None
        self._next = sheet_rows

    def begin(self) -> bytes:
        """Nothing yet: the file is made at the end."""
        self._turn()
        return b""

    def add(self, rows: Sequence[Row]) -> bytes:
        """Nothing yet. ValueError for a text that is too long for a cell."""
        for row in rows:
            check_cells(self._columns, row)
            if self._next == self._sheet_rows:
                self._turn()
            self._write(row)
        return b""

    def end(self) -> Iterable[bytes]:
        """All of it."""
        self._book.close()
        self._file.seek(0)
        yield from _blocks(self._file)
        self._clear_up()

    def _turn(self) -> None:
        self._sheet = self._book.add_worksheet()
        self._next = 0
        self._write(self._headers)

    def _write(self, row: Row) -> None:
        for place, content in enumerate(row):
            match content:
                case None:
                    continue
                case bool():
                    self._sheet.write_boolean(self._next, place, content)
                case int() | float() if abs(content) < _EXACT:
                    self._sheet.write_number(self._next, place, content)
                case date() if as_day(content) >= _FIRST_DAY:
                    moment = _to_the_millisecond(content) if isinstance(content, datetime) else content
                    self._sheet.write_datetime(self._next, place, moment, self._styles[type(content)])
                case _:
                    self._sheet.write_string(self._next, place, cell(content))
        self._next += 1


def _clear_up(book: Any, file: Any, folder: str) -> None:
    for sheet in book.worksheets():
        sheet.row_data_fh.close()
    file.close()
    shutil.rmtree(folder)


def _to_the_millisecond(moment: datetime) -> datetime:
    """As a spreadsheet has it; cut, since the last moment of 9999 would be rounded to one that none has."""
    return moment.replace(tzinfo=None, microsecond=moment.microsecond // 1000 * 1000)


def as_day(moment: date) -> date:
    """The day of a date or a time."""
    return moment.date() if isinstance(moment, datetime) else moment


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
