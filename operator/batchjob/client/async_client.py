"""`AsyncClient`: the calls (`calls`, `live`), carried out under asyncio: the methods of `Client`, to be awaited."""

import asyncio
import inspect
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import httpx2

from batchjob.client import calls, live, wire
from batchjob.client.bodies import Json, build_body
from batchjob.client.calls import Rules
from batchjob.client.live import Event, Progress
from batchjob.client.retries import Retries
from batchjob.client.steps import Call, Emit, Lines, NextLine, NotAnswered, Open, Pause, Reply, Send, Step, Stream
from batchjob.client.tokens import AsyncToken, build_authorization, read_token
from batchjob.core.answers import Accepted, Errors, FoundJob, Job, JobItem, Queue, Result, Schedule

T = TypeVar("T")


class _Deeds:
    """Carries out the steps of one call; what is open is closed with it."""

    def __init__(self, http: httpx2.AsyncClient, token: AsyncToken) -> None:
        self._http, self._token = http, token
        self._request: httpx2.Request | None = None
        self._response: httpx2.Response | None = None
        self._lines: AsyncIterator[bytes] | None = None

    async def do(self, step: Step) -> Any:
        """Carry one out; what came of it."""
        match step:
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case NextLine():
                return await self._next_line()
            case Send() | Open():
                return await self._send(step)

    async def _send(self, step: Send | Open) -> Reply | NotAnswered:
        await self.close()
        token = read_token(self._token)
        authorization = build_authorization(await token if inspect.isawaitable(token) else token)
        self._request = request = wire.build(self._http, step, authorization)
        try:
            response = await self._http.send(request, stream=True)
            if isinstance(step, Open) and response.status_code == httpx2.codes.OK:
                self._response, self._lines = response, _read_lines(response)
                return wire.reply(response)
            try:
                return wire.reply(response, await response.aread())
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            return wire.not_answered(error, request)

    async def _next_line(self) -> bytes | NotAnswered | None:
        try:
            return await anext(self._lines, None) if self._lines else None
        except httpx2.RequestError as error:
            return wire.not_answered(error, self._request)

    async def close(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response = None


async def _read_lines(response: httpx2.Response) -> AsyncIterator[bytes]:
    lines = Lines()
    async for part in response.aiter_bytes():
        for line in lines.feed(part):
            yield line


class AsyncClient:
    """The HTTP API of a gateway. Close it (`aclose`), or use it as a context.

    The arguments are those of `Client`; what is called for a token may be asynchronous too.
    """

    def __init__(
        self,
        url: str,
        *,
        token: AsyncToken,
        timeout: float = 30.0,
        retries: Retries | None = None,
        verify: Any = True,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._token = token
        self._http = httpx2.AsyncClient(**wire.settings(url, timeout, verify), transport=transport)
        self._rules = Rules(retries or Retries(), time.monotonic, random.random)

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def submit(
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
        """
        key = idempotency_key or (None if fields.get("name") else uuid.uuid4().hex)
        with ExitStack() as stack:
            # In a thread: to pack a million items takes seconds.
            body = await asyncio.to_thread(stack.enter_context, build_body(type, items, fields))
            return await self._run(calls.submit(self._rules, body, key))

    async def get(self, job: str) -> Job:
        """One BatchJob, by its id (`<namespace>.<name>`)."""
        return await self._run(calls.get(self._rules, job))

    def search(self, query: str = "", *, page_size: int = 100) -> AsyncIterator[FoundJob]:
        """Your BatchJobs that a query finds, newest first; admins find everybody's."""
        return self._each(calls.search(self._rules, query, page_size))

    async def wait(self, job: str, timeout: float | None = None) -> Job:  # noqa: ASYNC109 - as Client has it
        """A BatchJob once it has ended, well or not: look at its `state`. WaitTimeout after `timeout` seconds."""
        return await self._run(live.wait(self._rules, job, timeout))

    def progress(self, job: str, timeout: float | None = None) -> AsyncIterator[Progress]:
        """How far a BatchJob is, as that is told, until it has ended."""
        return self._each(live.progress(self._rules, job, timeout))

    def events(self, job: str, *, after: str = "", timeout: float | None = None) -> AsyncIterator[Event]:
        """The live events of a BatchJob, until it has ended; over breaks of the connection each comes once."""
        return self._each(live.follow(self._rules, job, timeout, after))

    def results(self, job: str) -> AsyncIterator[Result]:
        """All results in the store, as they are read. NoAnswer where they break off."""
        return self._each(calls.results(self._rules, job))

    def items(
        self, job: str, status: str = "failed", *, error_class: str | None = None, page_size: int = 100
    ) -> AsyncIterator[JobItem]:
        """Items that failed, or those that `succeeded` and left a result in the store."""
        return self._each(calls.items(self._rules, job, status, error_class, page_size))

    def dead_letters(self, job: str, *, error_class: str | None = None) -> AsyncIterator[JobItem]:
        """Items that were given up, with their data and what was wrong."""
        return self.items(job, "failed", error_class=error_class)

    async def errors(self, job: str) -> Errors:
        """What made items fail, how often, and an example; the most frequent first."""
        return await self._run(calls.errors(self._rules, job))

    async def redrive(self, job: str, which: Json | None = None, *, idempotency_key: str | None = None) -> Accepted:
        """Try its dead letters again, as a BatchJob of their own; `which`: a filter, such as `{"errorClass": […]}`."""
        return await self._run(calls.redrive(self._rules, job, which, idempotency_key or uuid.uuid4().hex))

    async def cancel(self, job: str) -> Accepted:
        """End it as cancelled. There is no way back."""
        return await self._run(calls.change(self._rules, job, "cancel"))

    async def suspend(self, job: str) -> Accepted:
        """Pause it."""
        return await self._run(calls.change(self._rules, job, "suspend"))

    async def resume(self, job: str) -> Accepted:
        """Go on."""
        return await self._run(calls.change(self._rules, job, "resume"))

    async def queues(self) -> list[Queue]:
        """All queues."""
        return await self._run(calls.queues(self._rules))

    async def change_queue(self, name: str, **spec: Any) -> Queue:
        """Change fields of a queue's spec; None takes one away. For admins."""
        return await self._run(calls.change_queue(self._rules, name, spec))

    async def schedules(self) -> list[Schedule]:
        """Your schedules."""
        return await self._run(calls.schedules(self._rules))

    async def make_schedule(self, name: str, **spec: Any) -> Schedule:
        """Make a schedule of a BatchSchedule's spec."""
        return await self._run(calls.make_schedule(self._rules, name, spec))

    async def _run(self, call: Call[T]) -> T:
        deeds, answer = _Deeds(self._http, self._token), None
        try:
            while True:
                answer = await deeds.do(call.send(answer))
        except StopIteration as ended:
            found: T = ended.value
            return found
        finally:
            await deeds.close()

    async def _each(self, stream: Stream[T]) -> AsyncIterator[T]:
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
                    answer = await deeds.do(step)
        finally:
            await deeds.close()
