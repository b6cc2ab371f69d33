"""What a processor tells of an item in its hands before that has ended."""

from typing import NamedTuple


class Told(NamedTuple):
    """How far an item is, as its processor told last."""

    fraction: float  # from 0 to 1
    item: str  # its id, or that of the first that this was said about
    message: str
    at: float  # seconds of the monotonic clock: the order in which they spoke
