"""What is sent again, and when: only what does no more when it is carried out twice."""

import pytest

from batchjob.client.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KeyReused,
    NoAnswer,
    NotFound,
    RateLimited,
    ServerError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    build_error,
)
from batchjob.client.retries import Retries, pause_after
from batchjob.client.steps import NotAnswered, Reply, Request
from batchjob.gateway.problems import SLUGS, Fault, Problem, invalid

GET = Request("GET", "/x")
POST = Request("POST", "/x", body=b"{}")
KEYED = Request("POST", "/x", headers={"Idempotency-Key": "k"}, body=b"{}")
UNSENT, LOST = NotAnswered("refused", reached=False), NotAnswered("reset", reached=True)


def reply(status: int, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("outcome", "requests"),
    [
        (UNSENT, [GET, POST, KEYED]),
        (LOST, [GET, KEYED]),
        (reply(429), [GET, POST, KEYED]),
        (reply(503), [GET, KEYED]),
        (reply(502), [GET, KEYED]),
        (reply(504), [GET, KEYED]),
        (reply(500), []),
        (reply(409), []),
        (reply(401), []),
        (reply(302), []),
    ],
    ids=str,
)
def test_only_what_is_safe_is_sent_again(outcome: Reply | NotAnswered, requests: list[Request]) -> None:
    found = [request for request in (GET, POST, KEYED) if pause_after(Retries(), 1, request, outcome, 0.5) is not None]
    assert found == requests


def test_pauses_double_up_to_the_longest_and_are_not_all_the_same() -> None:
    rules = Retries(tries=9, first_seconds=1, most_seconds=10)
    assert [pause_after(rules, tried, GET, LOST, 1.0) for tried in range(1, 10)] == [1, 2, 4, 8, 10, 10, 10, 10, None]
    assert pause_after(rules, 3, GET, LOST, 0.0) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:10 GMT"}, 20.0),
        ({"retry_after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 0.0),  # long past
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert reply(503, **headers).retry_after() == seconds


def test_nobody_comes_before_retry_after_and_who_would_wait_too_long_is_told_at_once() -> None:
    for chance in (0.0, 1.0):
        pause = pause_after(Retries(), 1, POST, reply(429, retry_after="7"), chance)
        assert pause == 7 + chance * 0.5
    assert pause_after(Retries(), 1, POST, reply(429, retry_after="61"), 0.0) is None


def test_each_type_of_problem_has_an_exception_that_says_all_of_it() -> None:
    kinds = {
        "unauthenticated": Unauthenticated,
        "forbidden": Forbidden,
        "not-found": NotFound,
        "method-not-allowed": BadRequest,
        "bad-request": BadRequest,
        "request-timeout": BadRequest,
        "conflict": Conflict,
        "gone": Gone,
        "too-large": TooLarge,
        "unsupported-media-type": BadRequest,
        "invalid": Invalid,
        "idempotency-key-reused": KeyReused,
        "too-many-requests": RateLimited,
        "internal": ServerError,
        "unavailable": Unavailable,
    }
    assert kinds.keys() == {slug.name for slug in SLUGS}
    for slug in SLUGS:
        answer = Problem(slug, "It was this.").response()
        error = build_error(Reply(slug.status, {}, bytes(answer.body)))
        assert isinstance(error, ApiError)
        assert type(error) is kinds[slug.name]
        assert (error.status, error.title, error.detail) == (slug.status, slug.title, "It was this.")
        assert (error.type.rpartition("/")[2], str(error)) == (slug.name, f"{slug.status} {slug.name}: It was this.")


def test_what_is_wrong_with_a_body_is_there_with_its_pointers() -> None:
    answer = invalid(Fault("/priority", "is too high"), Fault("q", "is no search", "parameter")).response()
    error = build_error(Reply(422, {"retry-after": "3"}, bytes(answer.body)))
    assert isinstance(error, Invalid)
    assert [(one.pointer, one.parameter, one.detail) for one in error.errors] == [
        ("/priority", None, "is too high"),
        (None, "q", "is no search"),
    ]
    assert error.retry_after_seconds == 3


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b'{"errors": 1}', b"[1]", b"\xff"])
def test_an_answer_that_is_no_problem_is_an_error_all_the_same(body: bytes) -> None:
    error = build_error(Reply(502, {}, body))
    assert isinstance(error, Unavailable)
    assert error.detail
    assert error.errors == ()


def test_no_answer_says_whether_it_may_have_been_carried_out() -> None:
    error = build_error(LOST)
    assert isinstance(error, NoAnswer)
    assert (error.reached, str(error)) == (True, "reset")
