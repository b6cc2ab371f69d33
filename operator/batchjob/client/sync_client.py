"""`Client`: the calls (`calls`, `live`), carried out by a blocking httpx2."""

import random
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Self, TypeVar

import httpx2

from batchjob.client import calls, live, wire
from batchjob.client.bodies import Json, build_body
from batchjob.client.calls import Rules
from batchjob.client.live import Event, Progress
from batchjob.client.retries import Retries
from batchjob.client.steps import Call, Emit, Lines, NextLine, NotAnswered, Open, Pause, Reply, Send, Step, Stream
from batchjob.client.tokens import Token, build_authorization, read_token
from batchjob.core.answers import Accepted, Errors, FoundJob, Job, JobItem, Queue, Result, Schedule

T = TypeVar("T")


class _Deeds:
    """Carries out the steps of one call; what is open is closed with it."""

    def __init__(self, http: httpx2.Client, token: Token) -> None:
        self._http, self._token = http, token
        self._request: httpx2.Request | None = None
        self._response: httpx2.Response | None = None
        self._lines: Iterator[bytes] = iter(())

    def do(self, step: Step) -> Any:
        """Carry one out; what came of it."""
        match step:
            case Pause(seconds):
                return time.sleep(seconds)
            case NextLine():
                return self._next_line()
            case Send() | Open():
                return self._send(step)

    def _send(self, step: Send | Open) -> Reply | NotAnswered:
        self.close()
        self._request = request = wire.build(self._http, step, build_authorization(read_token(self._token)))
        try:
            response = self._http.send(request, stream=True)
            if isinstance(step, Open) and response.status_code == httpx2.codes.OK:
                self._response, self._lines = response, _read_lines(response)
                return wire.reply(response)
            try:
                return wire.reply(response, response.read())
            finally:
                response.close()
        except httpx2.RequestError as error:
            return wire.not_answered(error, request)

    def _next_line(self) -> bytes | NotAnswered | None:
        try:
            return next(self._lines, None)
        except httpx2.RequestError as error:
            return wire.not_answered(error, self._request)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _read_lines(response: httpx2.Response) -> Iterator[bytes]:
    lines = Lines()
    for part in response.iter_bytes():
        yield from lines.feed(part)


class Client:
    """The HTTP API of a gateway. Close it, or use it as a context; it may be shared by threads.

    `token`: a text, a `Path` to a file that is read with each request (the token of a ServiceAccount changes), or
    something that is called for it. `timeout`: seconds for an answer. `verify`: an `ssl.SSLContext` with the
    certificates to trust; default: the system's. Errors are `batchjob.client.errors.ClientError`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        timeout: float = 30.0,
        retries: Retries | None = None,
        verify: Any = True,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._token = token
        self._http = httpx2.Client(**wire.settings(url, timeout, verify), transport=transport)
        self._rules = Rules(retries or Retries(), time.monotonic, random.random)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def submit(
        self,
        type: str,  # noqa: A002 - its name in the API
        *,
        items: Iterable[Json | tuple[str, Json]] | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Accepted:
        """Make a BatchJob. It is durable once this returns.

        `items`: `{"id": …, "data": {…}}` each, or pairs of id and data, any number, read once; else `source`.
        `fields`: those of a BatchJob's spec, by their names there (`aiBatch=…`, `source=…`, `priority=3`), `name` and
        `labels`.
        Without a `name` it gets one that follows from the idempotency key, which is made up here and the same on each
        repetition: there is one BatchJob, however often the request had to be sent.
        """
        key = idempotency_key or (None if fields.get("name") else uuid.uuid4().hex)
        with build_body(type, items, fields) as body:
            return self._run(calls.submit(self._rules, body, key))

    def get(self, job: str) -> Job:
        """One BatchJob, by its id (`<namespace>.<name>`)."""
        return self._run(calls.get(self._rules, job))

    def search(self, query: str = "", *, page_size: int = 100) -> Iterator[FoundJob]:
        """Your BatchJobs that a query finds, newest first; admins find everybody's."""
        return self._each(calls.search(self._rules, query, page_size))

    def wait(self, job: str, timeout: float | None = None) -> Job:
        """A BatchJob once it has ended, well or not: look at its `state`. WaitTimeout after `timeout` seconds."""
        return self._run(live.wait(self._rules, job, timeout))

    def progress(self, job: str, timeout: float | None = None) -> Iterator[Progress]:
        """How far a BatchJob is, as that is told, until it has ended."""
        return self._each(live.progress(self._rules, job, timeout))

    def events(self, job: str, *, after: str = "", timeout: float | None = None) -> Iterator[Event]:
        """The live events of a BatchJob, until it has ended; over breaks of the connection each comes once."""
        return self._each(live.follow(self._rules, job, timeout, after))

    def results(self, job: str) -> Iterator[Result]:
        """All results in the store, as they are read. NoAnswer where they break off."""
        return self._each(calls.results(self._rules, job))

    def items(
        self, job: str, status: str = "failed", *, error_class: str | None = None, page_size: int = 100
    ) -> Iterator[JobItem]:
        """Items that failed, or those that `succeeded` and left a result in the store."""
        return self._each(calls.items(self._rules, job, status, error_class, page_size))

    def dead_letters(self, job: str, *, error_class: str | None = None) -> Iterator[JobItem]:
        """Items that were given up, with their data and what was wrong."""
        return self.items(job, "failed", error_class=error_class)

    def errors(self, job: str) -> Errors:
        """What made items fail, how often, and an example; the most frequent first."""
        return self._run(calls.errors(self._rules, job))

    def redrive(self, job: str, which: Json | None = None, *, idempotency_key: str | None = None) -> Accepted:
        """Try its dead letters again, as a BatchJob of their own; `which`: a filter, such as `{"errorClass": […]}`."""
        return self._run(calls.redrive(self._rules, job, which, idempotency_key or uuid.uuid4().hex))

    def cancel(self, job: str) -> Accepted:
        """End it as cancelled. There is no way back."""
        return self._run(calls.change(self._rules, job, "cancel"))

    def suspend(self, job: str) -> Accepted:
        """Pause it."""
        return self._run(calls.change(self._rules, job, "suspend"))

    def resume(self, job: str) -> Accepted:
        """Go on."""
        return self._run(calls.change(self._rules, job, "resume"))

    def queues(self) -> list[Queue]:
        """All queues."""
        return self._run(calls.queues(self._rules))

    def change_queue(self, name: str, **spec: Any) -> Queue:
        """Change fields of a queue's spec; None takes one away. For admins."""
        return self._run(calls.change_queue(self._rules, name, spec))

    def schedules(self) -> list[Schedule]:
        """Your schedules."""
        return self._run(calls.schedules(self._rules))

    def make_schedule(self, name: str, **spec: Any) -> Schedule:
        """Make a schedule of a BatchSchedule's spec."""
        return self._run(calls.make_schedule(self._rules, name, spec))

    def _run(self, call: Call[T]) -> T:
        deeds, answer = _Deeds(self._http, self._token), None
        try:
            while True:
                answer = deeds.do(call.send(answer))
        except StopIteration as ended:
            found: T = ended.value
            return found
        finally:
            deeds.close()

    def _each(self, stream: Stream[T]) -> Iterator[T]:
        deeds, answer = _Deeds(self._http, self._token), None
        try:
            while True:
                try:
                    step = stream.send(answer)
                except StopIteration:
                    return
                answer = None
                if isinstance(step, Emit):
                    yield step.value
                else:
                    answer = deeds.do(step)
        finally:
            deeds.close()
