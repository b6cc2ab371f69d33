"""A report as PDF, by typst. Pure, but for the fonts that the library brings.

The view goes in as data that a fixed template lays out, so nothing in it can be taken for markup.
"""

import json
from importlib.resources import files
from typing import Any, Final

import typst

from batchjob_processors.reporting.charts import LIGHT, draw
from batchjob_processors.reporting.view import Section, Tile, View

TEMPLATE: Final = (files(__package__) / "paper.typ").read_bytes()
LONG_ROWS: Final = 12  # a table of more may be cut between two pages


def write_paper(view: View) -> bytes:
    """The PDF."""
    return typst.compile(TEMPLATE, format="pdf", sys_inputs=as_inputs(view))


def as_inputs(view: View) -> dict[str, str]:
    """The view as TEMPLATE takes it."""
    found = {
        "title": view.title,
        "subtitle": view.subtitle,
        "sections": [_section(section) for section in view.sections],
        "notes": list(view.notes),
        "warning": view.warning,
    }
    return {"view": json.dumps(found)}


def _section(section: Section) -> dict[str, Any]:
    table = None if section.is_aside else section.shown
    return {
        "title": section.title,
        "note": section.note,
        "tiles": [_tile(tile) for tile in section.tiles],
        "charts": [draw(chart, LIGHT, section.title) for chart in section.charts],
        "long": table is not None and len(table.rows) > LONG_ROWS,
        "table": table
        and {
            "columns": [
                {"name": column.name, "number": column.is_number, "wide": number == 0}
                for number, column in enumerate(table.columns)
            ],
            "rows": table.written(),
        },
    }


def _tile(tile: Tile) -> dict[str, str]:
    tone = {True: "good", False: "bad", None: "neither"}[tile.is_good]
    return {"label": tile.label, "value": tile.value, "change": tile.change, "tone": tone}
