"""Where the token comes from: a text, something that is called, or a file. Asked with each request.

The token of a ServiceAccount in a pod is a file that Kubernetes writes anew every hour: one that was read at the start
ends. A token is shown by no repr and stands in no message.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from batchjob.errors import ConfigurationError

Token = str | Path | Callable[[], str]
AsyncToken = Token | Callable[[], Awaitable[str]]
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


def read_token(source: AsyncToken) -> str | Awaitable[str]:
    """The token, or, where the source is asynchronous, what it can be awaited from."""
    if callable(source):
        return source()
    if isinstance(source, str):
        return source
    try:
        return source.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"token: the file {source} cannot be read: {type(error).__name__}") from None


def build_authorization(token: object) -> str:
    """The Authorization header of a token."""
    if inspect.isawaitable(token):
        raise ConfigurationError("token: what is called has to return a text; one that is awaited needs AsyncClient")
    text = token.strip() if isinstance(token, str) else ""
    if not _VISIBLE.fullmatch(text):
        raise ConfigurationError("token: is empty, or has a character that no token has")
    return f"Bearer {text}"
