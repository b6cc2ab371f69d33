"""URLs in specs: what is said of them, and those that stand for a path or a key."""

import re
from typing import Final

from batchjob.errors import ConfigurationError

_LOGIN: Final = re.compile(r"(?<=://)[^/?#]*@")
_QUERY: Final = re.compile(r"[?#].*", re.DOTALL)


def masked(url: str) -> str:
    """A URL for messages, which more people read than a spec: without login, and without query, which may be one."""
    return _QUERY.sub("?…", _LOGIN.sub("…@", url, count=1))


def check_whole(url: str, field: str) -> None:
    """ConfigurationError, naming the field, where a `?` or `#` would end the URL's path and drop what follows."""
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{field} must not contain ? or # ({masked(url)}): remove it, or write %3F or %23")
