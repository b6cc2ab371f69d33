"""What the parts have in common: CPU and memory of a process, percentiles, medians of repetitions."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]


def cpu_seconds(pid: int) -> float:
    """CPU of a process so far, of one that ended too as long as nobody waited for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """Most memory a process had; 0 once it ended."""
    return _memory_mib(pid, "VmHWM")


def rss_mib(pid: int) -> float:
    """Memory that a process has; 0 once it ended."""
    return _memory_mib(pid, "VmRSS")


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[max(-(-len(values) * percent // 100) - 1, 0)]


def medians(lines: Sequence[Line], apart: Collection[str] = ()) -> dict[str, dict[str, float]]:
    """Medians of every number of the repetitions, by figure and contender; figures that stand `apart` are left out."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if line["figure"] not in apart:
            words = (line[word] for word in ("figure", "who", "killed") if word in line)
            groups.setdefault(" ".join(words), []).append(line)
    return {
        group: {
            name: round(median(line[name] for line in members), 3)
            for name, value in members[0].items()
            if isinstance(value, int | float)
        }
        for group, members in groups.items()
    }


def _memory_mib(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in status if line.startswith(name)), 0.0)
