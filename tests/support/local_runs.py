"""`batchjob run` as a user types it: a process in a folder of its own, which must leave no other process behind."""

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final

import yaml

from tests.support.manifests import API_VERSION

PATIENCE_SECONDS: Final = 180
RUN: Final = ("run", "-f", "batchjob.yaml")
CODE: Final = r"""
import os, subprocess, sys, time
from batchjob.worker import ConfigurationError, Context, Fail, Item, Processor

class TellLength(Processor):
    async def open(self, context: Context) -> None:
        if "refuse" in context.params:
            raise ConfigurationError("spec.custom.params.refuse: it is refused")
        if "break" in context.params:
            raise ValueError("there is no model file")
        if "leave" in context.params:
            sys.exit(0)

    def process(self, item: Item, context: Context):
        print(f"looking at {item.id}\n", end="")  # one write: two threads print at once
        match item.data.get("do"):
            case "fail":
                raise Fail("told to fail")
            case "fail until mended" if "MENDED" not in os.environ:
                raise Fail("told to fail")
            case "rest":
                time.sleep(0.2)
            case "wait":
                time.sleep(60)
            case "divide":
                return {"share": float("nan")}
            case "crash":
                os.abort()
            case "crash once" if not os.path.exists("crashed"):
                open("crashed", "w").close()
                subprocess.Popen(["sleep", "600"])
                os.abort()
        context.usage("characters", len(item.data["text"]))
        return {"length": len(item.data["text"])}
"""


def custom(*items: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A BatchJob for the processor in `CODE`."""
    named = [{"id": f"i{n}", "data": {"text": "x" * n, **data}} for n, data in enumerate(items)]
    return {
        "apiVersion": API_VERSION,
        "kind": "BatchJob",
        "metadata": {"name": "tell"},
        "spec": {"type": "custom", "custom": {"processor": "tell-length"}, "source": {"items": named}, **spec},
    }


class Place:
    """A folder with a module `mine` and a manifest `batchjob.yaml`, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        # Short: the path of a Unix socket may have 107 bytes, and a test's own folder may have most of them.
        self.temporary = Path(tempfile.mkdtemp(prefix="bj-"))
        weakref.finalize(self, shutil.rmtree, self.temporary)
        (folder / "mine.py").write_text(CODE)

    def write(self, *documents: dict[str, Any]) -> None:
        """The manifest."""
        (self.folder / "batchjob.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`batchjob run` on the manifest, to its end."""
        return self.type("batchjob", *RUN, *arguments, environment=environment)

    def type(self, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A whole command, to its end."""
        with self._begin(command, environment=environment) as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run_in_terminal(self, *arguments: str) -> str:
        """The command, to its end, on a terminal of its own; what it showed there."""
        ours, theirs = pty.openpty()
        shown = b""
        with self._begin(("batchjob", *RUN, *arguments), theirs, environment={"TERM": "xterm", "COLUMNS": "200"}):
            os.close(theirs)
            with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
                while block := os.read(ours, 65536):
                    shown += block
            os.close(ours)
        return shown.decode()

    @contextlib.contextmanager
    def _begin(
        self, command: Sequence[str], output: int = subprocess.PIPE, environment: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A command, running; afterwards neither a process nor a temporary file of it may be there."""
        here = str(Path(sys.executable).parent)  # where `batchjob` is
        path = os.pathsep.join([here, os.environ["PATH"]])
        told = {**os.environ, "PATH": path, "TMPDIR": str(self.temporary), **(environment or {})}
        # Of a run that goes on beside this one:
        others, theirs = set(self.processes()), set(self.temporary.iterdir())
        process = subprocess.Popen(
            [shutil.which(command[0], path=path) or command[0], *command[1:]],
            cwd=self.folder,
            env=told,
            stdout=output,
            stderr=output,
            text=True,
        )
        with process:
            try:
                yield process
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()
                self._wait_until_nothing_is_left(others)
        assert set(self.temporary.iterdir()) <= theirs

    def begin(
        self, *arguments: str, prefix: Sequence[str] = (), output: int = subprocess.PIPE
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """`batchjob run` on the manifest, running."""
        return self._begin((*prefix, "batchjob", *RUN, *arguments), output)

    def lines(self, name: str, folder: str = "tell-results") -> list[dict[str, Any]]:
        """The lines of a file of results."""
        return [json.loads(line) for line in (self.folder / folder / name).read_text().splitlines()]

    def processes(self) -> list[str]:
        """Command lines and environments of processes that know our temporary folder: server and workers."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                said = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if str(self.temporary).encode() in said:
                found.append(said.decode(errors="replace"))
        return found

    def _wait_until_nothing_is_left(self, others: set[str]) -> None:
        ends = time.monotonic() + PATIENCE_SECONDS
        while left := set(self.processes()) - others:
            assert time.monotonic() < ends, f"left behind: {left}"
            time.sleep(0.02)  # between two looks at the condition


def until(output: IO[str] | None, words: str) -> None:
    """Read what a process says until it has said so."""
    assert output is not None
    said = []
    for line in output:
        if words in line:
            return
        said.append(line)
    raise AssertionError(f"it never said {words!r}: {''.join(said)}")
