"""A cron string in words: `0 9 * * 1-5` is “at 09:00 from Monday to Friday”. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Final

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_DESCRIPTORS: Final = {
    "@hourly": "every hour",
    "@daily": "every day at midnight",
    "@midnight": "every day at midnight",
    "@weekly": "every Sunday at midnight",
    "@monthly": "on the 1st of every month at midnight",
    "@yearly": "on 1 January at midnight",
    "@annually": "on 1 January at midnight",
}
_FIELDS: Final = 5
_TEENS: Final = range(11, 14)
_RANGE: Final = re.compile(r"(\w+)-(\w+)(?:/(\d+))?")


def in_words(cron: str) -> str:
    """What a cron string says; the string itself where it is none."""
    if cron in _DESCRIPTORS:
        return _DESCRIPTORS[cron]
    fields = cron.split()
    if len(fields) != _FIELDS:
        return cron
    try:
        minute, hour, day, month, weekday = fields
        days = _days(day, weekday)
        months = "" if month == "*" else f"in {_listed(month, 'month', _month)}"
        time = _time(minute, hour)
        every = "every day" if not days and not months and time.startswith("at ") else ""
        return " ".join(filter(None, (every, time, days, months)))
    except (ValueError, IndexError, StopIteration):
        return cron


def _time(minute: str, hour: str) -> str:
    if minute.isdecimal() and all(one.isdecimal() for one in hour.split(",")):
        return f"at {_and([f'{int(one):02}:{int(minute):02}' for one in hour.split(',')])}"
    minutes = "every minute" if minute == "*" else ""
    if minute.startswith("*/"):
        minutes = _every(minute[2:], "minute")
    elif minute.isdecimal():
        minutes = "on the hour" if int(minute) == 0 else f"{int(minute)} minutes past the hour"
    elif not minutes:
        minutes = f"at {_listed(minute, 'minute', str)} past the hour"
    if hour == "*":
        return "every hour" if minute in {"0", "00"} else f"every hour, {minutes}" if minute.isdecimal() else minutes
    if hour.startswith("*/"):
        every = _every(hour[2:], "hour")
        return every if minute in {"0", "00"} else f"{minutes}, {every}"
    return f"{minutes}, {_listed(hour, 'hour', lambda text: f'{int(text):02}:00')}"


def _days(day: str, weekday: str) -> str:
    found = []
    if day.startswith("*/"):
        found.append(_every(day[2:], "day"))
    elif day != "*":
        found.append(f"on {_listed(day, 'day', _ordinal)} of the month")
    if weekday.startswith("*/"):
        found.append(_every(weekday[2:], "weekday"))
    elif weekday != "*":
        text = _listed(weekday, "weekday", _weekday)
        found.append(text if text.startswith("from") else f"on {text}")
    return " or ".join(found)  # as cron has it: where both are given, either is enough


def _listed(field: str, unit: str, call: Callable[[str], str]) -> str:
    parts = []
    for one in field.split(","):
        if one.startswith("*/"):
            parts.append(_every(one[2:], unit))
        elif found := _RANGE.fullmatch(one):
            step = f" ({_every(found[3], unit)})" if found[3] and found[3] != "1" else ""
            parts.append(f"from {call(found[1])} to {call(found[2])}{step}")
        else:
            parts.append(call(one))
    return _and(parts)


def _every(step: str, unit: str) -> str:
    return f"every {unit}" if int(step) == 1 else f"every {int(step)} {unit}s"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _ordinal(text: str) -> str:
    number = int(text)
    ending = "th" if number in _TEENS else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"the {number}{ending}"


def _month(text: str) -> str:
    return _named(text, _MONTHS, 1)


def _weekday(text: str) -> str:
    return _named(text, _DAYS, 0)


def _named(text: str, names: Sequence[str], first: int) -> str:
    if text.isdecimal():
        return names[int(text) - first]
    return next(name for name in names if name[:3].lower() == text.lower())
