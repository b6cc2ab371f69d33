"""Processors: what a run does with its items. Subclass `Processor` and register it by entry point.

    [project.entry-points."batchjob.processors"]
    my-name = "my_package:MyProcessor"

The processors that ship with BatchJob use no other door.
"""

import inspect
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from batchjob.api.run import Run
from batchjob.api.v1alpha1 import JobType
from batchjob.core.items import Item
from batchjob.errors import ConfigurationError

if TYPE_CHECKING:
    from batchjob.worker.context import Context

GROUP: Final = "batchjob.processors"


class Sealed(NamedTuple):
    """What a run wrote: the URL of its manifest and the manifest's SHA-256 in hex."""

    uri: str
    manifest_sha256: str


class Processor:
    """Base class. Made without arguments, once a pod; override `process` or `process_many`.

    Either may be a plain `def`: it then runs in a thread of its own, so that it may block.
    """

    # How many items process_many wants at once; None: the engine's choice. May be set in `open`.
    chunk_items: int | None = None

    async def open(self, context: "Context") -> None:
        """Prepare, once a pod. ConfigurationError ends the run: the same pod would fail again."""

    def process(self, item: Item, context: "Context") -> Any:
        """Do one item; return its result as a JSON document (a dict, say) or None.

        Raises:
            Retry: try again later.
            Fail: give the item up.
            Cancel: the item is not to be done any more.
            Exception: anything else is tried again until the attempts are spent.
        """
        raise NotImplementedError

    def process_many(self, items: Sequence[Item], context: "Context") -> Any:
        """Do several items at once; return one answer an item, in order.

        An answer is what `process` would return, or an exception it would raise, or an outcome. An exception raised
        stands for all of them.
        """
        raise NotImplementedError

    async def seal(self, context: "Context") -> Sealed | None:
        """Finish, once a run, in one pod, when every item is terminal; may be called again after a crash.

        Return what was written: it is then all that is written. None: the results go to `spec.results.destination`,
        where there is one. A processor without a `seal` has them written there while the run goes on, too.
        """

    async def close(self) -> None:
        """Let go of what `open` took."""


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
    except Exception as error:
        raise ConfigurationError(f"processor {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(processor, Processor) or not (has_one_form(processor) or has_many_form(processor)):
        raise ConfigurationError(f"processor {name!r} must be a Processor with `process` or `process_many`")
    for method in (processor.open, processor.seal, processor.close):
        if not inspect.iscoroutinefunction(method):
            raise ConfigurationError(f"processor {name!r}: `{method.__name__}` must be an `async def`")
    return processor


def seals_itself(processor: Processor) -> bool:
    """Whether it may write all that is written: nothing is sealed before it has said so."""
    return type(processor).seal is not Processor.seal


def has_one_form(processor: Processor) -> bool:
    """Whether it does one item at a time."""
    return type(processor).process is not Processor.process


def has_many_form(processor: Processor) -> bool:
    """Whether it does several items at once."""
    return type(processor).process_many is not Processor.process_many
