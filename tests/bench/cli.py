"""How long the command line takes to begin: CPU and wall-clock of `--help`, beside `python -c pass`, in turns.

What counts is the ratio: CPU of a process that prints help to that of one that does nothing. `import click` is the
floor of any command line made with it.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.figures import Line

REPETITIONS: Final = 40
BATCHJOB: Final = str(Path(sys.executable).with_name("batchjob"))
CONTENDERS: Final = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "batchjob --help": [BATCHJOB, "--help"],
    "batchjob ls --help": [BATCHJOB, "ls", "--help"],
    "batchjob version": [BATCHJOB, "version"],
}


def measure(scale: float) -> Iterator[Line]:
    """A line a contender: medians of seconds, and the ratio of CPU to that of nothing."""
    seconds: dict[str, list[tuple[float, float]]] = {who: [] for who in CONTENDERS}
    for _ in range(max(3, round(REPETITIONS * scale))):
        for who, command in CONTENDERS.items():
            seconds[who].append(_run(command))
    nothing = median(cpu for cpu, _ in seconds["python -c pass"])
    for who, found in seconds.items():
        cpu = median(cpu for cpu, _ in found)
        yield {
            "who": who,
            "cpu_seconds": cpu,
            "wall_seconds": median(wall for _, wall in found),
            "times_nothing": cpu / nothing,
        }


def _run(command: list[str]) -> tuple[float, float]:
    """CPU and wall-clock seconds of a process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall
