"""One run from its opening to its summary: the operator's half, on this machine."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from batchjob.api.base import Model
from batchjob.api.defaults import effective
from batchjob.api.pods import ClaimVolume, Worker
from batchjob.api.policies import SuccessPolicy
from batchjob.api.run import EXIT_CONFIGURATION, RUN_FILE, STORE_FILE, Run, StoreAccess
from batchjob.api.v1alpha1 import BatchJob, BatchJobSpec, JobType
from batchjob.core.breaker import Spent, breaker_of, describe, reason_of
from batchjob.core.cost import with_cost
from batchjob.core.figures import Reckoning, wanted_of
from batchjob.core.items import ENDED, RunRules, RunState
from batchjob.core.progress import finished, is_success
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import Snapshot
from batchjob.errors import ConfigurationError, ResultsError, RunGone, ScriptsUnknown, StoreError, StoreUnavailable
from batchjob.local.absence import Absence, in_words
from batchjob.local.exits import EXIT_FAILED, EXIT_SUCCEEDED, SIGNALLED, SIGNALS
from batchjob.local.output import DEAD_LETTERS, RESULTS, STOPPED, Letter, Output
from batchjob.local.redrive import load_letters
from batchjob.local.screen import Screen
from batchjob.local.summary import summarize
from batchjob.local.workers import END_SECONDS, Workers
from batchjob.store import Store
from batchjob.store.keys import run_key

LOOK_SECONDS: Final = 0.1  # between two looks at the run
STORE_SECONDS: Final = 2.0  # between two looks at a store that is away, or at a disk that is full
ROOM_SECONDS: Final = 600.0  # for somebody to make room on it, as long as a source may be away
GRACE_SECONDS: Final = 10  # for items in flight after a Ctrl-C: somebody waits for the prompt
FRUITLESS: Final = 5  # workers lost in a row while no item finished: more than one item may cost
BAD_INPUT: Final = (Reason.INVALID_SOURCE, Reason.WORKER_MISCONFIGURED)


def as_here(spec: BatchJobSpec) -> BatchJobSpec:
    """The spec for this machine, all of which is one claim that every worker has."""
    whole = ClaimVolume(claim_name="this-machine", mount_path="/.")  # `/`, in the two characters that are the least
    worker = (spec.worker or Worker()).model_copy(update={"volumes": [whole]})
    return spec.model_copy(update={"worker": worker})


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    code: int
    text: str


class Session:
    """A run in a store, with its workers."""

    def __init__(self, job: BatchJob, access: StoreAccess, folder: Path, workers: Workers, screen: Screen) -> None:
        self._job = job
        self._access = access
        self._folder = folder
        self._workers = workers
        self._screen = screen
        self._uid = str(uuid.uuid4())
        self._exit_code: int | None = None  # of what asked us to stop: a signal, or a budget
        self._held = ""  # by its budget: why
        self._asked = asyncio.Event()  # by a signal, since this was cleared
        self._begun = time.monotonic()

    async def run(self, out: Path, redriven: Sequence[Letter] | None, *, is_ours: bool) -> Ending:
        """Work, write the files, and leave nothing in the store."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or in the background of a script
                asyncio.get_running_loop().add_signal_handler(number, self._stop, SIGNALLED + number)
        async with self._connect() as store:
            if not is_ours:
                await _check(store)
            try:
                await store.load_scripts()
                run = await self._open(store)
                if redriven is not None:
                    await load_letters(store, run, redriven)
                self._workers.start()
                try:
                    await self._watch(store, is_ours=is_ours)
                except BaseException:
                    self._workers.stop()
                    raise
                finally:
                    await self._workers.end()
                return await self._finish(store, out, redriven)
            except StoreError as error:
                return self._lost(error, out, is_ours=is_ours)
            finally:
                await self._clear(store, is_ours=is_ours)

    def _lost(self, error: StoreError, out: Path, *, is_ours: bool) -> Ending:
        """The end of a run of which nobody knows any more, or can ask, what was done."""
        died = is_ours and isinstance(error, StoreUnavailable)
        why = f"the store of this run died: {error}" if died else in_words(error)
        return Ending(
            self._exit_code or EXIT_FAILED,
            f"{self._job.metadata.name}: {why}.\nNothing was written to {out}. Run the same command again: what was "
            "done is done once more.",
        )

    async def _clear(self, store: Store, *, is_ours: bool) -> None:
        """Delete the run's keys; where that fails, the run has ended as it has."""
        try:
            await store.delete_run(self._uid)
        except StoreError as error:
            if not is_ours:
                self._screen.say(f"the keys {run_key(self._uid, '*')} may be left in the store: {in_words(error)}")

    def _connect(self) -> Store:
        try:
            return Store.connect(self._access, name="batchjob-run")
        except ConfigurationError as error:
            raise ConfigurationError(f"--store: {error}") from None

    def _stop(self, code: int) -> None:
        again, self._exit_code = self._exit_code is not None, code
        self._asked.set()
        if self._workers.gone:  # or none is there yet: those that come will go
            self._screen.say("stopping")
            self._workers.stop()
            return
        if again:
            self._screen.say("cut off")
            self._workers.kill()
            return
        self._screen.say(f"stopping: items in flight may take {GRACE_SECONDS} s more (once more: cut them off)")
        self._workers.stop()
        # One whose event loop is blocked hears nothing.
        asyncio.get_running_loop().call_later(GRACE_SECONDS + END_SECONDS, self._workers.kill)

    async def _open(self, store: Store) -> Run:
        job, force = self._job, effective(self._job.spec)
        created_for = f"{job.metadata.namespace}/{job.metadata.name}"
        epoch = await store.open_run(
            self._uid,
            epoch=str(uuid.uuid4()),
            max_losses=force.max_losses,
            created_for=created_for,
            # No limit for results: the memory is theirs.
            rules=RunRules(job.spec.has_destination, early=job.spec.source.starts_early),
        )
        if wanted := wanted_of(job, datetime.now(UTC)):  # nothing remembers runs without a cluster
            await store.put_figures(self._uid, Reckoning(wanted, None).figures({}))
        await store.set_breaker(self._uid, breaker_of(job.spec))
        run = Run(
            uid=self._uid,
            namespace=job.metadata.namespace,
            name=job.metadata.name,
            epoch=epoch,
            spec=as_here(job.spec),
            effective=force,
        )
        _write(self._folder / RUN_FILE, run)
        _write(self._folder / STORE_FILE, self._access)
        return run

    async def _snapshot(self, store: Store) -> Snapshot:
        found = await store.snapshot(self._uid)
        if found is None:
            raise RunGone("the store lost the run: somebody deleted its keys. A store of its own is safest")
        return found

    async def _watch(self, store: Store, *, is_ours: bool) -> None:
        """Look at the run until it has ended, or until it was stopped and every worker is gone."""
        done = lost = 0
        absence = Absence(self._job.metadata.name, self._screen.say)
        while True:
            try:
                snapshot = await self._snapshot(store)
            except StoreUnavailable as error:
                if is_ours or self._exit_code is not None:  # ours keeps nothing: it would come back empty
                    raise
                absence.tell(error, time.monotonic())
                await self._rest()
                continue
            except ScriptsUnknown:  # it was restarted
                await store.load_scripts()
                continue
            absence.end()
            self._screen.show(snapshot)
            self._workers.check()
            if self._workers.unopened and not finished(snapshot.counts):  # its author waits, and nothing is lost
                raise ConfigurationError(self._workers.unopened)
            if snapshot.state in ENDED or self._workers.gone:
                return
            await self._end_early(store, snapshot)
            if finished(snapshot.counts) > done:
                done, lost = finished(snapshot.counts), self._workers.lost
            if self._workers.lost - lost >= FRUITLESS:
                await store.abandon(self._uid, f"{FRUITLESS} workers were lost in a row: {self._workers.why}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _end_early(self, store: Store, snapshot: Snapshot) -> None:
        """End the run where its spec says so; nobody waits here for a decision, so a hold is an end too."""
        limit = self._job.spec.active_deadline_seconds
        if isinstance(snapshot.tripped, Spent):
            if not self._held:  # as after a Ctrl-C: the rest becomes letters, for a redrive with a larger budget
                self._held = f"{reason_of(snapshot.tripped)}: {describe(snapshot.tripped, ())}"
                self._exit_code = self._exit_code or EXIT_FAILED
                self._workers.stop()
        elif snapshot.tripped and not snapshot.counts.active:
            classes = [error.error_class for error in snapshot.last_errors]
            await store.fail(self._uid, reason_of(snapshot.tripped), describe(snapshot.tripped, classes))
        elif limit is not None and time.monotonic() - self._begun >= limit:
            await store.fail(self._uid, Reason.DEADLINE_EXCEEDED, f"spec.activeDeadlineSeconds is {limit}.")

    async def _finish(self, store: Store, out: Path, redriven: Sequence[Letter] | None) -> Ending:
        snapshot = await self._snapshot(store)
        output = Output(store, self._uid, out)
        failed = [letter async for letter in output.letters()]
        code = self._code(snapshot)
        told = msgspec.structs.replace(snapshot, usage=with_cost(self._job.spec, snapshot.usage))
        lines = [summarize(self._job.metadata.name, told, failed, time.monotonic() - self._begun)]
        if why := self._held or (snapshot.message and f"{snapshot.reason}: {snapshot.message}"):
            lines.append(why)
        if finished(snapshot.counts) or snapshot.state is RunState.CLOSED:  # else earlier files are worth more
            await store.abandon(self._uid, STOPPED)  # if it was: what is not done becomes a letter, for a redrive
            here = snapshot.results_uri is None and self._job.spec.type not in {JobType.EXPORT, JobType.REPORT}
            try:
                await self._write(lambda: output.write({letter.id for letter in redriven or ()}, results=here))
                lines += _where(snapshot, out, here=here)
            except ResultsError as error:
                code = self._exit_code or code or EXIT_FAILED
                lines.append(f"nothing was written: {error}")
        return Ending(code, "\n".join(lines))

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write the files: what is in the store ends with us, so a full disk is given the time to be cleared."""
        self._asked.clear()
        ends, told = time.monotonic() + ROOM_SECONDS, ""
        while True:
            try:
                return await write()
            except ResultsError as error:
                if self._asked.is_set() or time.monotonic() > ends:
                    raise
                if str(error) != told:
                    told = str(error)
                    self._screen.say(f"{told}: make room. It is tried again for a while (Ctrl-C: give the results up)")
            await self._rest()

    async def _rest(self) -> None:
        """Wait before another look at what is away or full, unless a signal comes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), STORE_SECONDS)

    def _has_enough(self, snapshot: Snapshot) -> bool:
        return is_success(snapshot.counts, self._job.spec.success_policy or SuccessPolicy())

    def _code(self, snapshot: Snapshot) -> int:
        if snapshot.state not in ENDED and self._exit_code is not None:
            return self._exit_code
        if snapshot.state is RunState.CLOSED and not snapshot.reason and self._has_enough(snapshot):
            return EXIT_SUCCEEDED
        return EXIT_CONFIGURATION if snapshot.reason in BAD_INPUT else EXIT_FAILED


async def _check(store: Store) -> None:
    try:
        await store.check()
    except StoreError as error:
        raise ConfigurationError(f"--store: {in_words(error)}") from None


def _where(snapshot: Snapshot, out: Path, *, here: bool) -> Iterator[str]:
    if here or snapshot.results_uri:
        yield f"results: {snapshot.results_uri or out / RESULTS}"
    if snapshot.total is None:  # items were done while it was read
        yield "the source was not read to its end, and what was not done is in no file: run again without --redrive"
    again = f"{out / DEAD_LETTERS} (the same command with --redrive "
    if (snapshot.total or 0) > finished(snapshot.counts):
        yield f"failed items and those not done: {again}does them)"
    elif snapshot.counts.failed:
        yield f"failed items: {again}tries them again)"


def _write(path: Path, document: Model) -> None:
    path.write_text(document.model_dump_json(by_alias=True, exclude_none=True))
