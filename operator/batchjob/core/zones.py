"""Time zones by name. Pure."""

from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def find_zone(name: str) -> tzinfo:
    """A time zone by its name in the IANA list; ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name such as Europe is a folder
        raise ValueError(f"there is no time zone {name}") from None
