"""The calls as they are before anybody carries them out: what is sent, again and again, and what is read."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchjob.client import calls
from batchjob.client.bodies import build_body
from batchjob.client.errors import NoAnswer, NotFound
from batchjob.client.retries import Retries
from batchjob.client.steps import Emit, Lines, NextLine, NotAnswered, Open, Pause, Reply, Send
from batchjob.core.answers import Job

RULES = calls.Rules(Retries(), clock=lambda: 0.0, chance=lambda: 0.0)
LOST = NotAnswered("reset", reached=True)
JOB = {"id": "t.a", "name": "a", "namespace": "t", "type": "custom", "state": "running", "news": "of a later version"}


def ok(body: Any = None, **headers: str) -> Reply:
    return Reply(200, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def play(call: Any, *outcomes: Any) -> tuple[list[Any], Any, list[Any]]:
    """Carry a call out with these outcomes; its steps, what it returned, and what it emitted."""
    steps, emitted, left = list[Any](), list[Any](), iter(outcomes)
    answer = None
    try:
        while True:
            step = call.send(answer)
            if isinstance(step, Emit):
                emitted.append(step.value)
                answer = None
                continue
            steps.append(step)
            answer = None if isinstance(step, Pause) else next(left)
    except StopIteration as ended:
        assert [*left] == [], "outcomes that nobody asked for"
        return steps, ended.value, emitted


def sent(steps: list[Any]) -> list[Any]:
    return [step.request for step in steps if isinstance(step, Send | Open)]


def test_a_submission_whose_reply_is_lost_is_sent_again_with_the_same_key_and_body() -> None:
    accepted = Reply(202, {}, b'{"success": true, "jobId": "t.a", "status": "queued", "message": "m", "links": {}}')
    with build_body("custom", [("1", {"n": 1})], {"custom": {"processor": "noop"}, "priority": None}) as body:
        steps, found, _ = play(calls.submit(RULES, body, "key"), LOST, Reply(503, {"retry-after": "4"}), accepted)
    first, second, third = sent(steps)
    assert first == second == third
    assert first.headers["Idempotency-Key"] == "key"
    assert json.loads(first.body) == {
        "type": "custom",
        "custom": {"processor": "noop"},
        "items": [{"id": "1", "data": {"n": 1}}],
    }
    assert [step.seconds for step in steps if isinstance(step, Pause)] == [0.25, 4.0]
    assert found.job_id == "t.a"


def test_a_named_submission_whose_reply_is_lost_is_not_sent_again() -> None:
    with build_body("custom", None, {"name": "a"}) as body, pytest.raises(NoAnswer, match="reset"):
        play(calls.submit(RULES, body, None), LOST)


def test_a_number_that_is_no_json_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        calls.build_post("/x", {"number": float("nan")})


def test_what_a_later_version_says_more_is_left_out() -> None:
    _, found, _ = play(calls.get(RULES, "t.a"), ok({"success": True, "job": JOB}))
    assert (type(found), found.id, found.ended, found.counts.total) == (Job, "t.a", False, 0)


@pytest.mark.parametrize("body", [b"<html>", b'{"success": true}', b"\xff"])
def test_an_answer_of_somebody_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(NoAnswer, match="no BatchJob gateway"):
        play(calls.get(RULES, "t.a"), Reply(200, {}, body))


def test_a_refusal_is_raised_at_once() -> None:
    with pytest.raises(NotFound) as raised:
        play(calls.get(RULES, "a/../b?c"), Reply(404, {}, b"{}"))
    assert raised.value.status == 404
    assert calls.path_of("a/../b?c") == "/api/v1/batch-jobs/a%2F..%2Fb%3Fc"


def test_a_list_follows_its_cursors_and_asks_for_no_page_before_it_is_needed() -> None:
    page = {"success": True, "jobs": [JOB], "next": "more"}
    steps, _, found = play(
        calls.search(RULES, "type:export", 1), ok(page), ok({**page, "jobs": []}), ok({**page, "next": None})
    )
    assert [request.params.get("cursor") for request in sent(steps)] == [None, "more", "more"]
    assert [job.id for job in found] == ["t.a", "t.a"]
    listed = calls.search(RULES, "", 1)
    next(listed)
    assert isinstance(listed.send(ok(page)), Emit)


def test_items_are_asked_for_by_status_and_class() -> None:
    item = {"id": "i", "position": 3, "status": "failed", "errorClass": "timeout", "message": "m", "attempts": 2}
    pages = ok({"success": True, "items": [item], "next": 4}), ok({"success": True, "items": [], "next": None})
    steps, _, found = play(calls.items(RULES, "t.a", "failed", "timeout", 1), *pages)
    assert [dict(request.params) for request in sent(steps)] == [
        {"status": "failed", "limit": 1, "errorClass": "timeout", "cursor": cursor} for cursor in (0, 4)
    ]
    assert (found[0].error_class, found[0].attempts) == ("timeout", 2)


def test_results_that_break_off_are_no_end() -> None:
    line = b'{"id":"1","result":{"n":1}}'
    steps, _, found = play(calls.results(RULES, "t.a"), LOST, Reply(503, {}), ok(), line, b"", line, None)
    assert [type(step) for step in steps] == [Open, Pause, Open, Pause, Open, *[NextLine] * 4]
    assert [(result.id, result.result) for result in found] == [("1", {"n": 1})] * 2
    with pytest.raises(NoAnswer, match="broke off after 1, and are not all: reset"):
        play(calls.results(RULES, "t.a"), ok(), line, LOST)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_cut_by_line_feeds_alone_however_they_come(size: int) -> None:
    text = 'a\r\n\n{"x": "\u2028\x85\x0b"}\nnot whole'.encode()

    def parts() -> Iterator[bytes]:
        for begin in range(0, len(text), size):
            yield text[begin : begin + size]

    lines = Lines()
    found = [line for part in parts() for line in lines.feed(part)]
    assert found == [b"a", b"", '{"x": "\u2028\x85\x0b"}'.encode()]


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (lambda: calls.change(RULES, "t.a", "cancel"), "POST", "/api/v1/batch-jobs/t.a/cancel"),
        (
            lambda: calls.redrive(RULES, "t.a", {"errorClass": ["timeout"]}, "k"),
            "POST",
            "/api/v1/batch-jobs/t.a/redrive",
        ),
        (lambda: calls.change_queue(RULES, "a b", {"paused": True}), "PATCH", "/api/v1/queues/a%20b"),
        (lambda: calls.make_schedule(RULES, "s", {"schedules": []}), "POST", "/api/v1/schedules"),
        (lambda: calls.errors(RULES, "t.a"), "GET", "/api/v1/batch-jobs/t.a/errors"),
    ],
)
def test_each_call_has_its_path(call: Callable[[], Any], method: str, path: str) -> None:
    request = next(call()).request
    assert (request.method, request.path) == (method, path)
    assert request.repeatable == (method == "GET" or "redrive" in path)
