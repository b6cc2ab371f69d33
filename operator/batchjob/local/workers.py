"""Worker processes, as the pods of a run: started, heard, started again when they are lost, and asked to go."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from batchjob.api.run import EXIT_CLOSED, EXIT_CONFIGURATION, EXIT_DRAINED, EXIT_UNOPENED
from batchjob.errors import ConfigurationError
from batchjob.local.family import Family
from batchjob.local.screen import Screen

# By the line, so that what a processor prints is seen now, and what two threads print does not mix.
_PROGRAM: Final = "import sys; sys.stdout.reconfigure(line_buffering=True); from batchjob.cli import main; main()"
COMMAND: Final = (sys.executable, "-P", "-c", _PROGRAM, "worker")
LAST_WORDS: Final = b"batchjob worker: "  # begins a line that says what the termination file says too
BLOCK_BYTES: Final = 65536
END_SECONDS: Final = 5.0  # for a worker to close what it opened, once the run has ended
REST_SECONDS: Final = 1.0  # for the last lines of a worker that has ended: what it started may hold its output open
AGAIN_SECONDS: Final = 1.0  # before a worker that was lost is replaced: it may be lost at once again


class Workers:
    """As many workers as there are slots."""

    def __init__(self, slots: int, folder: Path, variables: Mapping[str, str], family: Family, screen: Screen) -> None:
        self.lost = 0  # workers that ended and should not have
        self.why = ""  # how the last one of them ended
        self.unopened = ""  # what a worker said whose processor did not open
        self._slots = slots
        self._folder = folder
        self._variables = variables
        self._family = family
        self._screen = screen
        self._started = 0
        self._stopping = asyncio.Event()
        self._misconfigured: str | None = None
        self._processes: set[asyncio.subprocess.Process] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start them all."""
        self._tasks = [asyncio.create_task(self._keep_one()) for _ in range(self._slots)]

    def check(self) -> None:
        """Raises ConfigurationError where a worker said that every start of it would fail; else any error of ours."""
        if self._misconfigured is not None:
            raise ConfigurationError(self._misconfigured)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    @property
    def gone(self) -> bool:
        """Whether none is left, and none will be started."""
        return all(task.done() for task in self._tasks)

    def stop(self) -> None:
        """Ask them to go: what is in flight ends, nothing else begins."""
        self._stopping.set()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Cut them off, with whatever they are doing."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def end(self) -> None:
        """See them go, now that the run has ended or they were asked to; those that do not are killed."""
        self._stopping.set()
        await asyncio.wait(self._tasks, timeout=END_SECONDS)
        self.kill()
        await asyncio.wait(self._tasks, timeout=END_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_one(self) -> None:
        while True:
            self._started += 1
            number = self._started
            code = await self._live(number)
            said = self._last_words(number)
            if code == EXIT_CONFIGURATION:
                self._misconfigured = said
                return
            if self._stopping.is_set() or code in {EXIT_CLOSED, EXIT_DRAINED}:
                return
            self.lost += 1
            self.why = said or _ended_by(code)
            if code == EXIT_UNOPENED:
                self.unopened = self.why  # the worker has shown where, and said the rest
            else:
                self._screen.say(f"a worker was lost: {self.why}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), AGAIN_SECONDS)
                return

    async def _live(self, number: int) -> int:
        """One worker from its start to its end; its exit code."""
        told = {
            "BATCHJOB_RUN_DIR": str(self._folder),
            "BATCHJOB_REFERENCES_DIR": str(self._folder / "references"),
            "BATCHJOB_WORKER_NAME": f"local-{number}",
            "BATCHJOB_PROBE_PORT": "0",
            "BATCHJOB_TERMINATION_LOG": str(self._termination(number)),
        }
        # A pipe of our own: one of asyncio's would have us wait for whatever a processor started, which holds it open.
        output, its = os.pipe()
        relay = asyncio.create_task(self._relay(output))
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                env={**os.environ, **self._variables, **told},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=its,
                stderr=its,
                process_group=self._family.group,
            )
        finally:
            os.close(its)
        self._processes.add(process)
        if self._stopping.is_set():
            self.stop()
        try:
            code = await process.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(relay, REST_SECONDS)
            return code
        finally:
            self._processes.discard(process)
            relay.cancel()

    async def _relay(self, output: int) -> None:
        """Show what it says, line by line."""
        reader, rest = asyncio.StreamReader(), b""
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        with contextlib.closing(transport):
            while block := await reader.read(BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                self._show(lines)
            self._show([rest] if rest else [])

    def _show(self, lines: list[bytes]) -> None:
        for line in lines:
            if not line.startswith(LAST_WORDS):
                self._screen.write(line.decode(errors="replace"))

    def _termination(self, number: int) -> Path:
        return self._folder / f"termination-{number}"

    def _last_words(self, number: int) -> str:
        path = self._termination(number)
        return path.read_text() if path.exists() else ""


def _ended_by(code: int) -> str:
    if code < 0:
        hint = ", perhaps because memory was short" if -code == signal.SIGKILL else ""
        return f"it was ended by {signal.Signals(-code).name}{hint}"
    return f"it ended with exit code {code}"
