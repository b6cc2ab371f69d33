"""Follow a BatchJob to its end: by live events, and by asking now and then where those do not come through. Pure.

The stream of events may break at any time: it is opened again with the id of the last event (`Last-Event-ID`), and goes
on after it, so nothing is missed and nothing comes twice. Where it cannot be opened, or stays silent, twice in a row,
something on the way does not let it through: then the BatchJob is asked for, as often as the gateway says
(`Retry-After`), and the stream is tried again between. So is one of which nothing is told for a while: it may have been
deleted, or its end lost. A gateway that does not answer is waited for.
"""

from collections.abc import Generator
from http import HTTPStatus
from typing import Any, Final, TypeGuard

import msgspec

from batchjob.client.calls import Rules, path_of, read
from batchjob.client.errors import NoAnswer, RateLimited, ServerError, WaitTimeout, build_error
from batchjob.client.steps import Call, Emit, NextLine, NotAnswered, Open, Pause, Reply, Request, Send, Step, Stream
from batchjob.core.answers import Job, JobAnswer

SILENCE_SECONDS: Final = 45.0  # the gateway says something every 30
REOPEN_SECONDS: Final = 1.0  # between two openings to have the silence end with the time that is left: as exact as that
BREAK_SECONDS: Final = 1.0  # before a stream that broke off is opened again, at most
POLL_SECONDS: Final = 2.0  # between two questions, where the gateway does not say
QUIET_SECONDS: Final = 60.0  # without an event, though heartbeats come, before it is asked for
MOST_POLLS: Final = 16  # before the stream is tried again
FRUITLESS: Final = 2  # openings in a row, after which it is asked for
PATIENCE_SECONDS: Final = 300.0  # with a gateway that does not answer: one that is replaced is back by then
_ENDS: Final = {"succeeded": "batch:complete", "failed": "batch:error", "cancelled": "batch:cancelled"}
ENDS: Final = frozenset(_ENDS.values())
_Part = Generator[Step | Emit["Event"], Any, bool]  # of following; whether that was the end


