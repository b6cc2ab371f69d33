"""A report as the text of a mail: headings, key figures and tables, since mail programs show no charts as SVG. Pure."""

from collections.abc import Iterator
from html import escape
from typing import Final

from batchjob_processors.reporting.charts import LIGHT
from batchjob_processors.reporting.view import Section, Table, Tile, View

_FONT: Final = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif"
# Mail programs that are dark invert what has no colour of its own, and keep these: they are read on white and on black.
_SOFT, _GRID = "#707883", "#9aa1ab"
_TILES: Final = 2  # side by side: what a telephone has room for


def write_letter(view: View) -> str:
    """The HTML of the mail; its style is in its elements, where every mail program looks for it."""
    return "".join(_letter(view))


def _letter(view: View) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="color-scheme" content="light dark"></head>'
    yield f'<body style="margin:0;padding:16px;{_FONT};font-size:15px;line-height:1.5">'
    yield '<div style="max-width:680px;margin:0 auto">'
    yield f'<h1 style="font-size:22px;margin:0">{escape(view.title)}</h1>'
    yield f'<p style="margin:0;color:{_SOFT}">{escape(view.subtitle)}</p>'
    if view.warning:
        yield f'<p style="margin:6px 0 0;color:{LIGHT["bad"]}"><b>{escape(view.warning)}</b></p>'
    for section in view.sections:
        yield from _section(section)
    notes = "".join(f'<p style="margin:0">{escape(note)}</p>' for note in view.notes)
    yield f'<div style="margin-top:28px;font-size:12px;color:{_SOFT}">{notes}</div></div></body></html>'


def _section(section: Section) -> Iterator[str]:
    yield f'<h2 style="font-size:16px;margin:24px 0 6px">{escape(section.title)}</h2>'
    if section.note:
        yield f'<p style="margin:0 0 6px;color:{_SOFT}">{escape(section.note)}</p>'
    if section.tiles:
        yield from _tiles(list(section.tiles))
    if section.shown:
        yield from _table(section.shown)


def _tiles(tiles: list[Tile]) -> Iterator[str]:
    yield '<table role="presentation" style="border-collapse:collapse;width:100%">'
    for first in range(0, len(tiles), _TILES):
        yield "<tr>"
        for tile in tiles[first : first + _TILES]:
            colour = {True: LIGHT["good"], False: LIGHT["bad"], None: _SOFT}[tile.is_good]
            said = f' <span style="color:{colour}">{escape(tile.change)}</span>' if tile.change else ""
            yield f'<td style="padding:4px 12px 4px 0;border-bottom:1px solid {_GRID};width:50%">'
            yield f'<span style="color:{_SOFT}">{escape(tile.label)}</span><br><b>{escape(tile.value)}</b>{said}</td>'
        yield "</tr>"
    yield "</table>"


def _table(table: Table) -> Iterator[str]:
    aligns = ["right" if column.is_number else "left" for column in table.columns]
    wrap = {"right": ";white-space:nowrap", "left": ""}
    style = f"padding:4px 8px 4px 0;border-bottom:1px solid {_GRID};text-align:"
    yield '<table style="border-collapse:collapse;width:100%;font-size:13px"><tr>'
    for column, align in zip(table.columns, aligns, strict=True):
        yield f'<th style="{style}{align};color:{_SOFT}">{escape(column.name)}</th>'
    yield "</tr>"
    for row in table.written():
        cells = zip(row, aligns, strict=True)
        yield "<tr>"
        yield from (f'<td style="{style}{align}{wrap[align]}">{escape(text)}</td>' for text, align in cells)
        yield "</tr>"
    yield "</table>"
