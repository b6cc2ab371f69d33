"""What the demo prints: steps with their time, and a live table of BatchJobs."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

COLUMNS: Final = ("NAME", "TYPE", "PHASE", "PROGRESS", "FAILED", "RATE", "DURATION")


class Steps:
    """Numbers the steps of a run and remembers how long each took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting now."""
        self._clock = clock
        self._times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, run it, and say how long it took."""
        print(f"\n==> {title}", flush=True)
        start = self._clock()
        yield
        seconds = self._clock() - start
        self._times.append((title, seconds))
        print(f"    done in {seconds:.1f} s", flush=True)

    def summary(self) -> str:
        """One line a step with its seconds, and their sum."""
        rows = [*self._times, ("in all", sum(seconds for _, seconds in self._times))]
        width = max(len(title) for title, _ in rows)
        return "\n".join(f"  {title:<{width}}  {seconds:6.1f} s" for title, seconds in rows)


class LiveTable:
    """A table that is redrawn in place on a terminal, and printed again on change elsewhere."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._live = sys.stdout.isatty()
        self._drawn: list[str] = []

    def draw(self, jobs: list[dict[str, Any]]) -> None:
        """Show these BatchJobs."""
        lines = table([_row(job) for job in jobs])
        if lines == self._drawn:
            return
        if self._live and self._drawn:
            print(f"\x1b[{len(self._drawn)}F\x1b[J", end="")
        self._drawn = lines
        print("\n".join(lines), flush=True)


def table(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = COLUMNS) -> list[str]:
    """Rows under a header, padded to equal widths as kubectl does."""
    cells = [columns, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["    " + "   ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    status = job.get("status", {})
    return (
        job["metadata"]["name"],
        job["spec"]["type"],
        status.get("phase", ""),
        status.get("progress", ""),
        str(status.get("counts", {}).get("failed", "")),
        status.get("rate", ""),
        status.get("duration", ""),
    )
