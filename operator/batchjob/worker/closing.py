"""The end: when every item is terminal, one worker finishes the results and closes the run (before that: sealer.py).

Whether the results will have a place is looked at before the first item: an hour of a model is no price for a typing
error in a bucket's name.
"""

import asyncio
import time
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

from batchjob import log
from batchjob.api.run import Purpose, Run
from batchjob.core.reasons import Reason
from batchjob.core.retry import MIN_UNCOUNTED_SECONDS, Fail, delay_ms, said
from batchjob.errors import ConfigurationError, LeaseLost, ResultsError, RunGone, StoreNotReady, StoreUnavailable
from batchjob.files.files import Files
from batchjob.metrics import RESULTS_ERRORS
from batchjob.store import RunStore, SealLease
from batchjob.worker.context import Context
from batchjob.worker.parts import Kept, Parts, batches, find_kept
from batchjob.worker.patience import PATIENCE_SECONDS, kept, patiently
from batchjob.worker.processor import Processor, Sealed

if TYPE_CHECKING:
    from batchjob.worker.table import Table

WAIT_MS: Final = 1000  # between looks at a seal that another worker does

logger = log.get(__name__)


async def check_destination(run: Run, context: Context) -> None:
    """Look for the destination before the work, once a run. ResultsError or ConfigurationError: it cannot work.

    A listing of the run's own folder, and the columns of a table: it writes nothing, and needs no right that the seal
    does not need. A place that does not answer now says nothing, since it may be back long before the seal.
    """
    try:
        if files := _exports(run, context) or results_files(run, context):
            await files.names()
        if table := results_table(run, context):
            await table.check()
    except ResultsError as error:
        if error.lasts:
            raise
        logger.warning("the destination cannot be looked at now", error=str(error))


async def find_sealed(run: Run, context: Context, *, is_rebuilt: bool) -> Kept | None:
    """The parts that were sealed before the store was lost; None where results have no destination.

    Raises ResultsError where the destination cannot be looked at and there may be some.
    """
    files = results_files(run, context)
    if files is None:
        return None
    try:
        return await find_kept(files, run)
    except ResultsError:
        if is_rebuilt:
            raise
        return Kept()  # it was said already


async def close_run(run: Run, store: RunStore, processor: Processor, context: Context, renew_seconds: float) -> None:
    """Finish the run, or wait a moment where another worker does.

    Raises StoreError where the store is away, or another worker took over: that says nothing about the results, so it
    is no attempt, and the caller looks again where the run stands.
    """
    lease = await patiently(store.claim_seal)
    if lease is None:
        await patiently(lambda: store.wait(WAIT_MS))
        return
    random, began = Random(), time.monotonic()  # noqa: S311 - jitter
    async with kept(lease, renew_seconds):
        for attempt in count(1):
            is_last = attempt >= run.effective.max_attempts
            is_over = time.monotonic() - began >= PATIENCE_SECONDS
            if await _try(run, store, lease, processor, context, is_last=is_last, is_over=is_over):
                return
            await asyncio.sleep(max(delay_ms(run.effective, attempt, random) / 1000, MIN_UNCOUNTED_SECONDS))


async def _try(
    run: Run,
    store: RunStore,
    lease: SealLease,
    processor: Processor,
    context: Context,
    *,
    is_last: bool,
    is_over: bool,
) -> bool:
    """Finish once; False where another try is worth while: a destination that may come back is tried for minutes."""
    try:
        sealed = await _finish(run, store, lease, processor, context)
    except (LeaseLost, RunGone, StoreUnavailable, StoreNotReady):
        raise
    except Exception as error:  # noqa: BLE001 - a processor's own seal may raise anything
        RESULTS_ERRORS.labels(run.effective.queue).inc()
        waits = isinstance(error, ResultsError) and not error.lasts and not is_over
        if _may_pass(error) and (waits or not is_last):
            logger.warning("the results cannot be finished now", error=said(error))
            return False
        await _give_up(lease, error)
    else:
        uri, manifest_sha256 = sealed or (None, None)
        await patiently(lambda: lease.finish(uri, manifest_sha256))
        logger.info("closed", results=uri)
    return True


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, Fail | ConfigurationError)


async def _give_up(lease: SealLease, error: Exception) -> None:
    logger.error("the results cannot be finished", error=said(error))
    await patiently(lambda: lease.fail(Reason.RESULTS_FAILED, said(error)))


async def _finish(run: Run, store: RunStore, lease: SealLease, processor: Processor, context: Context) -> Sealed | None:
    """What the processor wrote, else the results at their destination; None where they stay in the store.

    Never both: they may share a folder, and each manifest would have the other's parts removed. A table has all results
    wherever else they are.
    """
    sealed = await processor.seal(context)
    files, table = results_files(run, context), results_table(run, context)
    if files and not sealed:
        return await (await Parts.open(files, run, store, lease, table)).finish()
    if table:
        async for batch in batches(store.results()):
            await table.write(batch)
    return sealed


def _exports(run: Run, context: Context) -> Files | None:
    if run.spec.export is not None:
        place = run.spec.export.destination
    elif run.spec.report is not None and run.spec.report.deliver.destination:
        place = run.spec.report.deliver.destination
    else:
        return None
    return context.destination(place, Purpose.DESTINATION_CREDENTIALS, Purpose.DESTINATION_CA)


def results_files(run: Run, context: Context) -> Files | None:
    """Where the results go; None where they stay in the store. Raises ConfigurationError."""
    if run.spec.results is None or run.spec.results.destination is None:
        return None
    place = run.spec.results.destination
    return context.destination(place, Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA)


def results_table(run: Run, context: Context) -> "Table | None":
    """The table that takes results as well."""
    if run.spec.results is None or run.spec.results.table is None:
        return None
    from batchjob.worker.table import Table  # noqa: PLC0415 - its library would cost every pod 25 MB

    return Table(run.spec.results.table, context.reference(Purpose.RESULTS_TABLE))
