"""Numbers as people read them. Pure."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

DASH: Final = "–"  # noqa: RUF001 - an en dash stands for no value
MINUTE, HOUR, DAY = 60, 3600, 86_400
_TENTHS_BELOW: Final = 10
_SMALL: Final = 100
_DECIMALS: Final = 4
_FRACTION: Final = Decimal("0.1")


def whole(value: float | None) -> str:
    """`1,234,567`."""
    return DASH if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """`1,235`, `12.3` or `0.51`: as many digits as somebody looks at."""
    if value is None:
        return DASH
    if float(value).is_integer():
        return whole(value)
    digits = 0 if abs(value) >= _SMALL else 1 if abs(value) >= 1 else 2
    return f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """`98.0 %`; 100 % and 0 % only where it is exactly that."""
    if value is None:
        return DASH
    shown = f"{value:.1f}"
    if shown == "100.0" and value != 100:  # noqa: PLR2004 - all
        shown = "99.9"
    if shown == "0.0" and value:
        shown = "0.1"
    return f"{shown} %" if value % 100 else f"{value:.0f} %"


def seconds(value: float | None) -> str:
    """`0 s`, `45 ms`, `1.2 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    if value is None:
        return DASH
    if value < 1:
        return f"{max(value * 1000, 1):.0f} ms" if value else "0 s"
    if value < MINUTE:
        return f"{value:.1f} s" if value < _TENTHS_BELOW else f"{value:.0f} s"
    large, small, names = next(
        (step, below, names)
        for step, below, names in ((DAY, HOUR, "d h"), (HOUR, MINUTE, "h min"), (MINUTE, 1, "min s"))
        if value >= step
    )
    first, second = names.split()
    rest = int(value % large / small)
    return f"{int(value // large)} {first}" + (f" {rest} {second}" if rest else "")


def change(now: float | None, before: float | None) -> str:
    """`+12 %`, against the window before; empty where nothing can be compared."""
    if now is None or before is None:
        return ""
    if not before:
        return "new" if now else "±0 %"
    by = 100 * (now - before) / before
    if by >= 1000:  # noqa: PLR2004 - nobody compares such numbers by percent
        return f"× {now / before:,.0f}"  # noqa: RUF001 - the sign for times
    return _signed(f"{by:+.0f} %") if round(by) else "±0 %"


def points(now: float | None, before: float | None) -> str:
    """`+1.2 points`, of two percentages."""
    if now is None or before is None:
        return ""
    return _signed(f"{now - before:+.1f} points") if round(now - before, 1) else "±0 points"


def _signed(text: str) -> str:
    """With a minus sign in the place of a hyphen."""
    return text.replace("-", "\u2212")


def plain(value: Any) -> str:
    """A value of a query."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return whole(value)
    return exact(repr(value)) if isinstance(value, int | float) else str(value)


def exact(value: str | None) -> str:
    """A number as somebody's query gave it: `1,234.50`; of more than four decimals four, or four digits of a small one.

    What is shown of money has all its digits; of an average nobody reads more.
    """
    if value is None:
        return DASH
    try:
        found = Decimal(value)
    except InvalidOperation:  # too long: it was cut
        return value
    if not found.is_finite() or found == found.to_integral_value():
        return f"{found:,f}"
    digits = -int(found.as_tuple().exponent)
    if digits > _DECIMALS and abs(found) < _FRACTION:
        return f"{found:.{_DECIMALS}g}"
    return f"{found:,.{min(digits, _DECIMALS)}f}"
