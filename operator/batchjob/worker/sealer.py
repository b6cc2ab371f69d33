"""Sealing on the way: while the run is open, one of its workers takes results out of the store into parts.

It does so beside its items, as a task of its own on the same loop, under the seal lease; the end is closing.py's. Where
that worker is lost or goes, the lease ends and another one takes over: what is unsealed is in the store. While the
destination cannot be used, results wait there; above the run's limit nothing new is granted until it can.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from random import Random
from typing import Final

from batchjob import log
from batchjob.api.run import Run
from batchjob.core.reasons import Reason
from batchjob.core.retry import delay_ms, said
from batchjob.errors import BatchJobError, ConfigurationError, ResultsError, RunGone, StoreError
from batchjob.metrics import RESULTS_ERRORS
from batchjob.store import RunStore, SealLease
from batchjob.worker.closing import results_files, results_table
from batchjob.worker.context import Context
from batchjob.worker.parts import PART_BYTES, Parts
from batchjob.worker.patience import PATIENCE_SECONDS, kept, patiently
from batchjob.worker.processor import Processor, seals_itself

PART_SECONDS: Final = 30.0  # after which a part is written however small it is: what a lost store repeats at most
LOOK_SECONDS: Final = 1.0  # between looks at how much waits
CLAIM_SECONDS: Final = 5.0  # between looks whether the worker that seals is lost: half a lease
END_SECONDS: Final = 5.0  # for a part at hand when the work ends: another worker would have to write it again

KEPT_HERE: Final = (
    "the processor seals files of its own, so its results stay in the store, and they have more bytes than the "
    "operator's BATCHJOB_RESULTS_LIMIT_BYTES allows. Let `process` return less"
)

logger = log.get(__name__)


@contextlib.asynccontextmanager
async def sealing(
    run: Run, store: RunStore, processor: Processor, context: Context, renew_seconds: float
) -> AsyncIterator[None]:
    """Seal, where there is a destination and no other worker does, as long as the block runs."""
    if run.spec.results is None or run.spec.results.destination is None:
        yield
        return
    sealer = Sealer(run, store, processor, context, renew_seconds)
    task = asyncio.create_task(sealer.run())
    try:
        yield
    finally:
        sealer.stop()
        try:
            await asyncio.wait([task], timeout=END_SECONDS)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Sealer:
    """Writes parts; ends no worker, whatever happens to it."""

    def __init__(self, run: Run, store: RunStore, processor: Processor, context: Context, renew_seconds: float) -> None:
        self._run = run
        self._store = store
        self._is_kept_here = seals_itself(processor)
        self._context = context
        self._renew_seconds = renew_seconds
        self._random = Random()  # noqa: S311 - jitter
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End after the part at hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Seal until `stop`, whenever the lease can be had."""
        while True:
            try:
                lease = await patiently(self._store.claim_seal)
                if lease is not None:
                    async with kept(lease, self._renew_seconds):
                        await self._seal(lease)
                    with contextlib.suppress(StoreError):
                        await lease.release()
            except RunGone:
                return  # the claim loop says so
            except BatchJobError as error:
                logger.warning("sealing begins again", error=str(error))
            except Exception:
                logger.exception("sealing failed and begins again")
            if await self._stops_within(CLAIM_SECONDS):
                return

    async def _seal(self, lease: SealLease) -> None:
        parts: Parts | None = None
        failures, failing_since, pause = 0, 0.0, LOOK_SECONDS
        written = time.monotonic()
        while not await self._stops_within(pause):
            pause = LOOK_SECONDS
            waiting = await patiently(lease.unsealed)
            if self._is_kept_here:
                if waiting.is_over_limit:
                    await patiently(partial(lease.fail, Reason.RESULTS_TOO_LARGE, KEPT_HERE))
                    return
                continue
            is_late = waiting.bytes > 0 and time.monotonic() - written >= PART_SECONDS
            if waiting.bytes < PART_BYTES and not is_late:
                continue
            try:
                parts = parts or await self._open(lease)
                taken = await patiently(partial(lease.take, PART_BYTES))
                await parts.write(taken)
            except (ResultsError, ConfigurationError) as error:
                failures, failing_since = failures + 1, failing_since if failures else time.monotonic()
                RESULTS_ERRORS.labels(self._run.effective.queue).inc()
                logger.warning("a part cannot be written now", error=str(error))
                if waiting.is_over_limit and self._is_hopeless(error, failures, failing_since):
                    await patiently(partial(lease.fail, Reason.RESULTS_FAILED, said(error)))
                    return
                pause = min(delay_ms(self._run.effective, failures, self._random) / 1000, PART_SECONDS)
                pause = max(pause, LOOK_SECONDS)  # a back-off may be 0
            else:
                failures = 0
                if sum(found.size for found in taken.results) >= waiting.bytes:  # else more of what is late waits
                    written = time.monotonic()
                pause = 0.0 if taken.results else LOOK_SECONDS

    async def _open(self, lease: SealLease) -> Parts:
        files = results_files(self._run, self._context)
        if files is None:
            raise ConfigurationError("there is no destination for results")
        return await Parts.open(files, self._run, self._store, lease, results_table(self._run, self._context))

    def _is_hopeless(self, error: Exception, failures: int, since: float) -> bool:
        """As with a source: one that may come back is tried for minutes, while the run stands still."""
        lasts = not isinstance(error, ResultsError) or error.lasts
        is_over = lasts or time.monotonic() - since >= PATIENCE_SECONDS
        return is_over and failures >= self._run.effective.max_attempts

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
