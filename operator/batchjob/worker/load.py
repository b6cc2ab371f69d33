"""Loading: one worker streams the source into chunks; nothing is claimed before all of it is there and correct.

A loader that is killed is taken over from the beginning. A source that cannot be read now is tried again with the
run's back-off; one that can be read and is wrong ends the run with the line that is wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from random import Random
from typing import Final

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.chunks import LOOK_AHEAD, chunk_size
from batchjob.core.items import ErrorClass, Item
from batchjob.core.reasons import Reason
from batchjob.core.retry import delay_ms
from batchjob.errors import InvalidSource, SourceUnreachable
from batchjob.store import LoadLease, RunStore
from batchjob.store.keys import CHUNK_LIMIT
from batchjob.worker.patience import kept, patiently
from batchjob.worker.sources.source import Record, Source

PUT_ITEMS: Final = 1024  # items a call of the store
PUT_CHUNKS: Final = 32  # chunks a call: each may weigh PUT_BYTES
PUT_BYTES: Final = 4 * 1024 * 1024  # of records in a chunk: heavy ones travel in smaller company
WAIT_MS: Final = 1000  # between looks at a load that another worker does

logger = log.get(__name__)


async def load(
    run: Run, store: RunStore, open_source: Callable[[], Source], items: int | None, renew_seconds: float
) -> None:
    """Load the source, or wait a moment where another worker does. `items`: chunk size the processor asks for.

    Raises LeaseLost when another worker took over.
    """
    random = Random()  # noqa: S311 - jitter
    for attempt in count(1):
        lease = await patiently(store.claim_load)
        if lease is None:
            await patiently(lambda: store.wait(WAIT_MS))
            return
        async with kept(lease, renew_seconds):
            is_last = attempt >= run.effective.max_attempts
            if await _try(lease, open_source, run.spec.parallelism, items, is_last=is_last):
                return
            await asyncio.sleep(delay_ms(run.effective, attempt, random) / 1000)


async def _try(
    lease: LoadLease, open_source: Callable[[], Source], parallelism: int, items: int | None, *, is_last: bool
) -> bool:
    """Load once; False where another try is worth while."""
    try:
        await fill(lease, open_source(), parallelism, items)
    except InvalidSource as error:
        await _fail(lease, Reason.INVALID_SOURCE, error)
    except SourceUnreachable as error:
        if not is_last:
            logger.warning("the source cannot be read now", error=str(error))
            message = str(error)
            await patiently(lambda: lease.trouble(ErrorClass.UPSTREAM, message))
            return False
        await _fail(lease, Reason.SOURCE_UNREACHABLE, error)
    return True


async def _fail(lease: LoadLease, reason: Reason, error: Exception) -> None:
    logger.error("the source cannot be loaded", reason=reason, error=str(error))
    await patiently(lambda: lease.fail(reason, str(error)))


async def fill(lease: LoadLease, source: Source, parallelism: int, items: int | None) -> None:
    """Put every record into the store, and open the run."""
    total = 0
    batch: list[list[Item]] = []
    waiting = 0  # items in the batch
    async for chunk in chunks(source.records(), parallelism, items):
        batch.append(chunk)
        waiting += len(chunk)
        total += len(chunk)
        if waiting >= PUT_ITEMS or len(batch) >= PUT_CHUNKS:
            await _put(lease, batch)
            batch, waiting = [], 0
    if batch:
        await _put(lease, batch)
    await patiently(lambda: lease.finish(total, source.sha256, source.etag))
    logger.info("loaded", items=total)


async def _put(lease: LoadLease, batch: list[list[Item]]) -> None:
    await patiently(lambda: lease.put(batch))


async def chunks(records: AsyncIterator[Record], parallelism: int, items: int | None) -> AsyncIterator[list[Item]]:
    """Records as chunks of `items`, or of a size that fits the first few thousand; less where they are heavy."""
    if items is None:
        ahead, size = await _look_ahead(records, parallelism)
    else:
        ahead, size = [], min(items, CHUNK_LIMIT)
    position, chunk, weight = 0, [], 0
    async for record in _chain(ahead, records):
        chunk.append(Item(position, record.id, record.data))
        position += 1
        weight += record.size
        if len(chunk) >= size or weight >= PUT_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


async def _look_ahead(records: AsyncIterator[Record], parallelism: int) -> tuple[list[Record], int]:
    ahead: list[Record] = []
    weight = 0
    async for record in records:
        ahead.append(record)
        weight += record.size
        if len(ahead) >= LOOK_AHEAD or weight >= PUT_BYTES:
            return ahead, chunk_size(None, parallelism)
    return ahead, chunk_size(len(ahead), parallelism)


async def _chain(ahead: list[Record], records: AsyncIterator[Record]) -> AsyncIterator[Record]:
    for record in ahead:
        yield record
    async for record in records:
        yield record
