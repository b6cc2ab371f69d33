"""What a processor is given: the run, its references, and a place for news about the items in its hands."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from structlog.stdlib import BoundLogger

from batchjob import log
from batchjob.api.run import Purpose, Run
from batchjob.api.source import Location
from batchjob.core.cache import cache_name
from batchjob.core.documents import check_name
from batchjob.core.items import Item
from batchjob.files.files import Files, open_files
from batchjob.files.mounts import mount_paths
from batchjob.store import ItemResult, RunStore
from batchjob.worker.cache import Cache, leniently
from batchjob.worker.joining import write_parts
from batchjob.worker.ledger import Lease, Ledger
from batchjob.worker.manifest import read_parts
from batchjob.worker.params import Params, read_params
from batchjob.worker.patience import patiently
from batchjob.worker.processor import Sealed
from batchjob.worker.told import Told, checked_hold, tell

USAGE_LIMIT: Final = 2**53  # what the store's scripts, whose numbers are doubles, count exactly

T = TypeVar("T")


class Context:
    """The run for `open` and `seal`; with the item (or items) in hand for `process` and `process_many`.

    `run` is all that the pod knows: `run.name`, `run.namespace`, `run.uid`, the whole `run.spec`, and `run.effective`,
    the limits in force. What `usage` and `part` collect is committed in one step with the outcomes. Of several items in
    hand, `item`, `attempt`, `idempotency_key`, `logger`, `random` and `ledger` are those of the first; `of` has the
    others'.

    A rate that the run shares with others (`spec.rateLimitKey`, `email.ratePerMinute`) needs no call: an attempt begins
    once it has its share. Where the other side says "not so fast", Retry with `after` and the class rate-limited makes
    all who share it wait.
    """

    __slots__ = (
        "_ends", "_items", "_loop", "_references_dir", "_store",
        "holds", "lease", "new_parts", "run", "told", "usage_sums",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        store: RunStore,
        references_dir: Path,
        items: Sequence[Item] = (),
        seconds: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        lease: Lease = ("", 0),
    ) -> None:
        self.run = run
        self.usage_sums: dict[str, int] = {}
        self.new_parts: dict[str, bytes] = {}
        self.told: dict[int, Told] = {}  # by position
        self.holds: list[float] = []  # seconds
        self._loop = loop
        self.lease = lease
        self._store = store
        self._references_dir = references_dir
        self._items = items
        self._ends = None if seconds is None else time.monotonic() + seconds

    def holding(self, items: Sequence[Item], seconds: float, lease: Lease | None = None) -> "Context":
        """The context for one attempt of these items, `seconds` long; `lease`: as long as they are in hand."""
        return Context(self.run, self._store, self._references_dir, items, seconds, self._loop, lease or self.lease)

    def of(self, item: Item) -> "Context":
        """The same attempt, for one of several items in hand: its ledger, key, logger and random numbers, its progress.

        What `usage` and `part` collect is one with the rest. LookupError for an item that is not in hand.
        """
        if item not in self._items:
            raise LookupError(f"item {item.id!r} is not in hand")
        return OneOf(self, item, self._store, self._references_dir, self.lease)

    async def call_store(self, name: str, arguments: Sequence[int | str | bytes]) -> bytes | None:
        """A call of the store by its name, for a context in a process of the processor's own."""
        how = leniently if name.startswith("cache_") else patiently
        answer: bytes | None = await how(lambda: getattr(self._store, name)(*arguments))
        return answer

    def end(self) -> None:
        """The attempt is over, whatever its time."""
        self._ends = time.monotonic()

    @property
    def params(self) -> Mapping[str, str]:
        """`spec.custom.params`, a map from text to text; empty for other types."""
        return self.run.spec.custom.params if self.run.spec.custom else {}

    def read_params(self, model: type[Params]) -> Params:
        """`params` as a pydantic model of your own; call it in `open`.

        ConfigurationError where they do not fit, or name one that the model does not know: the run ends with what is
        wrong with each.
        """
        return read_params(self.params, model)

    @property
    def item(self) -> Item:
        """The item in hand, or the first of several; LookupError in `open`, `seal` and `close`."""
        if not self._items:
            raise LookupError("no item is in hand: this works in `process` and `process_many` only")
        return self._items[0]

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1; LookupError where no item is in hand. A lost worker costs none."""
        return self.item.attempt

    @property
    def idempotency_key(self) -> str:
        """`<uid>:<item id>`: the same for every attempt of an item, for whoever can recognise a repeat by it.

        LookupError where no item is in hand. An id has up to 128 characters, of any script.
        """
        return f"{self.run.uid}:{self.item.id}"

    @property
    def seconds_left(self) -> float:
        """Seconds left for this attempt, below 0 once it is over; infinite where no item is in hand."""
        return float("inf") if self._ends is None else self._ends - time.monotonic()

    @property
    def deadline(self) -> dt.datetime | None:
        """When this attempt is cut off, a datetime in UTC; None where no item is in hand."""
        left = self.seconds_left
        return None if left == float("inf") else dt.datetime.now(dt.UTC) + dt.timedelta(seconds=left)

    @property
    def logger(self) -> BoundLogger:
        """A logger that names the job, the item and the attempt: `context.logger.info("slow", seconds=3)`."""
        bound = log.get("batchjob.processor").bind(job=f"{self.run.namespace}/{self.run.name}")
        return bound.bind(item=self.item.id, attempt=self.attempt) if self._items else bound

    @property
    def random(self) -> Random:
        """A new random.Random, whose numbers are the same whenever this attempt is made again. For no secrets."""
        key = f"{self.idempotency_key}:{self.attempt}" if self._items else self.run.uid
        return Random(key)  # noqa: S311 - repeatable on purpose, no secret

    @property
    def ledger(self) -> Ledger:
        """The note of the item in hand; LookupError where there is none."""
        return Ledger(self._store, self.item, self.lease)

    @property
    def cache(self) -> Cache:
        """Values that all runs of the same owner and namespace share."""
        return Cache(self._store, cache_name(self.run))

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the item in hand is, from 0 to 1, or all items in hand together; a retry begins anew at 0.

        It goes along with the next call to the store (1.5 s at most), of a million calls the last alone, so it may be
        called as often as you like, from any thread. Watchers of the run see it in the events `progress`, with the
        first 256 characters of the message, and `status.percent` counts it. It is news and nothing else: no time limit
        grows by it. ValueError for what is no number from 0 to 1, TypeError for a message that is no text,
        LookupError where no item is in hand.
        """
        self.tell(self._items, fraction, message)

    def tell(self, items: Sequence[Item], fraction: Any, message: Any) -> None:
        """What `progress` does, for these of the items in hand."""
        self.told.update(tell(items, fraction, message))

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """For a plain `def`: the answer of a call that is for an `async def`: `context.wait(context.ledger.get())`.

        Works in any thread. TimeoutError once the attempt is over, which ends a thread that goes on in vain.
        RuntimeError in an `async def`: await the call there.
        """
        seconds = self.seconds_left
        if self._loop is None or _is_in_a_loop():
            call.close()
            raise RuntimeError("`wait` is for a plain `def` of a worker: in an `async def`, await the call itself")
        if seconds <= 0:
            call.close()
            raise TimeoutError("the attempt is over")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result(None if seconds == float("inf") else seconds)
        finally:
            future.cancel()

    def reference(self, purpose: Purpose) -> Path:
        """The folder of a mounted Secret or ConfigMap; its files are named after the keys. It may be absent."""
        return self._references_dir / purpose

    def usage(self, name: str, amount: int) -> None:
        """Add to a counter of the run's `status.usage`: whole numbers, with the unit in the name (bytesRead).

        Counts for failed attempts too, since they cost as much; not for those that were cut off in a process. Nothing
        is taken back: what was used stays used, and a sum that only grows can be compared and billed. ValueError for
        what is no whole number from 0 to 2^53, alone or with what the attempt used before, and for a name that is no
        text of 1 to 128 characters.
        """
        check_name("usage", name)
        if type(amount) is not int or not 0 <= amount <= USAGE_LIMIT:
            raise ValueError(f"usage {name!r}: {amount!r} is no whole number from 0 to 2^53")
        used = self.usage_sums.get(name, 0) + amount
        if used > USAGE_LIMIT:
            raise ValueError(f"usage {name!r}: the attempt would have used {used}, and may use 2^53")
        self.usage_sums[name] = used

    def hold(self, seconds: float) -> None:
        """Nobody who shares the run's rate (`spec.rateLimitKey`) starts anything for so long after this attempt.

        For another side that says that nothing is left of a limit, or is away. ValueError for what is no number from 0.
        """
        self.holds.append(checked_hold(seconds))

    def part(self, name: str, fields: Mapping[str, Any]) -> None:
        """Vouch for a file: `fields` are rows and bytes (numbers) and sha256 (hex), and whatever else JSON can hold.

        It counts only if an item of the attempt succeeds. A file that nobody vouches for is removed by
        `write_manifest`. ValueError for a name that is no text of 1 to 128 characters.
        """
        check_name("part", name)
        self.new_parts[name] = msgspec.json.encode(fields)

    async def note(self, name: str, value: bytes) -> bytes:
        """A fact that all pods of the run share; the first to write it wins. Returns the value in force.

        Waits while the store is away; RunGone where the run was deleted meanwhile.
        """
        return await patiently(lambda: self._store.note(name, value))

    def results(self) -> AsyncIterator[ItemResult]:
        """Results of the run in the order of the source: (position from 0, id, JSON as bytes). For `seal`.

        Items without a result are left out. StoreError where the store is away: `seal` is then called again.
        """
        return self._store.results()

    def destination(self, place: Location, credentials: Purpose, authority: Purpose) -> Files:
        """The files below `<url>/<Run.folder>/`; ConfigurationError where the place cannot work.

        `credentials` and `authority` say which of the run's references hold its keys and its CA. The calls of what is
        returned are for an `async def`, and raise ResultsError.
        """
        block = "report.deliver" if self.run.spec.report else "export"
        field = f"spec.{'results' if credentials is Purpose.RESULTS_CREDENTIALS else block}.destination"
        references = self.reference(credentials), self.reference(authority)
        return open_files(place, self.run.folder, field, mount_paths(self.run.spec), references)

    async def write_manifest(self, files: Files, joined: str = "") -> Sealed:
        """Write the manifest of every committed part, last, after removing part files that none vouches for.

        `joined`: the name of one file to make of them all; each part's `headerBytes` are left out but the first's. For
        `seal`, which may return what this returns. ResultsError where files cannot be written: `seal` is called again.
        """
        return await write_parts(files, self.run, read_parts(await patiently(self._store.parts)), joined)


class OneOf(Context):
    """A context of several items as it is for one of them."""

    __slots__ = ("_whole",)

    def __init__(self, whole: Context, item: Item, store: RunStore, references_dir: Path, lease: Lease) -> None:
        super().__init__(whole.run, store, references_dir, (item,), lease=lease)
        self.usage_sums, self.new_parts = whole.usage_sums, whole.new_parts
        self.told, self.holds = whole.told, whole.holds
        self._whole = whole

    @property
    def seconds_left(self) -> float:
        """See Context."""
        return self._whole.seconds_left

    def tell(self, items: Sequence[Item], fraction: Any, message: Any) -> None:
        """See Context."""
        self._whole.tell(items, fraction, message)

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """See Context."""
        return self._whole.wait(call)


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
