"""Which problems each operation may answer with, and an example of each, made as they are made when they are meant."""

import json
from typing import Any, Final

from batchjob.gateway.access import CHALLENGE
from batchjob.gateway.blocks import SLOWEST_BYTES
from batchjob.gateway.bodies import MAX_BYTES, too_large
from batchjob.gateway.problems import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    GONE,
    INTERNAL,
    INVALID,
    KEY_REUSED,
    NO_SUCH_METHOD,
    NOT_FOUND,
    SLUGS,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNAUTHENTICATED,
    UNAVAILABLE,
    WRONG_MEDIA_TYPE,
    Fault,
    Problem,
    Slug,
    internal,
    invalid,
    unavailable,
)
from batchjob.gateway.views import JOBS, no_such_job

Json = dict[str, Any]

_EXAMPLES: Final[dict[Slug, Problem]] = {
    UNAUTHENTICATED: Problem(UNAUTHENTICATED, "the token has expired: get a new one", headers=CHALLENGE),
    FORBIDDEN: Problem(
        FORBIDDEN, "alice may not create batchjobs in the namespace team-a: ask who gives rights in Kubernetes"
    ),
    NOT_FOUND: no_such_job(),
    NO_SUCH_METHOD: Problem(NO_SUCH_METHOD, "The path has no such method: see Allow"),
    BAD_REQUEST: Problem(BAD_REQUEST, "The body is not JSON that we read: Expecting value: line 1 column 1 (char 0)"),
    TOO_SLOW: Problem(TOO_SLOW, f"The body came too slowly: send it again, {SLOWEST_BYTES} bytes a second or more"),
    CONFLICT: Problem(CONFLICT, "The BatchJob has ended (succeeded): nothing is left to cancel"),
    GONE: Problem(GONE, "The results were removed at 2026-01-08T09:00:00Z (spec.retention)"),
    TOO_LARGE: too_large(MAX_BYTES),
    WRONG_MEDIA_TYPE: Problem(WRONG_MEDIA_TYPE, "Send Content-Type: application/json"),
    INVALID: invalid(Fault("/priority", "should be less than or equal to 10 (it is 11)")),
    KEY_REUSED: Problem(KEY_REUSED, "This Idempotency-Key made another BatchJob: use a new key for a new one"),
    TOO_MANY: Problem(TOO_MANY, "60 requests a minute of this kind (submit) are allowed: ask again in 17 s"),
    INTERNAL: internal(),
    UNAVAILABLE: unavailable("Kubernetes"),
}
_ALWAYS: Final = (UNAUTHENTICATED, FORBIDDEN, TOO_MANY, INTERNAL, UNAVAILABLE)
_OF_A_BODY: Final = (BAD_REQUEST, TOO_SLOW, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID)
_OF_A_KEY: Final = (BAD_REQUEST, CONFLICT, KEY_REUSED, NOT_FOUND)
# What an operation may say besides; of one with an id in its path, not-found goes without saying.
_MORE: Final[dict[tuple[str, str], tuple[Slug, ...]]] = {
    ("get", JOBS): (INVALID,),
    ("post", JOBS): _OF_A_KEY,
    ("post", "/api/ai-annotator/batch"): _OF_A_KEY,
    ("post", f"{JOBS}/{{job}}/redrive"): _OF_A_KEY,
    **{("post", f"{JOBS}/{{job}}/{verb}"): (CONFLICT, INVALID) for verb in ("cancel", "suspend", "resume")},
    ("get", f"{JOBS}/{{job}}/items"): (CONFLICT, GONE, INVALID),
    ("get", f"{JOBS}/{{job}}/errors"): (GONE,),
    ("get", f"{JOBS}/{{job}}/results"): (CONFLICT, GONE),
    ("get", f"{JOBS}/{{job}}/events"): (INVALID,),
    ("get", "/api/v1/audit"): (INVALID,),
    ("patch", "/api/v1/queues/{name}"): (CONFLICT,),
    ("post", "/api/v1/schedules"): (CONFLICT, NOT_FOUND),
}
_RETRY_AFTER: Final = {"description": "Seconds until it is worth to ask again.", "schema": {"type": "integer"}}


def build_examples() -> Json:
    """An example of each type of problem, by the end of its `type`."""
    return {slug.name: {"summary": slug.title, "value": _example(_EXAMPLES[slug])} for slug in SLUGS}


def _example(problem: Problem) -> Json:
    body: Json = json.loads(bytes(problem.response().body))
    return body | {"instance": "urn:batchjob:request:6d1f0c"}


def slugs_of(method: str, path: str, *, body: bool) -> list[Slug]:
    """The problems that an operation may answer with, in the order of their status."""
    found = {*_ALWAYS, *_MORE.get((method, path), ()), *(_OF_A_BODY if body else ())}
    if "{" in path:
        found.add(NOT_FOUND)
    return sorted(found, key=lambda slug: (slug.status, SLUGS.index(slug)))


def build_refusals(method: str, path: str, media_type: str, schema: Json, *, body: bool) -> Json:
    """The answers of an operation that refuse, by status."""
    answers: Json = {}
    for slug in slugs_of(method, path, body=body):
        fresh = {"description": slug.title, "content": {media_type: {"schema": schema, "examples": {}}}}
        answer = answers.setdefault(str(slug.status), fresh)
        answer["content"][media_type]["examples"][slug.name] = {"$ref": f"#/components/examples/{slug.name}"}
        if "Retry-After" in _EXAMPLES[slug].headers or slug is TOO_MANY:
            answer["headers"] = {"Retry-After": _RETRY_AFTER}
    return answers
