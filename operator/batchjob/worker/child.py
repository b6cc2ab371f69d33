"""A process of a slot's own, seen from inside: it opens the processor, does one attempt after the other, and closes it.

The worker (children.py) is at the other end of a socket. What passes is JSON and msgpack and never a pickle: items and
results are JSON documents already, and outcomes are settled here, so no exception has to survive a journey. The
processor runs in the main thread, outside of the event loop, as in a program of its own. While an attempt goes on, the
child may ask the worker to call the store for it, and tell how far it is.
"""

import asyncio
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from io import BufferedIOBase
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.items import Item, Outcome
from batchjob.core.retry import said, settle
from batchjob.worker.context import Context
from batchjob.worker.execution import per_item, renamed
from batchjob.worker.processor import Processor, has_many_form, make_processor, processor_name
from batchjob.worker.told import Told
from batchjob.worker.traced import name_in_logs

if TYPE_CHECKING:
    from batchjob.store import RunStore

LENGTH: Final = struct.Struct(">Q")  # goes before each message

TELL_SECONDS: Final = 0.1  # between two messages about progress, however often the processor speaks of it
# Calls of the store: bytes or None.
REACHED: Final = frozenset({"ledger_get", "ledger_mark", "ledger_clear", "note", "cache_get", "cache_put"})

T = TypeVar("T")
logger = log.get(__name__)


class Hello(msgspec.Struct, frozen=True):
    """What a child has to know before it can open the processor. It answers with what went wrong, or nothing."""

    run: bytes  # the document, as JSON
    references_dir: str
    log_level: str


class Task(msgspec.Struct, frozen=True):
    """One attempt."""

    items: tuple[Item, ...]
    seconds: float
    lease: tuple[str, int]


class Asked(msgspec.Struct, frozen=True, tag=True):
    """A call of the store, one of REACHED, that the worker is to make; its answer comes back as msgpack."""

    name: str
    arguments: tuple[Any, ...]  # numbers, text and bytes


class News(msgspec.Struct, frozen=True, tag=True):
    """How far items are, by position. It is not answered."""

    told: dict[int, Told]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What became of the attempt, and what the context collected: the last that is said of it."""

    outcomes: list[Outcome]
    usage: dict[str, int]
    parts: dict[str, bytes]
    holds: list[float]  # seconds


_hello: Final = msgspec.json.Decoder(Hello)
_task: Final = msgspec.json.Decoder(Task)


class _Line:
    """The way to the worker during an attempt. Threads share it; one that outlives the attempt finds it closed."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._is_open = False
        self._told: dict[int, Told] | None = None  # what a timer will send

    def open(self) -> None:
        """An attempt begins."""
        self._is_open = True

    def ask(self, name: str, *arguments: int | str | bytes) -> bytes | None:
        """The answer of the store."""
        with self._lock:
            if not self._is_open:
                raise RuntimeError("the attempt is over")
            _send(self._stream, msgspec.msgpack.encode(Asked(name, arguments)))
            answer: bytes | None = msgspec.msgpack.decode(_receive(self._stream) or b"")
            return answer

    def tell(self, told: dict[int, Told]) -> None:
        """Say soon how far the items are: what is in `told` then."""
        if self._told is None:
            self._told = told
            timer = threading.Timer(TELL_SECONDS, self._send_told)
            timer.daemon = True
            timer.start()

    def end(self, answer: Answer) -> None:
        """The attempt is over."""
        with self._lock:
            self._is_open, self._told = False, None
            _send(self._stream, msgspec.msgpack.encode(answer))

    def _send_told(self) -> None:
        told, self._told = self._told, None
        with self._lock:
            if told and self._is_open:
                _send(self._stream, msgspec.msgpack.encode(News(told.copy())))


