"""What is refused, as RFC 9457 has it: `application/problem+json` with a stable `type`, and `errors` with pointers.

Routes raise a `Problem`, or let through what the doors raise: this page says what each of those means to a caller. The
words of the doors are not handed on where they may tell of addresses; the log has them, under the request's id.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from batchjob import errors, log
from batchjob.core.wording import in_words

Steps = tuple[str | int, ...]  # the way to a field

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "https://batchjob.dev/problems/"
RETRY_SECONDS: Final = 5  # after which whoever was told 503 may ask again, where nobody knows better
METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
MOST_ERRORS: Final = 20  # who wrote a field wrong in a thousand items sees which one
MOST_CHARACTERS: Final = 1000  # of a sentence: it may quote what was sent

logger = log.get(__name__)


class Slug(NamedTuple):
    """A type of problem: the end of its `type`, which stays, and its title."""

    name: str
    status: int
    title: str


UNAUTHENTICATED: Final = Slug("unauthenticated", 401, "Sign in first")
FORBIDDEN: Final = Slug("forbidden", 403, "You may not do this")
NOT_FOUND: Final = Slug("not-found", 404, "There is no such thing, or it is not yours")
NO_SUCH_METHOD: Final = Slug("method-not-allowed", 405, "The resource has no such method")
BAD_REQUEST: Final = Slug("bad-request", 400, "The request makes no sense")
TOO_SLOW: Final = Slug("request-timeout", 408, "The request took too long to come")
CONFLICT: Final = Slug("conflict", 409, "It is there already, or changed meanwhile")
GONE: Final = Slug("gone", 410, "It was there, and has been removed")
TOO_LARGE: Final = Slug("too-large", 413, "The request is too large")
WRONG_MEDIA_TYPE: Final = Slug("unsupported-media-type", 415, "The body has to be JSON")
INVALID: Final = Slug("invalid", 422, "What was sent is wrong")
KEY_REUSED: Final = Slug("idempotency-key-reused", 422, "The same Idempotency-Key came with another body")
TOO_MANY: Final = Slug("too-many-requests", 429, "Too many requests")
INTERNAL: Final = Slug("internal", 500, "A mistake of ours")
UNAVAILABLE: Final = Slug("unavailable", 503, "What is needed does not answer")
SLUGS: Final = (
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    NO_SUCH_METHOD,
    BAD_REQUEST,
    TOO_SLOW,
    CONFLICT,
    GONE,
    TOO_LARGE,
    WRONG_MEDIA_TYPE,
    INVALID,
    KEY_REUSED,
    TOO_MANY,
    INTERNAL,
    UNAVAILABLE,
)
UPGRADE: Final = "wait until all of its pods are replaced"
DAMAGED: Final = "What the store has of the run was overwritten, and cannot be read: cancel it, and create it again."
_BY_STATUS: Final = {slug.status: slug for slug in reversed(SLUGS)}

# What Kubernetes refuses; without a sentence, its own: of our rules and the chart's policies, which name the field.
_REFUSALS: Final[dict[type[errors.KubernetesError], tuple[Slug, str]]] = {
    errors.NotFound: (NOT_FOUND, "There is no such object"),
    errors.AlreadyExists: (CONFLICT, "The name is taken: choose another one"),
    errors.Conflict: (CONFLICT, "It changed meanwhile: read it again, and repeat"),
    errors.Gone: (CONFLICT, "It changed meanwhile: read it again, and repeat"),
    errors.Invalid: (INVALID, ""),
    errors.Forbidden: (FORBIDDEN, ""),
}


class Fault(NamedTuple):
    """One thing that is wrong: a JSON pointer into the body (RFC 6901), or a parameter or header, and a sentence.

    Of a body of lines, the pointer is into one of them; `line`: which, from 1.
    """

    where: str
    detail: str
    place: str = "pointer"  # or: parameter, header
    line: int | None = None

    def to_json(self) -> dict[str, str | int]:
        """As it stands in `errors`."""
        line = {} if self.line is None else {"line": self.line}
        return {**line, self.place: self.where, "detail": self.detail[:MOST_CHARACTERS]}

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        return f"{line}{self.where or ('it' if line else 'the body')}: {self.detail}"


class Problem(Exception):
    """An answer that refuses."""

    def __init__(
        self,
        slug: Slug,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.faults = faults
        self.headers = {**(headers or {})}

    def moved(self, place: Callable[[str], str]) -> "Problem":
        """The same in terms of another body. `place`: where in it a pointer leads."""
        faults = [one._replace(where=place(one.where)) if one.place == "pointer" else one for one in self.faults]
        detail = "; ".join(map(str, faults)) if faults else self.detail
        return Problem(self.slug, detail, faults=faults, headers=self.headers)

    def response(self) -> JSONResponse:
        """The answer."""
        body: dict[str, Any] = {
            "type": TYPES + self.slug.name,
            "title": self.slug.title,
            "status": self.slug.status,
            "detail": self.detail[:MOST_CHARACTERS],
        }
        if self.faults:
            body["errors"] = [fault.to_json() for fault in self.faults[:MOST_ERRORS]]
        if request_id := structlog.contextvars.get_contextvars().get("request"):
            body["instance"] = f"urn:batchjob:request:{request_id}"
        return JSONResponse(body, self.slug.status, self.headers, MEDIA_TYPE)


def invalid(*faults: Fault) -> Problem:
    """422: what is wrong where; its detail says all of it, for who reads no further."""
    faults = tuple(dict.fromkeys(faults))
    return Problem(INVALID, "; ".join(map(str, faults)), faults=faults)


def invalid_model(error: ValidationError, point: Callable[[Steps], str] | None = None) -> Problem:
    """422: what a model says of a body. `point`: where a field of the model is in the body, if elsewhere."""
    found = [in_words(one) for one in error.errors(include_url=False)]
    return invalid(*(Fault((point or pointer)(steps), said) for steps, said in found))


def pointer(steps: Steps) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def unavailable(what: str, seconds: float | None = None) -> Problem:
    """503: `what` does not answer now."""
    after = max(1, round(seconds or RETRY_SECONDS))
    return Problem(UNAVAILABLE, f"{what} does not answer now: ask again later", headers={"Retry-After": str(after)})


def internal() -> Problem:
    """500; the log says more."""
    return Problem(INTERNAL, "It failed, and the log of the gateway says why: name the request's id to who runs it")


def install(app: FastAPI) -> None:
    """Whatever a route raises leaves as a problem. What is in no table is caught by the envelope."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        problem = build_problem(error)
        if problem.slug is NO_SUCH_METHOD:
            problem.headers["Allow"] = _methods_of(request)
        return problem.response()

    known = (Problem, HTTPException, RequestValidationError, ValidationError, errors.StoreError, errors.KubernetesError)
    for kind in known:
        app.add_exception_handler(kind, refuse)


