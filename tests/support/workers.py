"""Workers as pods have them, on this machine: the operator's half played by hand, the worker real."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from batchjob.api.base import Model
from batchjob.api.defaults import effective
from batchjob.api.queue import RateLimit
from batchjob.api.run import RUN_FILE, STORE_FILE, ParentResults, Run, StoreAccess
from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.core.cache import cache_name
from batchjob.core.items import LEASE_MS, Before, RunRules
from batchjob.core.rates import keys_of
from batchjob.core.snapshot import Snapshot
from batchjob.store import Store
from batchjob.worker import Processor
from batchjob.worker.runtime import serve
from batchjob.worker.settings import Settings

CHAOS: Final = Path(__file__).parent / "chaos"
PATIENCE_SECONDS: Final = 120.0  # what hangs, hangs longer; a machine on which five suites run is slow

T = TypeVar("T")
_numbers = itertools.count(1)  # over all tests: what a neighbour does late must not be taken for another test's


class Workers:
    """Runs in a store, each with the folder that its pods would mount, and workers for them."""

    def __init__(self, store: Store, url: str, folder: Path) -> None:
        self.store = store
        self._url = url
        self._folder = folder

    async def open(
        self,
        spec: dict[str, Any],
        *,
        lease_ms: int = LEASE_MS,
        parent: Run | None = None,
        results_limit_bytes: int = 0,
        again: tuple[Run, Before] | None = None,
        rate_limits: Sequence[RateLimit] = (),
    ) -> Run:
        """Open a run as the operator does: in the store, with a user of its own, and its documents in a folder.

        `again`: it was open before, and the store has lost it; what the status still knows.
        """
        uid = again[0].uid if again else f"worker-run-{next(_numbers)}"
        parsed = BatchJobSpec.model_validate(spec)
        force = effective(parsed)
        epoch = await self.store.open_run(
            uid,
            epoch=f"epoch-{uid}-2" if again else f"epoch-{uid}",
            max_losses=force.max_losses,
            created_for=f"test/{uid}",
            lease_ms=lease_ms,
            before=again[1] if again else Before(),
            rules=RunRules(parsed.has_destination, results_limit_bytes, parsed.source.starts_early and not again),
        )
        reads = parent.uid if parent else None
        place = parent.spec.results.destination if parent and parent.spec.results else None
        run = Run(
            uid=uid,
            namespace="test",
            name=f"job-{uid}",
            epoch=epoch,
            spec=parsed,
            effective=force,
            rate_limits=list(rate_limits),
            parent_uid=reads,
            parent_results=ParentResults(destination=place, folder=parent.folder) if parent and place else None,
        )
        await self.store.grant(uid, "secret", reads=reads, rates=keys_of(run), cache=cache_name(run))
        self.tell(run)
        self._write(self.folder(run) / STORE_FILE, self.access(run))
        return run

    @property
    def claim(self) -> Path:
        """A folder that all workers may write to, as to a claim."""
        place = self._folder / "claim"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def tell(self, run: Run) -> None:
        """Write what the pods are told of the run."""
        self._write(self.folder(run) / RUN_FILE, run)

    def folder(self, run: Run) -> Path:
        """Where the run's documents and references are."""
        return self._folder / run.uid

    def access(self, run: Run) -> StoreAccess:
        """The run's own way into the store."""
        return StoreAccess(url=self._url, username=f"bj-{run.uid}", password="secret")

    def reference(self, run: Run, purpose: str, **files: str) -> None:
        """Mount a Secret or ConfigMap; `__` in a key stands for a dot."""
        for key, text in files.items():
            path = self.folder(run) / "references" / purpose / key.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    async def work(self, run: Run, processor: Processor, *, name: str = "w", **settings: Any) -> int:
        """A worker in this process; returns its exit code."""
        folder = self.folder(run)
        found = Settings(
            worker_name=name, probe_port=0, run_dir=folder, references_dir=folder / "references", **settings
        )
        return await serve(found, run, processor)

    @contextmanager
    def process(self, run: Run, name: str = "w", **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A worker as a process of its own, with the processor `chaos` at hand; killed at the end if it still runs."""
        folder = self.folder(run)
        told = {
            "BATCHJOB_RUN_DIR": str(folder),
            "BATCHJOB_REFERENCES_DIR": str(folder / "references"),
            "BATCHJOB_WORKER_NAME": name,
            "BATCHJOB_PROBE_PORT": "0",
            "BATCHJOB_TERMINATION_LOG": str(folder / f"termination-{name}"),
            "PYTHONPATH": str(CHAOS),
        }
        command = [str(Path(sys.executable).with_name("batchjob")), "worker"]
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, env=os.environ | told | environment, stderr=log, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, run: Run, name: str = "w") -> list[dict[str, Any]]:
        """What a worker process logged."""
        lines = (self.folder(run) / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def snapshot(self, run: Run) -> Snapshot:
        """The run as the operator sees it."""
        found = await self.store.snapshot(run.uid)
        assert found is not None
        return found

    async def wait(
        self, run: Run, until: Callable[[Snapshot], bool], what: str, seconds: float = PATIENCE_SECONDS
    ) -> Snapshot:
        """Wait until the snapshot is as wanted."""

        async def look() -> Snapshot | None:
            found = await self.snapshot(run)
            return found if until(found) else None

        return await wait_for(look, what, seconds)

    def _write(self, path: Path, document: Model) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document.model_dump_json(by_alias=True, exclude_none=True))


async def wait_for(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """The first answer of `look` that is not None."""
    ends = time.monotonic() + seconds
    while (found := await look()) is None:
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.02)
    return found


async def freeze_when(
    process: subprocess.Popen[str], redis: Redis, holds: Callable[[], Awaitable[bool | None]], what: str
) -> None:
    """Stop a pod in a moment in which `holds` is true: what is seen then is what is lost when it is killed."""

    async def is_caught() -> bool | None:
        process.send_signal(signal.SIGSTOP)
        await redis.ping()  # what it had sent has arrived
        if await holds():
            return True
        process.send_signal(signal.SIGCONT)
        return None

    await wait_for(is_caught, what)


async def ended(process: subprocess.Popen[str]) -> int:
    """The exit code of a process that ends by itself."""

    async def look() -> int | None:
        return process.poll()

    return await wait_for(look, "a worker to end")
