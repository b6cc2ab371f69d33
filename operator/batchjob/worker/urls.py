"""URLs that stand for a path or a key: nothing of them may get lost on the way."""

from batchjob.errors import ConfigurationError


def check_whole(url: str, field: str) -> None:
    """ConfigurationError, naming the field, where a `?` or `#` would end the URL's path and drop what follows."""
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{field} must not contain ? or # ({url}): remove it, or write %3F or %23")
