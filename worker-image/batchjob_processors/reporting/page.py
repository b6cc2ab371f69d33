"""A report as one HTML file that needs nothing else: no script, no font, no image of another place. Pure.

It is light or dark as the reader's system is, prints in black on white without cut rows, and reads without its charts.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from batchjob_processors.reporting.charts import DARK, LIGHT, SCREEN, draw
from batchjob_processors.reporting.view import Section, Table, Tile, View

_LIGHT: Final = {"paper": "#ffffff", "card": "#f5f7f9", **LIGHT}
_DARK: Final = {"paper": "#12161c", "card": "#1b212a", **DARK}


def _properties(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


STYLE: Final = (
    f":root{{color-scheme:light dark;{_properties(_LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_properties(_DARK)}}}}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:940px;padding:32px 20px 48px;background:var(--paper);color:var(--ink);"
    'font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;'
    "-webkit-print-color-adjust:exact;print-color-adjust:exact}"
    "h1{font-size:1.75em;line-height:1.2;margin:0 0 4px}h2{font-size:1.15em;margin:0 0 10px}"
    "section{margin:34px 0 0}.soft{color:var(--soft)}header p,section p,footer p{margin:0 0 10px}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px}"
    ".tile{background:var(--card);border-radius:10px;padding:12px 14px}"
    ".tile b{display:block;font-size:1.55em;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}"
    ".tile span{color:var(--soft);font-size:.88em}.good{color:var(--good)!important}.bad{color:var(--bad)!important}"
    ".wide{overflow-x:auto}svg{display:block;width:100%;height:auto;margin:0 0 10px}"
    "table{border-collapse:collapse;width:100%;font-size:.92em;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--grid);vertical-align:top}"
    "th{color:var(--soft);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;white-space:nowrap}"
    "td:last-child,th:last-child{padding-right:0}td{overflow-wrap:anywhere}"
    "summary{cursor:pointer;color:var(--soft)}details table{margin-top:6px}"
    "footer{margin-top:40px;padding-top:12px;border-top:1px solid var(--grid);font-size:.85em;color:var(--soft)}"
    "footer p{margin:0 0 2px}"
    "@page{size:A4;margin:16mm}"
    # Last, for it overrules the others. Paper cannot be scrolled: the widest table has to fit.
    f"@media print{{:root{{color-scheme:light;{_properties(_LIGHT)}}}"
    "body{padding:0;font-size:10pt}section{break-inside:avoid-page}tr,svg{break-inside:avoid}"
    "table{font-size:7.5pt}th,td{padding-right:8px}th,th.n{white-space:normal}.tiles{grid-template-columns:repeat(4,1fr)}"
    "thead{display:table-header-group}h2{break-after:avoid}details{display:none}}"
)


def write_page(view: View) -> str:
    """The HTML."""
    return "".join(_page(view))


def _page(view: View) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{escape(view.title)}</title><style>{STYLE}</style></head><body>"
    yield f'<header><h1>{escape(view.title)}</h1><p class="soft">{escape(view.subtitle)}</p>'
    if view.warning:
        yield f'<p class="bad"><b>{escape(view.warning)}</b></p>'
    yield "</header><main>"
    for section in view.sections:
        yield from _section(section)
    yield "</main><footer>"
    yield from (f"<p>{escape(note)}</p>" for note in view.notes)
    yield "</footer></body></html>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{escape(section.title)}</h2>"
    if section.note:
        yield f'<p class="soft">{escape(section.note)}</p>'
    if section.tiles:
        yield f'<div class="tiles">{"".join(map(_tile, section.tiles))}</div>'
    yield from (draw(chart, SCREEN, section.title) for chart in section.charts)
    if section.shown:
        found = f'<div class="wide">{"".join(write_table(section.shown))}</div>'
        yield f"<details><summary>The numbers</summary>{found}</details>" if section.is_aside else found
    yield "</section>"


def _tile(tile: Tile) -> str:
    kind = {True: ' class="good"', False: ' class="bad"', None: ""}[tile.is_good]
    said = f"<span{kind}>{escape(tile.change)}</span>" if tile.change else "<span>&nbsp;</span>"
    return f'<div class="tile"><span>{escape(tile.label)}</span><b>{escape(tile.value)}</b>{said}</div>'


def write_table(table: Table) -> Iterator[str]:
    """An HTML table; columns of numbers have the class n."""
    kinds = [' class="n"' if column.is_number else "" for column in table.columns]
    heads = "".join(f"<th{kind}>{escape(c.name)}</th>" for c, kind in zip(table.columns, kinds, strict=True))
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for row in table.written():
        cells = "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(row, kinds, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table>"
