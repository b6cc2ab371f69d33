"""Processors: what a run does with its items. Subclass `Processor` and register it by entry point.

    [project.entry-points."batchjob.processors"]
    my-name = "my_package:MyProcessor"

The processors that ship with BatchJob use no other door.
"""

import inspect
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from batchjob import log
from batchjob.api.run import Run
from batchjob.api.v1alpha1 import JobType
from batchjob.core.items import Item
from batchjob.errors import ConfigurationError

if TYPE_CHECKING:
    from batchjob.worker.context import Context

GROUP: Final = "batchjob.processors"

Place = Literal["thread", "process"]

logger = log.get(__name__)


class Sealed(NamedTuple):
    """What a run wrote: the URL of its manifest and the manifest's SHA-256 in hex."""

    uri: str
    manifest_sha256: str


class Processor:
    """Base class. Made without arguments, once a pod; override `process` or `process_many`, not both.

    Either may be an `async def`, or a plain `def`, which may block: it runs in a thread of its own, or in a process
    where `runs_in` says so. `spec.concurrency` is how many items a pod has in hand at once, and so how many calls of
    `process` go on side by side, on one instance.
    """

    # How many items process_many wants at once, from 1; None: the engine's choice. May be set in `open`.
    chunk_items: int | None = None

    # The most that one call of process_many gets of them. None: chunk_items. May be set in `open`.
    call_items: int | None = None

    # Where a plain `def` runs. "process" is for code that computes, since threads take turns at one CPU: the worker
    # keeps a process for each call that goes on, at most `spec.concurrency` of them. Each makes an instance of its
    # own, opens and closes it; the instance in the worker is opened too, for `seal` and `chunk_items`.
    #
    # - `context` has there all but `results` and `write_manifest`, which raise RuntimeError. (`ledger` and `note` go
    #   by way of the worker, while an item is in hand.) What `usage` and `part` collect arrives when the call ends.
    # - Nothing has to be picklable: items and results are JSON documents, and exceptions become outcomes there.
    # - Over `itemTimeoutSeconds`, or not wanted any more, a process is killed with whatever it started. One that dies
    #   (a crash, no memory) costs its items one attempt, of class infrastructure, and no others anything.
    runs_in: Place = "thread"

    async def open(self, context: "Context") -> None:
        """Prepare, once a pod, before anything else; no item is in hand.

        Raises:
            ConfigurationError: ends the run as failed, with the message: the same pod would fail again.
            Exception: anything else ends the pod; another one tries again, with growing waits.
        """

    def process(self, item: Item, context: "Context") -> Any:
        """Do one item within `spec.itemTimeoutSeconds`; return its result, or None.

        `item.data` is the record as JSON has it: a dict of dicts, lists, strings, numbers, booleans and None. The
        result may be anything that JSON can hold (a dict, say), dataclasses and dates included.

        Raises:
            Retry: try again later.
            Fail: give the item up.
            Cancel: the item is not to be done any more.
            TimeoutError: tried again, as of class timeout.
            Exception: anything else is tried again, as of class internal, until the attempts are spent.
        """
        raise NotImplementedError

    def process_many(self, items: Sequence[Item], context: "Context") -> Any:
        """Do several items at once within `spec.itemTimeoutSeconds`; return one answer an item, in order.

        An answer is what `process` would return, or an exception it would raise, or an outcome. An exception raised
        stands for all of them, as does the ValueError for a wrong number of answers. Items that are tried again may
        come back in other company, or alone.
        """
        raise NotImplementedError

    async def seal(self, context: "Context") -> Sealed | None:
        """Finish, once a run, in one pod, when every item is terminal; may be called again after a crash.

        Return what was written: it is then all that is written. None: the results go to `spec.results.destination`,
        where there is one. A processor without a `seal` has them written there while the run goes on, too.

        Raises:
            Fail, ConfigurationError: ends the run as failed, with the message.
            Exception: anything else is tried again, `retry.maxAttempts` times in all.
        """

    async def close(self) -> None:
        """Let go of what `open` took. What it raises is logged and changes nothing."""


def processor_name(run: Run) -> str:
    """The entry point that a run names: its type's, or for type custom the one it chose."""
    if run.spec.type is not JobType.CUSTOM:
        return str(run.spec.type)
    if run.spec.custom is None:
        raise ConfigurationError("spec.custom is missing")
    return run.spec.custom.processor


def make_processor(name: str) -> Processor:
    """The processor of that name in this image; ConfigurationError where there is none or it cannot be loaded."""
    # Of two with one name, the first on the import path, as with modules.
    found: dict[str, EntryPoint] = {point.name: point for point in reversed(list(entry_points(group=GROUP)))}
    if name not in found:
        has = ", ".join(sorted(found)) or "none"
        field = "spec.type" if name in set(JobType) else "spec.custom.processor"
        said = f"{field}: this worker image has no processor {name!r}; it has: {has}"
        raise ConfigurationError(f"{said}. Name one of these, or an image that has it in spec.worker.image")
    try:
        processor = found[name].load()()
    except (Exception, SystemExit) as error:
        log_trace(f"processor {name!r} cannot be loaded", error)
        raise ConfigurationError(f"processor {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(processor, Processor) or not (has_one_form(processor) or has_many_form(processor)):
        raise ConfigurationError(f"processor {name!r} must be a Processor with `process` or `process_many`")
    for method in (processor.open, processor.seal, processor.close):
        if not inspect.iscoroutinefunction(method):
            raise ConfigurationError(f"processor {name!r}: `{method.__name__}` must be an `async def`")
    _check_place(name, processor)
    return processor


def _check_place(name: str, processor: Processor) -> None:
    if processor.runs_in not in get_args(Place):
        raise ConfigurationError(f"processor {name!r}: runs_in is {processor.runs_in!r}: use 'thread' or 'process'")
    function = processor.process_many if has_many_form(processor) else processor.process
    if processor.runs_in == "process" and inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"processor {name!r}: `{function.__name__}` must be a plain `def`, because runs_in is 'process'"
        )


def log_trace(event: str, error: BaseException) -> None:
    """Show the author of a processor where it failed; from the first line on that is not of the caller."""
    trace = error.__traceback__
    logger.error(event, exc_info=(type(error), error, trace.tb_next if trace else None))


def seals_itself(processor: Processor) -> bool:
    """Whether it may write all that is written: nothing is sealed before it has said so."""
    return type(processor).seal is not Processor.seal


def has_one_form(processor: Processor) -> bool:
    """Whether it does one item at a time."""
    return type(processor).process is not Processor.process


def has_many_form(processor: Processor) -> bool:
    """Whether it does several items at once."""
    return type(processor).process_many is not Processor.process_many
