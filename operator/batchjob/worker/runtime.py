"""The worker process: connect, load if nobody has, work, seal if nobody does, and end with the run.

Every step asks the store where the run stands and does what is to be done there, so a pod may come at any time. The
exit code tells the Job what to make of it (api/run.py); the reason of a failure goes to the termination log too, so
that the operator can show it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from batchjob import log, traces
from batchjob.api.run import EXIT_CLOSED, EXIT_CONFIGURATION, EXIT_DRAINED, EXIT_TEMPORARY, EXIT_UNOPENED, Run
from batchjob.core.chunks import MANY_ITEMS
from batchjob.core.items import RunState
from batchjob.core.retry import said
from batchjob.errors import (
    BatchJobError,
    ConfigurationError,
    LeaseLost,
    ProcessorUnopened,
    RunGone,
    StoreNotReady,
    StoreUnavailable,
)
from batchjob.memory import collect_rarely, give_back
from batchjob.store import RunStore, Standing, Store
from batchjob.worker.children import ChildExecution
from batchjob.worker.closing import check_destination, close_run, find_sealed
from batchjob.worker.context import Context
from batchjob.worker.execution import Execution
from batchjob.worker.heartbeat import Heartbeat, Pulse
from batchjob.worker.load import load
from batchjob.worker.parts import Kept
from batchjob.worker.patience import patiently
from batchjob.worker.probes import Probes
from batchjob.worker.processor import Processor, log_trace, make_processor, processor_name
from batchjob.worker.rate import Limits
from batchjob.worker.sealer import sealing
from batchjob.worker.settings import Settings, read_run, read_settings, read_store_access
from batchjob.worker.slots import Shape
from batchjob.worker.sources.opening import open_source
from batchjob.worker.sources.source import Bound, Source
from batchjob.worker.traced import name_in_logs
from batchjob.worker.work import ABANDON_SECONDS, Ending, Pace, Work

TERMINATION_BYTES: Final = 4096  # what Kubernetes keeps of a termination message
STEP_WAIT_SECONDS: Final = 1.0  # before a step that the store broke off is begun again

logger = log.get(__name__)


def main() -> int:
    """Run one worker to its end; returns its exit code."""
    collect_rarely()
    try:
        settings = read_settings()
    except ConfigurationError as error:
        return _end(EXIT_CONFIGURATION, str(error), Settings.model_fields["termination_log"].default)
    log.configure(settings.log_level)
    try:
        run = read_run(settings.run_dir)
        name_in_logs(run)
        processor = make_processor(processor_name(run))
        with traces.sending("batchjob-worker"):
            return asyncio.run(serve(settings, run, processor))
    except ConfigurationError as error:
        return _end(EXIT_CONFIGURATION, str(error), settings.termination_log)
    except ProcessorUnopened as error:
        return _end(EXIT_UNOPENED, str(error), settings.termination_log)
    except BatchJobError as error:
        return _end(EXIT_TEMPORARY, str(error), settings.termination_log)
    except Exception as error:
        logger.exception("the worker failed")
        return _end(EXIT_TEMPORARY, f"the worker failed: {type(error).__name__}: {error}", settings.termination_log)


def _end(code: int, sentence: str, path: Path) -> int:
    print(f"batchjob worker: {sentence}", file=sys.stderr)  # noqa: T201 - logging may not be set up yet
    with contextlib.suppress(OSError):  # outside of a container there is none
        path.write_bytes(sentence.encode()[:TERMINATION_BYTES])
    return code


async def serve(settings: Settings, run: Run, processor: Processor) -> int:
    """A worker under SIGTERM, with its probes and its heartbeat."""
    pulse = Pulse(run.effective.item_timeout_seconds + settings.lease_seconds)
    read_access = partial(read_store_access, settings.run_dir)
    access = read_access()

    def connect(name: str) -> Store:
        return Store.connect(access, name=name, reread=read_access)

    give_up = partial(_give_up, settings, run)
    heartbeat = Heartbeat(connect, run.uid, settings.worker_name, pulse, settings.renew_seconds, give_up)
    probes = Probes(pulse, settings.probe_port) if settings.probe_port else None
    async with connect(settings.worker_name) as store:
        worker = Worker(settings, run, store, processor, pulse)
        beating = asyncio.create_task(_beat(pulse))
        heartbeat.start()
        # Until the loop closes: a signal that comes late finds a handler, and stopping twice does nothing.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        try:
            return await worker.run()
        finally:
            heartbeat.end()
            beating.cancel()
            if probes is not None:
                probes.close()


def _give_up(settings: Settings, run: Run) -> None:
    """The main loop is blocked for good, so nothing can end in order; called in another thread."""
    seconds = run.effective.item_timeout_seconds
    sentence = (
        f"the processor has blocked the event loop for more than itemTimeoutSeconds ({seconds}): what is in flight is "
        "lost. Let an `async def` await what takes time, or make it a plain `def`"
    )
    logger.error(sentence)
    os._exit(_end(EXIT_TEMPORARY, sentence, settings.termination_log))


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(1)


class Worker:
    """One worker of one run; `stop` may be called at any time."""

    def __init__(self, settings: Settings, run: Run, store: Store, processor: Processor, pulse: Pulse) -> None:
        self._settings = settings
        self._run = run
        self._all = store
        self._store: RunStore = store.run(run.uid, settings.worker_name)
        self._processor = processor
        self._pulse = pulse
        self._context = Context(run, self._store, settings.references_dir, loop=asyncio.get_running_loop())
        self._limits = Limits(self._store, run)
        self._work: Work | None = None
        self._stopping = False
        self._living: asyncio.Task[int] | None = None

    def stop(self) -> None:
        """Drain: give back what was not started, let items in flight finish within the grace period, and end."""
        if self._stopping or self._living is None:
            return
        self._stopping = True
        if self._work is None:
            self._living.cancel()
            return
        self._work.stop()
        # The store may be away, or an item may not let itself be cut off: the end comes all the same.
        patience = self._settings.grace_seconds + 2 * ABANDON_SECONDS
        asyncio.get_running_loop().call_later(patience, self._living.cancel)

    async def run(self) -> int:
        """Work until the run ends or `stop`; returns the exit code. Errors are the caller's."""
        self._living = asyncio.create_task(self._live())
        following = asyncio.create_task(self._follow())
        try:
            return await self._living
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return EXIT_DRAINED
        finally:
            following.cancel()

    async def _follow(self) -> None:
        """Hear of changes of the queue's limits: Kubernetes brings the files of a Secret up to date by itself."""
        while True:
            await asyncio.sleep(self._settings.follow_seconds)
            try:
                self._limits.follow(read_run(self._settings.run_dir))
            except ConfigurationError as error:
                logger.warning("the run cannot be read again", error=str(error))

    async def _live(self) -> int:
        await self._standing()
        await self._open()
        try:
            while True:
                code = await self._step(await self._standing())
                if code is not None:
                    return code
        finally:
            await self._close()

    async def _open(self) -> None:
        try:
            await self._processor.open(self._context)
        except BatchJobError:
            raise  # it chose its words
        except (Exception, SystemExit) as error:
            log_trace("the processor did not open", error)
            raise ProcessorUnopened(f"the processor's `open` raised {said(error)}") from error

    async def _standing(self) -> Standing:
        standing = await patiently(self._store.state)
        if standing.epoch != self._run.epoch:
            raise RunGone("the store holds another memory of this run than the one this pod was made for")
        return standing

    async def _step(self, standing: Standing) -> int | None:
        """Do what is to be done in this state; an exit code where that is to end."""
        renew = self._settings.renew_seconds
        try:
            match standing.state:
                case RunState.LOADING:
                    size = self._processor.chunk_items
                    if not await load(self._run, self._store, self._open_source, size, renew, self._find_sealed):
                        return await self._do_items()  # those that the store lets us have so early
                    give_back()  # for the rest of the run, the loader is a worker like the others
                case RunState.OPEN:
                    return await self._do_items()
                case RunState.SEALING:
                    await close_run(self._run, self._store, self._processor, self._context, renew)
                case RunState.CLOSED | RunState.FAILED | RunState.CANCELLED:
                    return EXIT_CLOSED
        except LeaseLost as error:
            logger.warning("another worker took over", error=str(error))
        except (StoreUnavailable, StoreNotReady) as error:
            logger.warning("the store went away in mid-step", error=str(error))
            await asyncio.sleep(STEP_WAIT_SECONDS)
        return None

    async def _open_source(self) -> Source:
        await check_destination(self._run, self._context)
        source = open_source(self._run, self._settings.references_dir, self._all, self._settings.worker_name)
        source.bound = Bound(self._run.limits, self._run.effective.queue)
        return source

    async def _find_sealed(self, is_rebuilt: bool) -> Kept | None:
        return await find_sealed(self._run, self._context, is_rebuilt=is_rebuilt)

    async def _do_items(self) -> int | None:
        execution = self._execution()
        pace = Pace(self._settings.renew_seconds, self._settings.grace_seconds)
        self._work = Work(
            self._store, execution, self._context, self._shape(execution), pace, self._pulse, self._limits
        )
        renew = self._settings.renew_seconds
        try:
            async with sealing(self._run, self._store, self._processor, self._context, renew):
                ending = await self._work.run()
        finally:
            self._work = None
            await execution.close()
        if ending is Ending.STUCK:
            logger.error("every slot is taken by a thread that outlived its time limit: another pod goes on")
        return {Ending.STOPPED: EXIT_DRAINED, Ending.STUCK: EXIT_TEMPORARY}.get(ending)

    def _execution(self) -> Execution:
        random = Random()  # noqa: S311 - jitter
        if self._processor.runs_in == "process":
            return ChildExecution(self._processor, self._run, random, self._settings)
        return Execution(self._processor, self._run, random)

    def _shape(self, execution: Execution) -> Shape:
        concurrency = self._run.spec.concurrency
        if not execution.many:
            return Shape(concurrency, 1)
        unit = self._processor.call_items or self._processor.chunk_items or MANY_ITEMS
        return Shape(max(concurrency // unit, 1), unit)

    async def _close(self) -> None:
        try:
            await self._processor.close()
        except Exception:
            logger.exception("the processor did not close")
