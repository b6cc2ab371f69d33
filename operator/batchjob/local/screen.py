"""What a run shows while it runs, on standard error: a bar on a terminal, a line now and then elsewhere, and logs.

Processors may log and print whenever they like: their lines go above the bar.
"""

import contextlib
import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from batchjob.core.items import RunState
from batchjob.core.progress import finished, format_percent, format_progress, format_rate
from batchjob.core.snapshot import Snapshot
from batchjob.local.summary import printable

LINE_SECONDS: Final = 5.0  # between two lines where there is no terminal
SAME_WARNINGS: Final = 10  # of the engine's, shown of one kind: the summary counts them all
_ENGINE: Final = "batchjob.worker"
# The rest of a log line is details.
_NOT_SHOWN: Final = ("event", "level", "timestamp", "logger", "job", "owner", "trace_id", "exception")
_TOLD_AT_THE_END: Final = "the run cannot be loaded"  # with its reason, in the summary
_STYLES: Final = {"warning": "yellow", "error": "red"}
_STATES: Final = {RunState.LOADING: "loading", RunState.SEALING: "finishing the results"}


class _Console(Console):
    """A console that says nothing once nobody listens; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Called where the other end of a pipe was closed."""
        self.quiet = True


class Screen:
    """Standard error. A file for log lines too: what is written to it may be JSON, and is then put in words."""

    def __init__(self, name: str, *, all_warnings: bool) -> None:
        self._name = name
        self._all_warnings = all_warnings
        self._shown = Counter[str]()
        self._traces = set[str]()
        self._console = _Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._begun = time.monotonic()
        self._last_line = self._begun
        self._said = ""
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[news]}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._name, total=None, news="starting")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.stop()

    def show(self, snapshot: Snapshot) -> None:
        """The run as it is now."""
        if self._bar is not None:
            self._bar.update(
                self._task, completed=finished(snapshot.counts), total=snapshot.total, news=self._news(snapshot)
            )
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            counts, total = snapshot.counts, snapshot.total
            percent = format_percent(counts, total, snapshot.reached)
            parts = [format_progress(counts, total), percent, self._news(snapshot)]
            line = f"{self._name}: {'  '.join(filter(None, parts))}"
            if line != self._said:
                self._said = line
                self.say(line)

    def _news(self, snapshot: Snapshot) -> str:
        counts = snapshot.counts
        if snapshot.load_error is not None:
            return f"waits for the source: {snapshot.load_error[1]}"
        news = [_STATES[snapshot.state]] if snapshot.state in _STATES else []
        if done := finished(counts):
            news.append(format_rate(done / max(time.monotonic() - self._begun, 0.1)))
        news += [f"{counts.failed} failed"] if counts.failed else []
        news += [f"{counts.delayed} to be tried again"] if counts.delayed else []
        return "  ".join(news)

    def say(self, line: str, style: str = "") -> None:
        """One line, above the bar; the run goes on where nobody hears it, such as after its terminal was closed."""
        with contextlib.suppress(OSError):
            self._console.print(line, soft_wrap=True, style=style)

    def write(self, text: str) -> None:
        """Log lines, or whatever a processor prints."""
        for line in text.splitlines():
            try:
                entry = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError:
                self.say(line)
                continue
            self._log(entry) if {"event", "level"} <= entry.keys() else self.say(line)

    def flush(self) -> None:
        """Nothing waits: part of being a file."""

    def _log(self, entry: dict[str, Any]) -> None:
        trace = str(entry.get("exception", ""))
        if trace and trace in self._traces:  # every worker fails where the first one did
            return
        self._traces.add(trace)
        event, style = str(entry["event"]), _STYLES.get(entry["level"], "")
        said = f"{entry['level']:8} {event}"
        is_engine = str(entry.get("logger")).startswith(_ENGINE)
        if is_engine and event == _TOLD_AT_THE_END:
            return
        if is_engine and not self._all_warnings:
            self._shown[event] += 1
            if self._shown[event] == SAME_WARNINGS + 1:
                self.say(f"{said}: more of these are not shown (--log-level info shows all)", style)
            if self._shown[event] > SAME_WARNINGS:
                return
        details = "  ".join(f"{key}={printable(str(value))}" for key, value in entry.items() if key not in _NOT_SHOWN)
        self.say(f"{said}  {details}".rstrip(), style)
        if trace:
            self.say(trace)
