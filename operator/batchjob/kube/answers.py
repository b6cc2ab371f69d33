"""What an answer of the Kubernetes API means that is none of what was asked for: the typed error."""

import json
import re
from typing import Final

from batchjob.errors import (
    AlreadyExists,
    ApiUnavailable,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubernetesError,
    NotFound,
    WebhookUnavailable,
)

NOT_DONE: Final = frozenset({401, 429})  # refused before anything was done: worth another try, whatever it was
_UNKNOWN: Final = re.compile(r'unknown field "([^"]+)"')
_BY_STATUS: Final[dict[int, type[KubernetesError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def build_error(status: int, text: str, method: str, retry_after: str | None) -> KubernetesError:
    """The typed error of an answer; `text` is its body, a Status object if the API server wrote it."""
    try:
        found = json.loads(text)
        message, reason = str(found["message"]), str(found.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, reason = text[:256] or f"HTTP {status}", ""
    if "webhook" in message and "denied the request" in message:
        return Forbidden(message, status=status, reason=reason)
    if status in NOT_DONE or status >= 500:  # noqa: PLR2004 - HTTP's own
        after = float(retry_after) if retry_after and retry_after.isdigit() else None
        away = WebhookUnavailable if "failed calling webhook" in message else ApiUnavailable
        return away(message, status=status, reason=reason, retry_after_seconds=after)
    if status == 409 and method == "POST" and reason == "AlreadyExists":  # noqa: PLR2004 - HTTP's own
        return AlreadyExists(message, status=status, reason=reason)
    kind = _BY_STATUS.get(status, KubernetesError)
    if kind is Invalid:
        return Invalid(message, status=status, reason=reason, causes=_causes(text))
    return kind(message, status=status, reason=reason)


def _causes(text: str) -> tuple[tuple[str, str], ...]:
    """The fields that a Status names, each with what is wrong; one it does not know stands in its message alone."""
    try:
        found = json.loads(text)
        message, causes = str(found["message"]), (found.get("details") or {}).get("causes") or ()
        named = tuple((str(cause["field"]), str(cause["message"])) for cause in causes)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    unknown = _UNKNOWN.findall(message) if "strict decoding error" in message else ()
    return (*named, *((field, "there is no such field") for field in unknown))