def _methods_of(request: Request) -> str:
    """What a path has: the framework names those of the first route with it, and each method is a route of its own."""
    routes = request.app.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ", ".join(found)


def build_problem(error: Exception) -> Problem:
    """What an error means to a caller."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return _of_http(error)
        case RequestValidationError():
            return invalid(*map(_of_parameter, error.errors()))
        case errors.StoreError():
            return _of_store(error)
        case errors.KubernetesError() | ValidationError():
            return _of_kubernetes(error)
    logger.error("a request failed", exc_info=error)
    return internal()


def _of_store(error: errors.StoreError) -> Problem:
    if isinstance(error, errors.RunGone):
        return Problem(NOT_FOUND, "The store does not know the run, or not any more")
    if isinstance(error, errors.StoreDamaged):
        logger.warning("what a run has in the store cannot be read", error=str(error))
        return Problem(GONE, DAMAGED)
    logger.warning("the store cannot be used", error=str(error))
    return unavailable("The store")


def _of_kubernetes(error: errors.KubernetesError | ValidationError) -> Problem:
    if isinstance(error, ValidationError):  # of an object that is there
        logger.warning("an object cannot be read", kind=error.title, error=str(error))
        return Problem(CONFLICT, f"A {error.title} is of a newer version than this gateway: {UPGRADE}")
    if isinstance(error, errors.ApiUnavailable):
        logger.warning("the Kubernetes API cannot be used", error=str(error))
        return unavailable("Kubernetes", error.retry_after_seconds)
    slug, detail = next(
        (found for kind, found in _REFUSALS.items() if isinstance(error, kind)), (CONFLICT, "Kubernetes refused it")
    )
    return Problem(slug, detail or str(error))


def _of_http(error: HTTPException) -> Problem:
    """What the framework says by itself: no such path, no such method."""
    slug = _BY_STATUS.get(error.status_code)
    if slug is None:
        slug = Slug(f"http-{error.status_code}", error.status_code, HTTPStatus(error.status_code).phrase)
    detail = {404: "There is no such path", 405: "The path has no such method: see Allow"}
    return Problem(slug, detail.get(error.status_code, str(error.detail)), headers=error.headers)


def _of_parameter(error: Any) -> Fault:
    """A parameter of the path, the query or a header that is none."""
    *_, name = error["loc"]
    return Fault(str(name), str(error["msg"]), "parameter")
