"""A report's tables as CSV: one file a section, values as they are and not as people write them. Pure."""

import csv
import io

from batchjob_processors.reporting.view import Section, View
from batchjob_processors.tables import cell, escaped


def write_sheets(view: View) -> dict[str, bytes]:
    """The files by their names; UTF-8, RFC 4180, and no cell that a spreadsheet would run."""
    return {f"{section.name}.csv": _sheet(section) for section in view.sections if section.table or section.tiles}


def _sheet(section: Section) -> bytes:
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    if section.table:
        rows.writerow(escaped(column.name) for column in section.table.columns)
        rows.writerows([escaped(cell(value)) for value in row] for row in section.table.rows)
    else:
        rows.writerow(("Figure", "Value", "Change"))
        rows.writerows(
            [escaped(text) for text in (tile.label, cell(tile.figure), tile.change)] for tile in section.tiles
        )
    return file.getvalue().encode()
