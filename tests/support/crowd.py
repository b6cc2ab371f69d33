"""Many worker processes, started in no time: each is forked from a server that has imported everything already.

Their processor writes each effect into a file that outlives them all, so that what was done can be set beside what
was counted.
"""

import asyncio
import itertools
import multiprocessing
import os
import signal
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from batchjob import log
from batchjob.api.run import Run
from batchjob.worker import Context, Item, Processor, parts, sealer
from batchjob.worker.runtime import serve
from batchjob.worker.settings import Settings, read_run
from tests.support.workers import Workers

PART_BYTES: Final = 500  # of results: about 25 of them
LOOK_SECONDS: Final = 0.05
FORKS: Final = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.support.crowd"])


class Noted(Processor):
    """Takes up to `seconds` for an item, then has its effect: a line in the ledger."""

    def __init__(self, ledger: Path, seconds: float) -> None:
        self._file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._seconds = seconds

    async def process(self, item: Item, context: Context) -> dict[str, int]:
        await asyncio.sleep(self._seconds * Random(item.position * 1000 + item.losses).random())
        os.write(self._file, f"{item.position}\n".encode())
        return {"attempt": context.attempt}


def work(folder: Path, name: str, ledger: Path, seconds: float, lease_seconds: float) -> None:
    """One worker, in a process of its own, from its start to its end; it seals small parts, and often."""
    log.configure("error")
    parts.PART_BYTES = PART_BYTES  # type: ignore[misc] # final for everybody else
    sealer.PART_BYTES = PART_BYTES  # type: ignore[attr-defined]
    sealer.LOOK_SECONDS = LOOK_SECONDS  # type: ignore[misc]
    sealer.CLAIM_SECONDS = LOOK_SECONDS  # type: ignore[misc]
    settings = Settings(
        worker_name=name,
        probe_port=0,
        run_dir=folder,
        references_dir=folder / "references",
        termination_log=folder / f"termination-{name}",
        lease_seconds=lease_seconds,
        grace_seconds=10,
    )
    raise SystemExit(asyncio.run(serve(settings, read_run(folder), Noted(ledger, seconds))))


class Crowd:
    """The workers of one run."""

    def __init__(self, workers: Workers, run: Run, seconds: float, lease_seconds: float) -> None:
        """`seconds`: the longest that an item takes."""
        self.living: dict[str, BaseProcess] = {}
        self._folder = workers.folder(run)
        self._ledger = self._folder / "ledger"
        self._seconds = seconds
        self._lease_seconds = lease_seconds
        self._names = (f"w{number}" for number in itertools.count())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.living):
            self.kill(name)

    def fill(self, size: int) -> None:
        """Replace whoever has ended, up to so many."""
        self.living = {name: process for name, process in self.living.items() if process.is_alive()}
        while len(self.living) < size:
            name = next(self._names)
            arguments = (self._folder, name, self._ledger, self._seconds, self._lease_seconds)
            process = FORKS.Process(target=work, args=arguments, daemon=True)
            process.start()
            self.living[name] = process

    def freeze(self, name: str) -> None:
        """From here on it does nothing: what is seen of it is what will be lost."""
        os.kill(_pid(self.living[name]), signal.SIGSTOP)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        process = self.living.pop(name)
        process.kill()
        process.join()

    def drain(self, name: str) -> None:
        """SIGTERM: it leaves by itself."""
        self.living[name].terminate()

    def exit_code(self, name: str) -> int | None:
        """None while it lives."""
        return self.living[name].exitcode

    def effects(self) -> Counter[int]:
        """How often each item had its effect."""
        return Counter(int(line) for line in self._ledger.read_text().split())


def _pid(process: BaseProcess) -> int:
    if process.pid is None:
        raise RuntimeError("it was not started")
    return process.pid


def spec(**fields: Any) -> dict[str, Any]:
    """A run of so many items out of a file that is mounted as `items.jsonl`."""
    return {
        "type": "custom",
        "custom": {"processor": "noop"},
        "source": {"configMapRef": {"name": "items", "key": "items.jsonl"}},
        "concurrency": 4,
        "retry": {"maxLosses": 100, "maxAttempts": 1},
        **fields,
    }


def lines(items: int) -> str:
    """The file."""
    return "".join(f'{{"id": "i{number}"}}\n' for number in range(items))
