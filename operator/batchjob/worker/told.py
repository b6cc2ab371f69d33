"""How far items are, and how long others shall wait, as their processor tells."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from batchjob.core.documents import writable
from batchjob.core.items import Item
from batchjob.core.retry import MAX_AFTER_SECONDS

MESSAGE_LIMIT: Final = 256  # characters kept of what is said with progress


class Told(NamedTuple):
    """How far an item is, as its processor told last."""

    fraction: float  # from 0 to 1
    item: str  # its id, or that of the first that this was said about
    message: str
    at: float  # seconds of the monotonic clock: the order in which they spoke


def tell(items: Sequence[Item], fraction: Any, message: Any) -> dict[int, Told]:
    """What is said now of these items, by position. Errors: see Context.progress."""
    if not (isinstance(fraction, int | float) and 0 <= fraction <= 1):
        raise ValueError(f"progress: {fraction!r} is no number from 0 to 1, the part of the item that is done")
    if not isinstance(message, str):
        raise TypeError(f"progress: the message {message!r} is no text")
    if not items:
        raise LookupError("no item is in hand: `progress` works in `process` and `process_many` only")
    told = Told(float(fraction), items[0].id, writable(message[:MESSAGE_LIMIT]), time.monotonic())
    return dict.fromkeys((item.position for item in items), told)


def checked_hold(seconds: Any) -> float:
    """The seconds of Context.hold, a day at the most."""
    if not (isinstance(seconds, int | float) and seconds >= 0):
        raise ValueError(f"hold: {seconds!r} is no number of seconds from 0 up")
    return min(float(seconds), MAX_AFTER_SECONDS)