class Event(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A live event; docs/how-to/watch-live.md has the types. What was asked for and not told has no `id`."""

    type: str
    time: str = ""
    id: str = ""
    job_id: str = ""
    seq: int = 0
    data: dict[str, Any] = {}


class Progress(msgspec.Struct, frozen=True):
    """How far a BatchJob is. `total` is None while its source is loaded."""

    percent: float
    processed: int
    total: int | None
    item: str | None = None
    message: str | None = None


class Frames:
    """Server-Sent Events out of lines."""

    def __init__(self) -> None:
        self._data: list[bytes] = []

    def feed(self, line: bytes) -> Event | None:
        """The event that is whole with this line."""
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        data, self._data = b"\n".join(self._data), []
        return read(Reply(200, {}, data), Event) if data else None


class _Follower:
    """Where it is in the events of one BatchJob."""

    def __init__(self, rules: Rules, job: str, timeout: float | None, after: str = "") -> None:
        self._rules, self._job, self._last = rules, job, after
        self._heard = self._spoken_of = rules.clock()
        self._ends = None if timeout is None else self._heard + timeout
        self._timeout = timeout
        self._fruitless = 0  # openings in a row that brought no line
        self._told = False  # the last one brought an event
        self._seen: tuple[Any, ...] = ()  # what the last question brought
        self._after = POLL_SECONDS  # as long it said to wait before the next

    def run(self) -> Stream[Event]:
        """Its events, to the last."""
        while not (yield from self._listen()):
            if self._fruitless < FRUITLESS and not self._is_quiet():
                yield self.pause(self._rules.chance() * BREAK_SECONDS if self._told else POLL_SECONDS)
                continue
            for _ in range(min(2**self._fruitless, MOST_POLLS)):
                if (yield from self._ask()):
                    return

    def _listen(self) -> _Part:
        """Events, as long as the stream lasts."""
        opened, self._told = self._rules.clock(), False
        silence = min(SILENCE_SECONDS, self._left())
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last} if self._last else {})
        outcome = yield Open(Request("GET", path_of(self._job, "events"), headers=headers), silence)
        self._fruitless += 1  # until something comes
        if isinstance(outcome, Reply) and outcome.status == HTTPStatus.NO_CONTENT:
            return True
        if not self._check(outcome) or not outcome.headers.get("content-type", "").startswith("text/event-stream"):
            return False
        frames = Frames()
        while isinstance(line := (yield NextLine()), bytes):
            self._heard, self._fruitless = self._rules.clock(), 0
            event = frames.feed(line)
            if event is not None:
                self._told, self._last, self._spoken_of = True, event.id or self._last, self._heard
                yield Emit(event)
                if event.type in ENDS:
                    return True
            left = self._left()
            if (left < silence and self._rules.clock() - opened >= REOPEN_SECONDS) or self._is_quiet():
                break
        return False

    def _is_quiet(self) -> bool:
        """Whether nothing was said of it for so long that it is to be asked for."""
        return self._rules.clock() - self._spoken_of >= QUIET_SECONDS

    def _ask(self) -> _Part:
        """What there is to say without the stream, and a pause."""
        job = yield from self.look()
        self._spoken_of = self._rules.clock()
        if job.ended or self._seen != (job.progress, job.counts):
            self._seen = job.progress, job.counts
            yield Emit(build_event(job))
        if not job.ended:
            yield self.pause()
        return job.ended

    def look(self) -> Call[Job]:
        """The BatchJob, once the gateway answers."""
        while True:
            outcome = yield Send(Request("GET", path_of(self._job)))
            told = outcome.retry_after() if isinstance(outcome, Reply) else None
            self._after = POLL_SECONDS if told is None else told
            if self._check(outcome):
                return read(outcome, JobAnswer).job
            yield self.pause()

    def pause(self, seconds: float | None = None) -> Pause:
        """As long, or as long as the gateway said; at most until the time is up."""
        return Pause(min(self._after if seconds is None else seconds, self._left()))

    def _left(self) -> float:
        """Seconds until the time is up; WaitTimeout once it is."""
        left = float("inf") if self._ends is None else self._ends - self._rules.clock()
        if left <= 0:
            raise WaitTimeout(f"{self._job} had not ended within {self._timeout:g} s")
        return left

    def _check(self, outcome: Reply | NotAnswered) -> TypeGuard[Reply]:
        """Whether it is an answer; raises what no waiting helps against, or what has been waited for too long."""
        if isinstance(outcome, Reply) and outcome.status == HTTPStatus.OK:
            self._heard = self._rules.clock()
            return True
        error = build_error(outcome)
        passes = isinstance(error, NoAnswer | RateLimited | ServerError)
        if not passes or self._rules.clock() - self._heard > PATIENCE_SECONDS:
            raise error
        return False


def build_event(job: Job) -> Event:
    """What an event would have said of a BatchJob that was asked for."""
    counts = job.counts
    told = {"jobId": job.id, "processed": counts.succeeded + counts.failed, "total": counts.total or None}
    if job.ended:
        return Event(type=_ENDS[job.state], job_id=job.id, data={"jobId": job.id, "result": told})
    return Event(type="batch:progress", job_id=job.id, data=told | {"progress": job.progress})


def follow(rules: Rules, job: str, timeout: float | None, after: str = "") -> Stream[Event]:
    """The events of a BatchJob, to the last. `after`: the id of an event, to go on after it."""
    return _Follower(rules, job, timeout, after).run()


def progress(rules: Rules, job: str, timeout: float | None) -> Stream[Progress]:
    """How far a BatchJob is, each time that it is told, and at the end."""
    events, answer = follow(rules, job, timeout), None
    while (step := _next(events, answer)) is not None:
        told = read_progress(step.value) if isinstance(step, Emit) else None
        answer = None
        if not isinstance(step, Emit):
            answer = yield step
        elif told is not None:
            yield Emit(told)


def _next(events: Stream[Event], answer: Any) -> Step | Emit[Event] | None:
    """Its next step; None: there is none."""
    try:
        return events.send(answer)
    except StopIteration:
        return None


def read_progress(event: Event) -> Progress | None:
    """How far it is by an event; None: it does not say."""
    data = event.data
    if event.type == "batch:progress":
        return Progress(
            data.get("progress", 0.0),
            data.get("processed", 0),
            data.get("total"),
            data.get("item"),
            data.get("message"),
        )
    result = data.get("result") if event.type in ENDS else None
    if not isinstance(result, dict):
        return None
    processed, total = result.get("processed", 0), result.get("total")
    return Progress(100.0 if processed == total else round(100.0 * processed / (total or 1), 1), processed, total)


def wait(rules: Rules, job: str, timeout: float | None) -> Call[Job]:
    """A BatchJob once it has ended. WaitTimeout where that takes too long."""
    follower = _Follower(rules, job, timeout)
    found = yield from follower.look()
    if found.ended:
        return found
    events, answer = follower.run(), None
    while (step := _next(events, answer)) is not None:
        answer = None if isinstance(step, Emit) else (yield step)
    while not (found := (yield from follower.look())).ended:  # the event came before the BatchJob says so
        yield follower.pause()
    return found
