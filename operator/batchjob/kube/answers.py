"""What an answer of the Kubernetes API means: a line of a watch, or the typed error of what was not asked for."""

import json
import re
from typing import Any, Final, NamedTuple

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
from batchjob.kube.session import decode

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


WRONG_SHAPE: Final = (ValueError, KeyError, TypeError, AttributeError)  # raised by reading JSON that is none of ours


class WatchEvent(NamedTuple):
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: dict[str, Any]


def read_watch_event(line: bytes) -> WatchEvent:
    """A line of a watch; ApiUnavailable where it is none, or the error that it tells of."""
    try:
        event = decode(line)
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise build_error(int(item.get("code", 500)), json.dumps(item), "GET", None)
        check_object(item, named=kind != "BOOKMARK")
    except WRONG_SHAPE as error:  # of a proxy, say
        raise ApiUnavailable(f"a watch told what is no event: {line[:64]!r}") from error
    return WatchEvent(kind, item)


def check_object(item: dict[str, Any], *, named: bool = True) -> None:
    """Whether it is an object, at a version (and with a name); raises one of WRONG_SHAPE."""
    metadata = item["metadata"]
    int(metadata["resourceVersion"])
    if named:
        metadata["name"], metadata["uid"]


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
