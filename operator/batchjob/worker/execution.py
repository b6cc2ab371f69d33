"""One attempt: items through the processor under a time limit, and what became of them as outcomes.

A coroutine that takes too long is cancelled. A plain `def` runs in a thread of its own, so that it may block; Python
cannot stop a thread, so one that outlives its limit goes on in vain, and its place stays taken until it ends. (One that
asked for a process runs in children.py, and is killed.)
"""

import asyncio
import contextlib
import contextvars
import inspect
import threading
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

from batchjob.api.run import Run
from batchjob.core.items import Item, Outcome
from batchjob.core.retry import settle
from batchjob.worker.context import Context
from batchjob.worker.processor import Processor, has_many_form

T = TypeVar("T")


class Attempt:
    """Items that go through the processor together; `abandon` ends it early, and its outcomes are void then."""

    __slots__ = ("_cut", "_task", "abandoned", "context", "items", "outcomes", "straggler", "tokens")

    def __init__(self, items: Sequence[Item], context: Context) -> None:
        self.items = items
        self.context = context
        self.outcomes: list[Outcome] = []
        self.abandoned = False
        self.straggler: asyncio.Future[Any] | None = None  # a thread that outlived its limit
        self.tokens = 0  # that the limits have counted for it beforehand
        self._cut = False
        self._task: asyncio.Task[Any] | None = None

    def abandon(self) -> None:
        """Cut it off now."""
        self.abandoned = True
        self.context.end()
        self._end()

    async def finish(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """The answer of a coroutine; TimeoutError after so many seconds, or when abandoned.

        What `asyncio.timeout` does, but leaner, since this runs for every item: one that never waits takes no timer.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        try:
            waits_for = coroutine.send(None)
        except StopIteration as end:
            answer: T = end.value
            return answer
        self._task = task = _current_task()
        timer = loop.call_at(ends, self._end)
        try:
            return await _rest(coroutine, waits_for)
        except asyncio.CancelledError:
            if self._cut and task.cancelling() == 1:  # nobody but us
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
            self._task = None
            if self._cut:
                task.uncancel()

    def _end(self) -> None:
        if self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()


class Execution:
    """Runs attempts of one run's processor."""

    def __init__(self, processor: Processor, run: Run, random: Random) -> None:
        self.many = has_many_form(processor)
        self.seconds = run.effective.item_timeout_seconds
        self._effective = run.effective
        self._random = random
        self._function: Callable[..., Any] = processor.process_many if self.many else processor.process
        self._is_coroutine = inspect.iscoroutinefunction(self._function)

    async def __call__(self, attempt: Attempt) -> None:
        """Make the attempt; fills `outcomes`, one an item. Raises only CancelledError, when the worker itself ends."""
        try:
            answer = await self._answer(attempt)
            answers = per_item(attempt.items, answer) if self.many else [answer]
        except Exception as error:  # noqa: BLE001 - user code may raise anything; it becomes an outcome
            answers = [error] * len(attempt.items)
        except SystemExit as error:  # would else end the pod with a code of the item's choosing
            answers = [renamed(error)] * len(attempt.items)
        except asyncio.CancelledError:
            if _current_task().cancelling():
                raise
            answers = [RuntimeError("the processor cancelled itself")] * len(attempt.items)
        attempt.outcomes = [
            settle(item, answer, self._effective, self._random)
            for item, answer in zip(attempt.items, answers, strict=True)
        ]

    @property
    def too_long(self) -> str:
        """What is said of an attempt that was cut off."""
        return f"took longer than {self.seconds} s (itemTimeoutSeconds)"

    async def close(self) -> None:
        """Let go of what the attempts needed."""

    async def _answer(self, attempt: Attempt) -> Any:
        argument = attempt.items if self.many else attempt.items[0]
        try:
            if self._is_coroutine:
                return await attempt.finish(self._function(argument, attempt.context), self.seconds)
            thread = in_thread(self._function, argument, attempt.context)
            try:
                return await attempt.finish(_outlived_by(thread), self.seconds)
            finally:
                attempt.straggler = None if thread.done() else thread
        except TimeoutError as error:
            if attempt.context.seconds_left > 0:
                raise  # the processor's own
            raise TimeoutError(self.too_long) from error


def per_item(items: Sequence[Item], answer: Any) -> list[Any]:
    """What process_many answered, one an item."""
    answers = list(answer)
    if len(answers) != len(items):
        raise ValueError(f"process_many gave {len(answers)} answers for {len(items)} items")
    return answers


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine that has begun: what `await` does, from its second step on."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - into the coroutine, whose matter it is
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, sent)
        try:
            waits_for = step()
        except StopIteration as end:
            answer: T = end.value
            return answer


async def _outlived_by(thread: asyncio.Future[T]) -> T:
    return await asyncio.shield(thread)


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:  # pragma: no cover - a coroutine of ours always runs in one
        raise RuntimeError("no task is running")
    return task


def renamed(error: BaseException) -> RuntimeError:
    """An error that may go on its way through futures and tasks, in the place of one that means something to them."""
    return RuntimeError(f"the processor raised {type(error).__name__}: {error}".rstrip(": "))


def in_thread(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Run a function in a thread of its own that does not keep the process alive (an executor's threads would)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # a straggler's is nobody's

    def settle_future(answer: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(answer)  # type: ignore[arg-type]  # None is a T where the function returns it
        else:
            future.set_exception(error)

    def run() -> None:
        answer: T | None = None
        failure: Exception | None = None
        try:
            answer = function(*arguments)
        except StopIteration as error:  # no future takes one
            failure = renamed(error)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits
            failure = error
        except BaseException as error:  # noqa: BLE001 - of sys.exit(), say: it would end the thread without a word
            failure = renamed(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(settle_future, answer, failure)

    # In our context: what it logs says which run it is about.
    inside = contextvars.copy_context()
    threading.Thread(target=inside.run, args=(run,), name="processor", daemon=True).start()
    return future
