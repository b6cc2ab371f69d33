"""Sealing: when every item is terminal, one worker finishes the results and closes the run."""

import asyncio
from itertools import count
from random import Random
from typing import Final

from batchjob import log
from batchjob.api.run import Purpose, Run
from batchjob.core.reasons import Reason
from batchjob.core.retry import Fail, delay_ms, said
from batchjob.errors import ConfigurationError, LeaseLost, RunGone, StoreNotReady, StoreUnavailable
from batchjob.store import RunStore, SealLease
from batchjob.worker.context import Context
from batchjob.worker.manifest import write_results
from batchjob.worker.patience import kept, patiently
from batchjob.worker.processor import Processor, Sealed

WAIT_MS: Final = 1000  # between looks at a seal that another worker does

logger = log.get(__name__)


async def seal(run: Run, store: RunStore, processor: Processor, context: Context, renew_seconds: float) -> None:
    """Finish the run, or wait a moment where another worker does.

    Raises StoreError where the store is away, or another worker took over: that says nothing about the results, so it
    is no attempt, and the caller looks again where the run stands.
    """
    lease = await patiently(store.claim_seal)
    if lease is None:
        await patiently(lambda: store.wait(WAIT_MS))
        return
    random = Random()  # noqa: S311 - jitter
    async with kept(lease, renew_seconds):
        for attempt in count(1):
            if await _try(run, lease, processor, context, is_last=attempt >= run.effective.max_attempts):
                return
            await asyncio.sleep(delay_ms(run.effective, attempt, random) / 1000)


async def _try(run: Run, lease: SealLease, processor: Processor, context: Context, *, is_last: bool) -> bool:
    """Finish once; False where another try is worth while."""
    try:
        sealed = await _finish(run, processor, context)
    except (LeaseLost, RunGone, StoreUnavailable, StoreNotReady):
        raise
    except Exception as error:  # noqa: BLE001 - a processor's own seal may raise anything
        if _may_pass(error) and not is_last:
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


async def _finish(run: Run, processor: Processor, context: Context) -> Sealed | None:
    """What the processor wrote, else the results at their destination; None where they stay in the store.

    Never both: they may share a folder, and each manifest would have the other's parts removed.
    """
    sealed = await processor.seal(context)
    place = run.spec.results.destination if run.spec.results else None
    if sealed is not None or place is None:
        return sealed
    files = context.destination(place, Purpose.RESULTS_CREDENTIALS, Purpose.RESULTS_CA)
    return await write_results(files, run, context.results())
