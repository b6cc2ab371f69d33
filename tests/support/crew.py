"""Worker processes of one run that are killed and asked to go, each replaced by a new one, and what they take.

The eldest goes first: one that has only begun holds nothing, and its end would prove nothing.
"""

import asyncio
import itertools
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from batchjob.api.run import EXIT_CLOSED, EXIT_DRAINED, Run
from batchjob.core.items import RunState
from batchjob.core.snapshot import Snapshot
from tests.support.workers import Workers, ended

LEASE_SECONDS: Final = 3.0  # of runs whose workers are killed: what they held is soon another's
LEASE_MS: Final = round(LEASE_SECONDS * 1000)
LEFT: Final = {EXIT_DRAINED, -signal.SIGTERM}  # one that has only begun has no handler yet, and nothing to give back
LOOK_SECONDS: Final = 0.05  # between two looks at what the workers take
PATIENCE_SECONDS: Final = 900


class Crew:
    """So many workers of a run; `peak_mib`: the most that one of them took."""

    def __init__(self, workers: Workers, run: Run, size: int, lease_ms: int = LEASE_MS) -> None:
        """`lease_ms`: with which the run was opened."""
        self.peak_mib = 0.0
        self._lease = {"BATCHJOB_LEASE_SECONDS": str(lease_ms / 1000)}
        self._workers = workers
        self._run = run
        self._size = size
        self._names = (f"w{number}" for number in itertools.count())
        self._living: list[subprocess.Popen[str]] = []  # the eldest first
        self._stack = ExitStack()

    async def __aenter__(self) -> Self:
        self.fill()
        self._watch = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        self._stack.close()

    def fill(self) -> None:
        """Start as many as are missing."""
        while len(self._living) < self._size:
            process = self._workers.process(self._run, next(self._names), **self._lease)
            self._living.append(self._stack.enter_context(process))

    def kill(self) -> None:
        """SIGKILL for the eldest."""
        self._take()
        victim = self._living.pop(0)
        victim.kill()
        victim.wait()
        self.fill()

    async def drain(self) -> None:
        """SIGTERM for the eldest, which leaves by itself."""
        leaving = self._living.pop(0)
        leaving.terminate()
        self.fill()
        code = await ended(leaving)
        assert code in LEFT, f"it left with {code}"

    async def drain_all(self) -> None:
        """SIGTERM for all; none is there afterwards."""
        for process in self._living:
            process.terminate()
        codes = {await ended(process) for process in self._living}
        assert codes <= LEFT, f"they left with {codes}"
        self._living.clear()

    async def finish(self) -> Snapshot:
        """Wait until the run is closed and all have left by themselves."""
        found = await self._workers.wait(
            self._run, lambda s: s.state is RunState.CLOSED, "the run to end", PATIENCE_SECONDS
        )
        assert {await ended(process) for process in self._living} == {EXIT_CLOSED}
        return found

    async def _look(self) -> None:
        while True:
            self._take()
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self) -> None:
        self.peak_mib = max(self.peak_mib, *(_peak_mib(process) for process in self._living), 0.0)


def _peak_mib(process: subprocess.Popen[str]) -> float:
    """The most memory it had so far; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:  # it is waited for
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
