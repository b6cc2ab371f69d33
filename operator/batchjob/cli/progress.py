"""How far a BatchJob is, in a line, and how it ended."""

import sys
from typing import Final

from batchjob.api.status import BatchJobStatus, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.cli.exits import JOB_FAILED, OK, PARTLY_FAILED
from batchjob.cli.output import clean, is_terminal, note, paint, say

_CLEAR: Final = "\r\x1b[2K"


def build_line(job: BatchJob) -> str:
    """A line of its progress."""
    status = job.status or BatchJobStatus()
    held = next((one for one in status.conditions if one.status == "True" and one.reason), None)
    parts = [
        paint(clean(status.phase), status.phase),
        status.progress or "0/?",
        status.percent,
        f"{status.counts.failed} failed" if status.counts.failed else "",
        status.rate if status.phase == Phase.RUNNING else "",
        f"for {status.duration}" if status.duration else "",
        clean(held.reason) if held and held.reason != status.phase else "",
    ]
    return f"{job.metadata.name}: " + ", ".join(part for part in parts if part)


def exit_code(status: BatchJobStatus) -> int:
    """What one that has ended is as an exit code."""
    if status.phase is Phase.SUCCEEDED:
        return OK
    return PARTLY_FAILED if status.phase is Phase.FAILED and status.counts.succeeded else JOB_FAILED


def ending_of(job: BatchJob, *, quiet: bool) -> int:
    """Say how it ended; its exit code."""
    status = job.status or BatchJobStatus()
    if not quiet:
        say(f"batchjob.batchjob.dev/{job.metadata.name} {status.phase.lower()}")
        why = next((one for one in status.conditions if one.type == "Failed" and one.status == "True"), None)
        if why:
            note(f"{why.reason}: {clean(why.message)}")
    return exit_code(status)


class Screen:
    """Where progress is shown: on a terminal one line that changes; else each line that is not as the one before."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._last = ""
        self._lives = is_terminal()

    def show(self, job: BatchJob) -> None:
        """Show how far it is."""
        line = build_line(job)
        if not self._shown or line == self._last:
            return
        self._last = line
        if self._lives:
            sys.stdout.write(_CLEAR + line)
            sys.stdout.flush()
        else:
            say(line)

    def end(self) -> None:
        """Leave the last line where it is."""
        if self._shown and self._lives and self._last:
            sys.stdout.write("\n")
            sys.stdout.flush()
