"""The calls of the API, each a generator of steps (`steps`): what is sent, what is repeated, what is read. Pure."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from batchjob.client.bodies import Json, Packed
from batchjob.client.errors import NoAnswer, build_error
from batchjob.client.retries import Retries, pause_after
from batchjob.client.steps import Call, Emit, NextLine, NotAnswered, Open, Pause, Reply, Request, Send, Stream
from batchjob.core.answers import (
    Accepted,
    Errors,
    FoundJob,
    ItemPage,
    Job,
    JobAnswer,
    JobItem,
    JobPage,
    Queue,
    QueueAnswer,
    QueuesAnswer,
    Result,
    Schedule,
    ScheduleAnswer,
    SchedulesAnswer,
)

T = TypeVar("T")
JSON: Final = {"Content-Type": "application/json"}
JOBS: Final = "/api/v1/batch-jobs"
QUEUES: Final = "/api/v1/queues"
SCHEDULES: Final = "/api/v1/schedules"
SILENCE_SECONDS: Final = 60.0  # of results: the store may have to look for the next one


class Rules(NamedTuple):
    """What calls decide by: how to repeat, a clock, and chance."""

    retries: Retries
    clock: Callable[[], float]
    chance: Callable[[], float]


def ask(rules: Rules, request: Request) -> Call[Reply]:
    """The answer to a request, sent again as the rules have it; ClientError says why there is none."""
    tried = 0
    while True:
        outcome = yield Send(request)
        tried += 1
        if isinstance(outcome, Reply) and outcome.status < HTTPStatus.MULTIPLE_CHOICES:
            return outcome
        pause = pause_after(rules.retries, tried, request, outcome, rules.chance())
        if pause is None:
            raise build_error(outcome)
        yield Pause(pause)


def read(reply: Reply, kind: type[T]) -> T:
    """What an answer says."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(f"what answered is no BatchJob gateway, or one that is not understood: {error}") from None


def path_of(job: str, room: str = "") -> str:
    """The path of a BatchJob, or of what is in it."""
    return f"{JOBS}/{quote(job, safe='')}" + (f"/{room}" if room else "")


def build_post(path: str, body: Json, key: str | None = None, method: str = "POST") -> Request:
    """A request with a body. NaN is no JSON: ValueError."""
    headers = JSON | ({"Idempotency-Key": key} if key else {})
    return Request(method, path, headers=headers, body=json.dumps(body, allow_nan=False).encode())


def submit(rules: Rules, body: bytes | Packed, key: str | None) -> Call[Accepted]:
    """Make a BatchJob (`bodies`); the same key on each repetition."""
    lines = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    headers = (lines if isinstance(body, Packed) else JSON) | ({"Idempotency-Key": key} if key else {})
    return read((yield from ask(rules, Request("POST", JOBS, headers=headers, body=body))), Accepted)


def get(rules: Rules, job: str) -> Call[Job]:
    """One BatchJob."""
    return read((yield from ask(rules, Request("GET", path_of(job)))), JobAnswer).job


def change(rules: Rules, job: str, verb: str) -> Call[Accepted]:
    """Cancel, suspend or resume."""
    return read((yield from ask(rules, Request("POST", path_of(job, verb)))), Accepted)


def redrive(rules: Rules, job: str, which: Json | None, key: str) -> Call[Accepted]:
    """Try dead letters again, as a BatchJob of their own."""
    body = {"filter": which} if which else {}
    return read((yield from ask(rules, build_post(path_of(job, "redrive"), body, key))), Accepted)


def search(rules: Rules, query: str, page_size: int) -> Stream[FoundJob]:
    """BatchJobs, page after page."""
    params: dict[str, str | int] = {"q": query, "limit": page_size}
    cursor: str | None = ""
    while cursor is not None:
        asked = Request("GET", JOBS, params | ({"cursor": cursor} if cursor else {}))
        page = read((yield from ask(rules, asked)), JobPage)
        for job in page.jobs:
            yield Emit(job)
        cursor = page.next


def items(rules: Rules, job: str, status: str, error_class: str | None, page_size: int) -> Stream[JobItem]:
    """Items, page after page."""
    params: dict[str, str | int] = {"status": status, "limit": page_size}
    if error_class:
        params["errorClass"] = error_class
    cursor: int | None = 0
    while cursor is not None:
        reply = yield from ask(rules, Request("GET", path_of(job, "items"), params | {"cursor": cursor}))
        page = read(reply, ItemPage)
        for item in page.items:
            yield Emit(item)
        cursor = page.next


def errors(rules: Rules, job: str) -> Call[Errors]:
    """What made items fail."""
    return read((yield from ask(rules, Request("GET", path_of(job, "errors")))), Errors)


def results(rules: Rules, job: str) -> Stream[Result]:
    """All results, as they come. NoAnswer where they break off: what came until then is not all of it."""
    request, tried = Request("GET", path_of(job, "results")), 0
    while True:
        outcome = yield Open(request, SILENCE_SECONDS)
        tried += 1
        if isinstance(outcome, Reply) and outcome.status == HTTPStatus.OK:
            break
        pause = pause_after(rules.retries, tried, request, outcome, rules.chance())
        if pause is None:
            raise build_error(outcome)
        yield Pause(pause)
    number = 0
    while (line := (yield NextLine())) is not None:
        if isinstance(line, NotAnswered):
            raise NoAnswer(f"the results broke off after {number}, and are not all: {line.why}")
        if line:
            yield Emit(read(Reply(200, {}, line), Result))
            number += 1


def queues(rules: Rules) -> Call[list[Queue]]:
    """All queues."""
    return read((yield from ask(rules, Request("GET", QUEUES))), QueuesAnswer).queues


def change_queue(rules: Rules, name: str, spec: Json) -> Call[Queue]:
    """Change what is named of a queue's spec."""
    request = build_post(f"{QUEUES}/{quote(name, safe='')}", spec, method="PATCH")
    return read((yield from ask(rules, request)), QueueAnswer).queue


def schedules(rules: Rules) -> Call[list[Schedule]]:
    """One's schedules."""
    return read((yield from ask(rules, Request("GET", SCHEDULES))), SchedulesAnswer).schedules


def make_schedule(rules: Rules, name: str, spec: Json) -> Call[Schedule]:
    """Make a schedule."""
    return read((yield from ask(rules, build_post(SCHEDULES, {"name": name, **spec}))), ScheduleAnswer).schedule
