"""Charts as SVG, in lines of text: rectangles, a line and labels. Pure.

Colours are names of a palette: custom properties of a page, which is light or dark, or those of paper.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final, NamedTuple

from batchjob_processors.reporting.view import Chart

Palette = Mapping[str, str]

WIDTH: Final = 860
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 14, 34  # around what is drawn
BAR_SHARE: Final = 0.68  # of the room that a bar has
WIDEST_BAR: Final = 56
FLAT_BAR: Final = 16  # height of a bar that lies
FLAT_GAP: Final = 14
NAME_WIDTH: Final = 180  # for labels of bars that lie, and for what is written behind them
VALUE_WIDTH: Final = 90
CHARACTER_WIDTH: Final = 7.0  # about, of the labels
LABEL_CHARACTERS: Final = 12
NAME_CHARACTERS: Final = 26
LEGEND_HEIGHT: Final = 28
TICKS: Final = 4
COLOURS: Final = ("c1", "c2", "c3", "c4", "c5", "c6")
LIGHT: Final = {
    "good": "#1f8a5b", "bad": "#c2413b", "ink": "#1c2430", "soft": "#5c6675", "grid": "#dfe3e8",
    "c1": "#2f6fde", "c2": "#d97f12", "c3": "#1f8a5b", "c4": "#8a4fd0", "c5": "#c2413b", "c6": "#0f8f9c",
}  # fmt: skip
DARK: Final = {
    "good": "#4cc38a", "bad": "#f2756d", "ink": "#e8ebf0", "soft": "#9aa5b4", "grid": "#2c3440",
    "c1": "#6ea0ff", "c2": "#f0a94b", "c3": "#4cc38a", "c4": "#b58cf0", "c5": "#f2756d", "c6": "#45c4d0",
}  # fmt: skip
SCREEN: Final = {name: f"var(--{name})" for name in LIGHT}  # which the page sets to one of the two


class _Scale(NamedTuple):
    """From values to heights."""

    low: float
    high: float

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def draw(chart: Chart, palette: Palette, title: str) -> str:
    """An SVG; `title` is what a screen reader says."""
    is_flat = chart.kind == "across"
    height = _flat_height(chart) if is_flat else HEIGHT
    parts = [*(_flat(chart, palette) if is_flat else _upright(chart, palette))]
    if len(chart.series) > 1:
        parts += _legend(chart, palette, height)
        height += LEGEND_HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-size="12" font-family="system-ui, DejaVu Sans, Libertinus Serif, sans-serif">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _upright(chart: Chart, palette: Palette) -> Iterator[str]:
    values = [value for _, found in chart.series for value in found if value is not None]
    if chart.kind == "stacked":
        values = [sum(found[n] or 0 for _, found in chart.series) for n in range(len(chart.labels))]
    ticks = _ticks(min([*values, 0]), max([*values, 0]))
    scale = _Scale(ticks[0], ticks[-1])
    for tick in ticks:
        yield _line(LEFT, scale.y(tick), WIDTH - RIGHT, scale.y(tick), palette["soft" if tick == 0 else "grid"])
        yield _text(LEFT - 8, scale.y(tick) + 4, chart.write(tick), palette["soft"], "end")
    every = ceil(max((_width(label) for label in chart.labels), default=0) / _step(chart))
    for n, label in enumerate(chart.labels):
        if n % every == 0:
            x = min(_middle(chart, n), WIDTH - _width(label) / 2)  # the last one, of a narrow bar, would be cut off
            yield _text(x, HEIGHT - 12, _short(label, LABEL_CHARACTERS), palette["soft"], "middle")
    draw_series = {"stacked": _stacks, "line": _lines}.get(chart.kind, _bars)
    yield from draw_series(chart, palette, scale)


def _width(label: str) -> float:
    """The room that a label needs side by side with others."""
    return CHARACTER_WIDTH * (min(len(label), LABEL_CHARACTERS) + 1)


def _middle(chart: Chart, n: int) -> float:
    return LEFT + _step(chart) * (n + 0.5)


def _step(chart: Chart) -> float:
    return (WIDTH - LEFT - RIGHT) / max(len(chart.labels), 1)


def _stacks(chart: Chart, palette: Palette, scale: _Scale) -> Iterator[str]:
    width = min(_step(chart) * BAR_SHARE, WIDEST_BAR)
    for n in range(len(chart.labels)):
        below = 0.0
        for number, (_, values) in enumerate(chart.series):
            if value := values[n] or 0:
                top, bottom = scale.y(below + value), scale.y(below)
                place = (_middle(chart, n) - width / 2, top, width, bottom - top)
                yield _bar(place, palette[_tone(chart, number)], _tip(chart, n, number))
                below += value


def _bars(chart: Chart, palette: Palette, scale: _Scale) -> Iterator[str]:
    width = min(_step(chart) * BAR_SHARE, WIDEST_BAR * len(chart.series)) / len(chart.series)
    for n in range(len(chart.labels)):
        for number, (_, values) in enumerate(chart.series):
            if value := values[n] or 0:
                top, bottom = sorted((scale.y(value), scale.y(0)))
                x = _middle(chart, n) + width * (number - len(chart.series) / 2)
                yield _bar((x, top, width * 0.94, bottom - top), palette[_tone(chart, number)], _tip(chart, n, number))


def _lines(chart: Chart, palette: Palette, scale: _Scale) -> Iterator[str]:
    for number, (_, values) in enumerate(chart.series):
        colour, steps, is_open = palette[_tone(chart, number)], [], False
        for n, value in enumerate(values):
            if value is not None:
                steps.append(f"{'L' if is_open else 'M'}{_middle(chart, n):.1f} {scale.y(value):.1f}")
            is_open = value is not None
        yield f'<path d="{" ".join(steps)}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>'
        for n, value in enumerate(values):
            if value is not None:
                place = f'cx="{_middle(chart, n):.1f}" cy="{scale.y(value):.1f}" r="3"'
                yield f'<circle {place} fill="{colour}"><title>{escape(_tip(chart, n, number))}</title></circle>'


def _flat_height(chart: Chart) -> int:
    return len(chart.labels) * (FLAT_BAR * len(chart.series) + FLAT_GAP) + 4


def _flat(chart: Chart, palette: Palette) -> Iterator[str]:
    most = max((value for _, found in chart.series for value in found if value is not None), default=0) or 1
    room = WIDTH - NAME_WIDTH - VALUE_WIDTH
    y = FLAT_GAP / 2
    for n, label in enumerate(chart.labels):
        middle = y + FLAT_BAR * len(chart.series) / 2 + 4
        yield _text(NAME_WIDTH - 10, middle, _short(label, NAME_CHARACTERS), palette["ink"], "end")
        for number, (_, values) in enumerate(chart.series):
            value = values[n]
            width = max(room * (value or 0) / most, 1)
            place = (NAME_WIDTH, y + 1, width, FLAT_BAR - 2)
            yield _bar(place, palette[_tone(chart, number)], _tip(chart, n, number))
            yield _text(NAME_WIDTH + width + 8, y + FLAT_BAR / 2 + 4, chart.write(value), palette["soft"], "start")
            y += FLAT_BAR
        y += FLAT_GAP


def _legend(chart: Chart, palette: Palette, y: float) -> Iterator[str]:
    x = float(NAME_WIDTH if chart.kind == "across" else LEFT)
    for number, (name, _) in enumerate(chart.series):
        yield _bar((x, y + 6, 12, 12), palette[_tone(chart, number)], name)
        yield _text(x + 18, y + 16, _short(name, NAME_CHARACTERS), palette["ink"], "start")
        x += 40 + CHARACTER_WIDTH * min(len(name), NAME_CHARACTERS)


def _tone(chart: Chart, number: int) -> str:
    return chart.tones[number] if number < len(chart.tones) else COLOURS[number % len(COLOURS)]


def _tip(chart: Chart, n: int, number: int) -> str:
    name, values = chart.series[number]
    return f"{chart.labels[n]}: {chart.write(values[n])} {name}"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`."""
    step = _round_up(max(high - low, 1e-9) / TICKS)
    first, last = floor(low / step), ceil(high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]


def _round_up(number: float) -> float:
    power: float = 10.0 ** floor(log10(number))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= number * (1 - 1e-9))


def _short(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _bar(place: Sequence[float], colour: str, tip: str) -> str:
    x, y, width, height = place
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0.5):.1f}" rx="1.5"'
    return f'<rect {shape} fill="{colour}"><title>{escape(tip)}</title></rect>'
