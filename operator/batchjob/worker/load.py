"""Loading: one worker streams the source into chunks; nothing is claimed before all of it is there and correct.

Where a bad record may be left out, others work meanwhile. A loader that is killed is taken over from the beginning of
the source; what items others may have done has to be the same there. A source that cannot be read now is tried again
with the run's back-off, for minutes where it may come back by itself; one that can be read and is wrong ends the run
with the line that is wrong.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from random import Random
from typing import Final

import msgspec

from batchjob import log
from batchjob.api.blocks.export import FIELDS_NOTE
from batchjob.api.run import Run
from batchjob.api.status import ErrorClass
from batchjob.core.chunks import LOOK_AHEAD, chunk_size
from batchjob.core.items import Item
from batchjob.core.ranges import Ranges
from batchjob.core.reasons import Reason
from batchjob.core.retry import MIN_UNCOUNTED_SECONDS, delay_ms
from batchjob.errors import InvalidSource, ResultsError, SourceChanged, SourceTooLarge, SourceUnreachable
from batchjob.store import LoadLease, RunStore
from batchjob.store.keys import CHUNK_LIMIT
from batchjob.worker.parts import Kept
from batchjob.worker.patience import PATIENCE_SECONDS, kept, patiently
from batchjob.worker.prefix import CHANGED, Prefix
from batchjob.worker.sources.records import BadItems, Record
from batchjob.worker.sources.source import Source

PUT_ITEMS: Final = 1024  # items a call of the store
PUT_BYTES: Final = 4 * 1024 * 1024  # of records in a chunk, and in a call: heavy ones travel in smaller company

Placed = tuple[int, Record]  # a record and its position
TellFirst = Callable[[Record], Awaitable[None]]
FindSealed = Callable[[bool], Awaitable[Kept | None]]  # told whether the store was lost
Groups = AsyncIterator[list[Placed]]  # as they come from the source

logger = log.get(__name__)


async def load(
    run: Run,
    store: RunStore,
    open_source: Callable[[], Awaitable[Source]],
    items: int | None,
    renew_seconds: float,
    find_sealed: FindSealed | None = None,
) -> bool:
    """Load the source; False where another worker does. `items`: chunk size the processor asks for.

    `open_source` and `find_sealed` (see `fill`) raise ResultsError where the run's destination cannot work: then
    there is no use in loading.
    Raises LeaseLost when another worker took over.
    """
    tell_first = partial(_note_fields, store) if run.spec.export and not run.spec.export.columns else None
    random = Random()  # noqa: S311 - jitter
    failing_since: float | None = None
    for attempt in count(1):
        lease = await patiently(store.claim_load)
        if lease is None:
            break
        async with kept(lease, renew_seconds):
            error = await _try(lease, open_source, run.spec.parallelism, items, find_sealed, tell_first)
            if error is None:
                return True
            failing_since = failing_since or time.monotonic()
            is_over = error.lasts or time.monotonic() - failing_since >= PATIENCE_SECONDS
            is_source = isinstance(error, SourceUnreachable)
            if is_over and attempt >= run.effective.max_attempts:
                await _fail(lease, Reason.SOURCE_UNREACHABLE if is_source else Reason.RESULTS_FAILED, error)
                return True
            logger.warning("the run cannot be loaded now", error=str(error))
            if is_source:
                await patiently(partial(lease.trouble, ErrorClass.UPSTREAM, str(error)))
            await asyncio.sleep(max(delay_ms(run.effective, attempt, random) / 1000, MIN_UNCOUNTED_SECONDS))
    return False


async def _try(
    lease: LoadLease,
    open_source: Callable[[], Awaitable[Source]],
    parallelism: int,
    items: int | None,
    find_sealed: FindSealed | None,
    tell_first: TellFirst | None,
) -> SourceUnreachable | ResultsError | None:
    """Load once; the error where another try may help."""
    try:
        await fill(lease, await open_source(), parallelism, items, find_sealed, tell_first)
    except SourceChanged as error:
        await _fail(lease, Reason.SOURCE_CHANGED, error)
    except SourceTooLarge as error:
        await _fail(lease, Reason.LIMIT_EXCEEDED, error)
    except InvalidSource as error:
        await _fail(lease, Reason.INVALID_SOURCE, error)
    except (SourceUnreachable, ResultsError) as error:
        return error
    return None


async def _fail(lease: LoadLease, reason: Reason, error: Exception) -> None:
    logger.error("the run cannot be loaded", reason=reason, error=str(error))
    await patiently(lambda: lease.fail(reason, str(error)))


async def _note_fields(store: RunStore, first: Record) -> None:
    """Which columns an export has must not hang on the pod that is first to write some: that may be of any items."""
    fields = msgspec.json.encode(list({"id": first.id} | first.data))
    await patiently(lambda: store.note(FIELDS_NOTE, fields))


async def fill(
    lease: LoadLease,
    source: Source,
    parallelism: int,
    items: int | None,
    find_sealed: FindSealed | None = None,
    tell_first: TellFirst | None = None,
) -> None:
    """Put every record into the store that is not there or was done before, and open the run. Raises SourceChanged.

    `find_sealed`: the parts of results that outlived the store, if it was lost. `tell_first`: is told the first record.
    """
    done, missing, begun_with = await _past(lease, find_sealed)
    prefix = Prefix(await patiently(lease.reached))
    total = 0

    async def numbered() -> Groups:
        nonlocal total
        async for records in source.records():
            if source.bound:
                source.bound.count(records)
            if tell_first and records and not total:
                await tell_first(records[0])
            known = prefix.skip(records)
            yield [placed for placed in enumerate(records[known:], total + known) if placed[0] not in done]
            total += len(records)
        prefix.end()

    batch: list[list[Item]] = []
    waiting = weight = 0  # items in the batch, and their bytes
    async for chunk, size in chunks(numbered(), parallelism, items):
        batch.append(chunk)
        waiting += len(chunk)
        weight += size
        if waiting >= PUT_ITEMS or weight >= PUT_BYTES:
            await _put(lease, batch, prefix)
            batch, waiting, weight = [], 0, 0
    if batch:
        await _put(lease, batch, prefix)
    if begun_with - {"", source.sha256}:
        raise SourceChanged(CHANGED)
    bad = source.bad
    await patiently(lambda: lease.finish(total, source.sha256, source.etag, bad.count, bad.messages, missing))
    logger.info("loaded", items=total)
    _warn(missing, bad)


def _warn(missing: Ranges, bad: BadItems) -> None:
    if missing:
        logger.warning("results of items that are done were lost with the store", items=len(missing))
    if bad.count:
        logger.warning("records of the source were left out", bad_items=bad.count, first=bad.messages)


async def _past(lease: LoadLease, find_sealed: FindSealed | None) -> tuple[Ranges, Ranges, set[str]]:
    """Items that were done before the store was lost, those without their result, the SHA-256 of what they were in."""
    done, sha256 = await patiently(lease.before)
    if not find_sealed or not (found := await find_sealed(await patiently(lease.is_rebuilt))):
        return done, done, {sha256}
    both = done | found.done
    more = len(both) - len(done)
    await patiently(lambda: lease.keep({part.name: msgspec.json.encode(part) for part in found.parts}, more))
    return both, both - found.positions, {sha256, *found.sources}


async def _put(lease: LoadLease, batch: list[list[Item]], prefix: Prefix) -> None:
    mark = prefix.extend(batch)
    await patiently(lambda: lease.put(batch, mark))


async def chunks(records: Groups, parallelism: int, items: int | None) -> AsyncIterator[tuple[list[Item], int]]:
    """Records as chunks of `items`, or of a size that fits the first few thousand; less where they are heavy.

    Each comes with its bytes. A gap between positions ends a chunk.
    """
    if items is None:
        ahead, size = await _look_ahead(records, parallelism)
    else:
        ahead, size = [], min(items, CHUNK_LIMIT)
    groups = _chain(ahead, records)
    del ahead  # 2 MiB, that would stay for the whole load
    chunk: list[Item] = []
    weight = 0
    async for some in groups:
        for position, record in some:
            if chunk and (len(chunk) >= size or weight >= PUT_BYTES or position != chunk[-1].position + 1):
                yield chunk, weight
                chunk, weight = [], 0
            chunk.append(Item(position, record.id, record.data))
            weight += record.size
    if chunk:
        yield chunk, weight


async def _look_ahead(records: Groups, parallelism: int) -> tuple[list[Placed], int]:
    ahead: list[Placed] = []
    weight = 0
    async for some in records:
        ahead += some
        weight += sum(record.size for _, record in some)
        if len(ahead) >= LOOK_AHEAD or weight >= PUT_BYTES:
            return ahead, chunk_size(None, parallelism)
    return ahead, chunk_size(len(ahead), parallelism)


async def _chain(ahead: list[Placed], records: Groups) -> Groups:
    yield ahead
    del ahead
    async for some in records:
        yield some