class _FarStore:
    """The store as far as a context reaches it from here: for the items in hand, by way of the worker."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, bytes | None]]:
        if name not in REACHED:
            raise RuntimeError(
                "the store is out of reach in a process of the processor's own: `results` and `write_manifest` work in "
                "`seal`, or where runs_in is 'thread'"
            )

        async def call(*arguments: int | str | bytes) -> bytes | None:
            return self._line.ask(name, *arguments)

        return call


class _ChildContext(Context):
    """A context at the far end of a line."""

    __slots__ = ("_line",)

    def __init__(self, run: Run, references_dir: Path, line: _Line, task: Task | None = None) -> None:
        items, seconds, lease = (task.items, task.seconds, task.lease) if task else ((), None, ("", 0))
        super().__init__(run, cast("RunStore", _FarStore(line)), references_dir, items, seconds, lease=lease)
        self._line = line

    def tell(self, items: Sequence[Item], fraction: Any, message: Any) -> None:
        """See Context."""
        super().tell(items, fraction, message)
        self._line.tell(self.told)

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """See Context. Nobody here looks at the clock."""
        return asyncio.run(call)


def main() -> None:
    """The life of a child; the socket's number is the first argument."""
    with socket.socket(fileno=int(sys.argv[1])) as line, line.makefile("rwb") as stream:
        threading.Thread(target=_end_with_the_worker, args=(line,), daemon=True).start()
        cast("Any", sys.stdout).reconfigure(line_buffering=True)  # a child that is killed loses what waits in a buffer
        told = _receive(stream)
        if told is not None:
            _live(stream, _hello.decode(told))


def _live(stream: BufferedIOBase, hello: Hello) -> None:
    log.configure(hello.log_level)
    run = Run.model_validate_json(hello.run)
    name_in_logs(run)
    line, references_dir = _Line(stream), Path(hello.references_dir)
    with asyncio.Runner() as runner:
        try:
            processor = make_processor(processor_name(run))
            runner.run(processor.open(_ChildContext(run, references_dir, line)))
        except Exception as error:
            logger.exception("the processor did not open")
            _send(stream, said(error).encode("utf-8", "replace"))
            return
        _send(stream, b"")
        attempt = _Attempts(processor, run)
        while (message := _receive(stream)) is not None:
            task = _task.decode(message)
            line.open()
            line.end(attempt(task.items, _ChildContext(run, references_dir, line, task)))
        try:
            runner.run(processor.close())
        except Exception:
            logger.exception("the processor did not close")


class _Attempts:
    """What `Execution` is in a worker. Nobody here looks at the clock: the worker ends us when the time is over."""

    def __init__(self, processor: Processor, run: Run) -> None:
        self._effective = run.effective
        self._random = Random()  # noqa: S311 - jitter
        self._many = has_many_form(processor)
        self._function: Callable[..., Any] = processor.process_many if self._many else processor.process

    def __call__(self, items: Sequence[Item], context: Context) -> Answer:
        try:
            answer = self._function(items if self._many else items[0], context)
            answers = per_item(items, answer) if self._many else [answer]
        except Exception as error:  # noqa: BLE001 - user code may raise anything; it becomes an outcome
            answers = [error] * len(items)
        except BaseException as error:  # noqa: BLE001 - of sys.exit(), say: it would end the child without a word
            answers = [renamed(error)] * len(items)
        outcomes = [
            settle(item, answer, self._effective, self._random) for item, answer in zip(items, answers, strict=True)
        ]
        return Answer(outcomes, context.usage_sums, context.new_parts, context.holds)


def _end_with_the_worker(line: socket.socket) -> None:
    """Kill this process and what it started once the worker is gone, whatever the main thread is doing."""
    gone = select.poll()
    gone.register(line, 0)  # a hang-up is always told
    gone.poll()
    os.killpg(0, signal.SIGKILL)


def _receive(stream: BufferedIOBase) -> bytes | None:
    """The next message; None where there will be none."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _send(stream: BufferedIOBase, message: bytes) -> None:
    stream.write(LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()
