"""Numbers and times as people read them. Pure: the clock is an argument."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from batchjob.core.progress import format_duration

_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"
_SHORTENED: Final = "…"


class When(NamedTuple):
    """A moment: how long ago, and exactly."""

    short: str
    exact: str
    iso: str


def number(value: int) -> str:
    """`1,234,567`."""
    return f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 item`, `2,000 items`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def when(seconds: float | None, now: float) -> When | None:
    """A moment in seconds since 1970, seen from `now`; None stays None."""
    if seconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):  # a clock, or who wrote the number, was mad
        return None
    away = now - seconds
    short = f"{format_duration(away)} ago" if away >= 0 else f"in {format_duration(-away)}"
    return When(short, moment.strftime(_TIME), moment.isoformat().replace("+00:00", "Z"))


def parse_time(text: str | None) -> float | None:
    """Seconds since 1970 of a timestamp of Kubernetes'; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def since(text: str | None, now: float) -> When | None:
    """As `when`, of a timestamp of Kubernetes'."""
    return when(parse_time(text), now)


def shortened(text: str, most: int) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= most else text[: most - 1] + _SHORTENED


def coded(text: str) -> Markup:
    """A text as HTML, in which what stands between backticks is code."""
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if n % 2 else escape(part) for n, part in enumerate(text.split("`")))


def percent(part: int, whole: int) -> int:
    """Whole percent, rounded down: 100 means that nothing is left."""
    return 100 * part // whole if whole else 0


class Segment(NamedTuple):
    """A part of a bar: where it begins and how wide it is, in hundredths of its width."""

    kind: str
    x: float
    width: float


def segments(parts: Sequence[tuple[str, int]], whole: int) -> tuple[Segment, ...]:
    """A bar of parts. What is not nothing can be seen: a hundredth is its, and the rest goes by size."""
    shown = [(kind, count) for kind, count in parts if count > 0] if whole > 0 else []
    x, found = 0.0, []
    for kind, count in shown:
        width = 1 + (100 - len(shown)) * min(count / whole, 1)
        found.append(Segment(kind, round(x, 2), round(width, 2)))
        x += width
    return tuple(found)


def points(values: Sequence[float], width: int, height: int) -> str:
    """The points of a sparkline in a box; empty where there is nothing to see."""
    highest = max(values, default=0)
    if len(values) < 2 or highest <= 0:  # noqa: PLR2004 - a line has two ends
        return ""
    step = width / (len(values) - 1)
    return " ".join(f"{i * step:.1f},{height - 1 - (height - 2) * v / highest:.1f}" for i, v in enumerate(values))
