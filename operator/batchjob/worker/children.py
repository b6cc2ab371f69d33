"""Attempts in processes of their own, for processors that compute: threads would take turns at one CPU.

Each slot has a child at most, made when it is first needed (child.py is its inside). One that is over its time, or
whose items are not wanted any more, is killed with everything it started; one that dies takes the attempt in its hands
along and nothing else, and the slot's next attempt gets a new one. A pool of `concurrent.futures` can do neither: it
cannot end one call, and one dead process breaks it for all. A child ends with the worker, however that ends.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from random import Random
from typing import Final

import msgspec

from batchjob.api.run import Run
from batchjob.api.status import ErrorClass
from batchjob.core.items import Outcome
from batchjob.core.retry import Retry, settle
from batchjob.worker.child import LENGTH, REACHED, Answer, Asked, Hello, News, Task
from batchjob.worker.context import Context
from batchjob.worker.execution import Attempt, Execution
from batchjob.worker.processor import Processor
from batchjob.worker.settings import Settings

# -P: the current directory is no more importable than it is for the worker.
COMMAND: Final = (sys.executable, "-P", "-c", "from batchjob.worker.child import main; main()")
START_SECONDS: Final = 600.0  # for `open` in a child, which may read a large model; no item's time runs meanwhile
CLOSE_SECONDS: Final = 2.0  # for `close` in a child: a pod that has to go has not much more after its grace period

_said: Final = msgspec.msgpack.Decoder(Answer | Asked | News)


class ChildExecution(Execution):
    """Runs attempts of one run's processor in children."""

    def __init__(self, processor: Processor, run: Run, random: Random, settings: Settings) -> None:
        super().__init__(processor, run, random)
        document = run.model_dump_json(by_alias=True, exclude_none=True).encode()
        self._hello = msgspec.json.encode(Hello(document, str(settings.references_dir), settings.log_level))
        self._idle: list[Child] = []
        self._living: set[Child] = set()

    async def __call__(self, attempt: Attempt) -> None:
        """See Execution."""
        try:
            attempt.outcomes = await self._in_a_child(attempt)
        except Exception as error:  # noqa: BLE001 - user code may do anything to its process; it becomes an outcome
            attempt.outcomes = [settle(item, error, self._effective, self._random) for item in attempt.items]

    async def close(self) -> None:
        """End every child."""
        await asyncio.gather(*(child.end() for child in self._living))

    async def _in_a_child(self, attempt: Attempt) -> list[Outcome]:
        child = self._take_idle() or await self._begin(attempt)
        attempt.context = attempt.context.holding(attempt.items, self.seconds)  # its time begins now
        task = msgspec.json.encode(Task(tuple(attempt.items), self.seconds, attempt.context.lease))
        try:
            answer = await attempt.finish(_converse(child, attempt.context, task), self.seconds)
        except BaseException as error:
            child.kill()
            if isinstance(error, TimeoutError):
                raise TimeoutError(self.too_long) from None
            raise
        self._idle.append(child)
        attempt.context.usage_sums.update(answer.usage)
        attempt.context.new_parts.update(answer.parts)
        attempt.context.holds.extend(answer.holds)
        return answer.outcomes

    def _take_idle(self) -> "Child | None":
        while self._idle:
            if (child := self._idle.pop()) in self._living:  # or it died while it had nothing to do: nobody's fault
                return child
        return None

    async def _begin(self, attempt: Attempt) -> "Child":
        try:
            return await attempt.finish(Child.start(self._hello, self._living), START_SECONDS)
        except TimeoutError:
            raise _lost(f"`open` took longer than {START_SECONDS:.0f} s in a process of the processor") from None


async def _converse(child: "Child", context: Context, message: bytes) -> Answer:
    """Give a child its task, serve it, and hear its answer."""
    while True:
        match _said.decode(await child.ask(message)):
            case Answer() as answer:
                return answer
            case News(told):
                context.told.update(told)
                message = b""
            case Asked(name, arguments) if name in REACHED:
                message = msgspec.msgpack.encode(await context.call_store(name, arguments))
            case Asked(name):
                raise RuntimeError(f"a process of the processor's own asked for {name!r}")


class Child:
    """One process, which does one attempt at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        living: set["Child"],
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._living = living
        living.add(self)
        self._death = asyncio.create_task(self._outlive())

    @classmethod
    async def start(cls, hello: bytes, living: set["Child"]) -> "Child":
        """A child that has opened the processor. Raises Retry where it did not."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                number = theirs.fileno()
                process = await asyncio.create_subprocess_exec(
                    *COMMAND, str(number), pass_fds=(number,), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
                )
            except BaseException as error:
                writer.transport.abort()
                if isinstance(error, OSError):
                    raise _lost(f"no process could be started for the processor: {error}") from None
                raise
        child = cls(process, reader, writer, living)
        try:
            complaint = await child.ask(hello)
        except BaseException:
            child.kill()
            raise
        if complaint:  # it ends by itself
            raise _lost(f"`open` failed in a process of the processor: {complaint.decode()}")
        return child

    async def ask(self, message: bytes) -> bytes:
        """The answer. Raises Retry where the child dies over it. With nothing to say: what the child says next."""
        try:
            if message:
                self._writer.write(LENGTH.pack(len(message)) + message)
                await self._writer.drain()
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            raise _lost(_epitaph(await self._process.wait())) from None

    def kill(self) -> None:
        """End it now, and what it started."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # ended meanwhile
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Let it close the processor, unless it is busy, and see it gone."""
        self._writer.write_eof()
        try:
            await asyncio.wait([self._death], timeout=CLOSE_SECONDS)
        finally:
            self.kill()
        await asyncio.wait([self._death], timeout=CLOSE_SECONDS)

    async def _outlive(self) -> None:
        await self._process.wait()
        self._writer.transport.abort()  # what it started may hold its end of the line open
        self._living.discard(self)


def _lost(why: str) -> Retry:
    return Retry(why, error_class=ErrorClass.INFRASTRUCTURE)


def _epitaph(code: int) -> str:
    if code >= 0:
        return f"the processor ended its process with exit code {code}"
    ended = f"the process of the processor was ended by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        ended += " (most likely it was out of memory: raise spec.worker.resources.limits.memory, or lower concurrency)"
    return ended
