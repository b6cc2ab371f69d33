"""What the client raises.

ClientError
├── NoAnswer              no answer came, or it broke off; `reached` says whether the request may have been carried out
├── WaitTimeout           the BatchJob had not ended in time (a TimeoutError too)
└── ApiError              the API refused: status, type, title, detail and errors are those of its problem (RFC 9457)
    ├── BadRequest        400, 405, 408, 415: the request itself makes no sense
    ├── Unauthenticated   401: no token, or none that is taken
    ├── Forbidden         403: RBAC does not give you that right
    ├── NotFound          404: it does not exist, or is not yours
    ├── Conflict          409: the name is taken; the run has ended; it changed meanwhile
    ├── Gone              410: results that were removed
    ├── TooLarge          413
    ├── Invalid           422: fields that are wrong, each named in `errors`
    │   └── KeyReused     the same Idempotency-Key came with another body
    ├── RateLimited       429; `retry_after_seconds`
    └── ServerError       500
        └── Unavailable   502, 503, 504: what is needed does not answer; `retry_after_seconds`
"""

import json
from typing import Any, Final, NamedTuple

from batchjob.client.steps import NotAnswered, Reply
from batchjob.errors import BatchJobError

TYPES: Final = "https://batchjob.dev/problems/"
MOST_CHARACTERS: Final = 200  # of an answer that is no problem: a proxy's page, say


class Fault(NamedTuple):
    """One thing that is wrong: `pointer` into the body (RFC 6901), or the name of a `parameter` or `header`.

    Of a body of lines, the pointer is into one of them; `line`: which, from 1.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    line: int | None = None


class ClientError(BatchJobError):
    """Whatever the client raises on purpose."""


class NoAnswer(ClientError):
    """No answer came, or it broke off. `reached`: whether the request may have been carried out."""

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class WaitTimeout(ClientError, TimeoutError):
    """The BatchJob had not ended in time. It goes on: wait again, or cancel it."""


class ApiError(ClientError):
    """The API refused."""

    def __init__(self, reply: Reply) -> None:
        body = _read_problem(reply)
        self.status = reply.status
        self.type = str(body.get("type", "about:blank"))
        self.title = str(body.get("title", ""))
        self.detail = str(body.get("detail", ""))
        self.errors = tuple(map(_read_fault, body.get("errors") or ()))
        self.instance = body.get("instance")  # names the request in the gateway's log
        self.retry_after_seconds = reply.retry_after()
        super().__init__(f"{self.status} {self.type.removeprefix(TYPES)}: {self.detail or self.title}")


class BadRequest(ApiError):
    """400, 405, 408, 415: the request itself makes no sense."""


class Unauthenticated(ApiError):
    """401: no token, or none that is taken; the detail says why."""


class Forbidden(ApiError):
    """403: RBAC does not give you that right."""


class NotFound(ApiError):
    """404: it does not exist, or is not yours."""


class Conflict(ApiError):
    """409: the name is taken; the run has ended; it changed meanwhile."""


class Gone(ApiError):
    """410: results that were removed."""


class TooLarge(ApiError):
    """413: the detail says what may be how large, and where more can go."""


class Invalid(ApiError):
    """422: fields that are wrong, each named in `errors`."""


class KeyReused(Invalid):
    """The same Idempotency-Key came with another body."""


class RateLimited(ApiError):
    """429, more often than the client repeats by itself; `retry_after_seconds` says when to come again."""


class ServerError(ApiError):
    """500: the gateway's log says more, under the id of `instance`."""


class Unavailable(ServerError):
    """502, 503, 504: what is needed does not answer."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: BadRequest,
    408: BadRequest,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: BadRequest,
    422: Invalid,
    429: RateLimited,
    500: ServerError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_BY_TYPE: Final[dict[str, type[ApiError]]] = {TYPES + "idempotency-key-reused": KeyReused}


def build_error(outcome: Reply | NotAnswered) -> ClientError:
    """What an outcome that is no success is raised as."""
    if isinstance(outcome, NotAnswered):
        return NoAnswer(outcome.why, reached=outcome.reached)
    found = ApiError(outcome)
    kind = _BY_TYPE.get(found.type) or _BY_STATUS.get(outcome.status)
    return kind(outcome) if kind else found


def _read_problem(reply: Reply) -> dict[str, Any]:
    """The problem of an answer, or what stands for one where somebody else refused: a proxy, say."""
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    if isinstance(found, dict) and "type" in found:
        return found
    said = " ".join(reply.body[: MOST_CHARACTERS * 2].decode("utf-8", "replace").split())[:MOST_CHARACTERS]
    return {"detail": f"what answered is no BatchJob gateway: {said}" if said else "an answer without a body"}


def _read_fault(entry: Any) -> Fault:
    if not isinstance(entry, dict):
        return Fault(str(entry))
    named = {name: entry.get(name) for name in ("pointer", "parameter", "header", "line")}
    return Fault(str(entry.get("detail", "")), **named)
