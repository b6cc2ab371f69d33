"""The cgroup that pods live in: ours alone, so that whatever runs in a pod can be found and ended.

On cgroup v1 it is made by hand in every hierarchy (the kubelet checks that its root exists, and a new cpuset is
unusable before it has processors and memory nodes). Nothing else under /sys/fs/cgroup is touched.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import AT_ONCE, end

ROOT: Final = Path("/sys/fs/cgroup")
NAME: Final = "bjnode"


def up() -> None:
    """Make our cgroup in every hierarchy."""
    for ours in _places():
        ours.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            above = ours.parent / setting
            if above.exists() and (ours / setting).exists():
                (ours / setting).write_text(above.read_text())


def end_processes() -> None:
    """Kill every process in our cgroup: their node is gone, and no pod's data outlives the cluster."""
    for _ in range(5):  # a process that forks may slip through one round
        pids = {int(pid) for place in _places() for pid in _pids_below(place)}
        if not pids:
            return
        end(pids, AT_ONCE)


def down() -> None:
    """Remove our cgroup; raises ClusterError if something still lives in it."""
    for _ in range(50):  # a dying process leaves its cgroup a moment after it is gone from /proc
        for place in _places():
            for folder, _folders, _files in os.walk(place, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
        if not left():
            return
        time.sleep(0.1)
    raise ClusterError(f"cgroups remain: {', '.join(left())}")


def left() -> list[str]:
    """Our cgroups that are still there."""
    return [f"cgroup {place}" for place in _places() if place.is_dir()]


def _places() -> list[Path]:
    if (ROOT / "cgroup.controllers").exists():  # cgroup v2: one hierarchy
        return [ROOT / NAME]
    return [entry / NAME for entry in sorted(ROOT.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def _pids_below(place: Path) -> Iterator[str]:
    for folder, _folders, files in os.walk(place):
        if "cgroup.procs" in files:
            with suppress(OSError):
                yield from Path(folder, "cgroup.procs").read_text().split()
