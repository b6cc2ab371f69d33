"""The command line of `batchjob run`: everything is checked and laid out before anything is started."""

import asyncio
import contextlib
import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from batchjob import log
from batchjob.api.run import StoreAccess
from batchjob.api.v1alpha1 import BatchJob, BatchJobSpec
from batchjob.core.zones import find_zone
from batchjob.errors import ConfigurationError
from batchjob.local.exits import EXIT_SUCCEEDED, SIGNALS
from batchjob.local.family import Family
from batchjob.local.manifest import local_path, read_manifest
from batchjob.local.output import DEAD_LETTERS, RESULTS, read_letters
from batchjob.local.processors import check_known, find_processors, write_entry_points
from batchjob.local.references import environment, mount
from batchjob.local.screen import Screen
from batchjob.local.server import start_server
from batchjob.local.session import GRACE_SECONDS, Ending, Session
from batchjob.local.workers import Workers


@dataclass(frozen=True)
class Options:
    """The command line."""

    files: Sequence[Path]
    processors: Sequence[str]
    out: Path | None
    store: str | None
    workers: int | None
    redrive: bool
    log_level: str


def run(options: Options) -> Ending:
    """Run to the end; returns how it ended. Errors: ConfigurationError where the input cannot work; BatchJobError."""
    manifest = read_manifest(options.files)
    job = manifest.job
    check(job)
    given = find_processors(options.processors)
    if job.spec.custom is not None:
        check_known(job.spec.custom.processor, given)
    out = options.out or Path(f"{job.metadata.name}-results")
    letters = read_letters(out) if options.redrive else None
    if letters == []:
        return Ending(
            EXIT_SUCCEEDED, f"{job.metadata.name}: {out / DEAD_LETTERS} is empty: nothing is to be done again"
        )
    with _alone_in(out), tempfile.TemporaryDirectory(prefix="batchjob-") as name, Family(Path(name)) as family:
        folder = Path(name)
        mount(manifest, folder / "references")
        write_entry_points(given, folder / "processors")
        variables = {
            **environment(manifest),
            "BATCHJOB_LOG_LEVEL": options.log_level,
            "BATCHJOB_GRACE_SECONDS": str(GRACE_SECONDS),
            "PYTHONPATH": _import_path(folder / "processors", options.processors),
        }
        url = options.store or start_server(folder, family)
        with Screen(job.metadata.name, all_warnings=options.log_level in {"debug", "info"}) as screen:
            log.configure(options.log_level, screen)
            workers = Workers(_slots(options, job.spec), folder, variables, family, screen)
            session = Session(job, StoreAccess(url=url), folder, workers, screen)
            try:
                return asyncio.run(session.run(out, letters, is_ours=options.store is None))
            finally:
                for number in SIGNALS:  # it has ended, and what is left to do is clearing up
                    signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """The folder of the results, made and locked now, and not after hours of work."""
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigurationError(f"--out: {out} is a file: name a folder") from None
    except OSError as error:
        raise ConfigurationError(f"--out: {out} cannot be made: {error.strerror}. Name another folder") from None
    if not os.access(out, os.W_OK):
        raise ConfigurationError(f"--out: {out} cannot be written by this user: change its rights, or name another")
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it ends with us, however we end
        yield
    except BlockingIOError:
        raise ConfigurationError(f"--out: another run writes to {out}: wait for its end, or name another") from None
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # such as where there are results in it
                out.rmdir()
        os.close(folder)


def check(job: BatchJob) -> None:
    """ConfigurationError for what only a cluster can do, and for a file that is not there."""
    if job.spec.cancel:
        raise ConfigurationError("spec.cancel is true: nothing would be run. Remove it.")
    after = job.spec.start_after
    if after is not None and datetime.fromisoformat(after) > datetime.now(UTC):
        raise ConfigurationError(f"spec.startAfter: {after} is still to come, and nothing waits here. Remove it.")
    if job.spec.source.results_of is not None:
        name = job.spec.source.results_of.batch_job_name
        raise ConfigurationError(
            "spec.source.resultsOf: there is no other BatchJob without a cluster. Run that one first and read its "
            f"results as a file: spec.source.uri.url: {name}-results/{RESULTS}"
        )
    if job.spec.source.redrive_of is not None:
        raise ConfigurationError(
            "spec.source.redriveOf: there is no other BatchJob without a cluster. Run that one again with --redrive: "
            "it tries the items of its dead-letters.jsonl."
        )
    if job.spec.report is not None:
        try:
            find_zone(job.spec.report.time_zone)
        except ValueError as error:
            raise ConfigurationError(f"spec.report.timeZone: {error}: write one such as Europe/Berlin") from None
    if job.spec.source.uri is not None:
        path = local_path(job.spec.source.uri.url)
        if path is not None and not path.is_file():
            said = f"{path} is no regular file" if path.exists() else f"there is no file {path} on this machine"
            raise ConfigurationError(f"spec.source.uri.url: {said}")


def _slots(options: Options, spec: BatchJobSpec) -> int:
    """As many workers as the run has pods, if each may have a processor of its own: more would only take turns."""
    return options.workers or min(spec.parallelism, os.cpu_count() or 1)


def _import_path(entry_points: Path, processors: Sequence[str]) -> str:
    here = [str(Path.cwd())] if processors else []
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(entry_points), *here, *([inherited] if inherited else [])])
