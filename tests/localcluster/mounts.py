"""Mounts below a folder, and folders that may hold some.

A folder is only ever deleted once nothing is mounted below it: through a left-over bind mount the deletion would
go on in somebody else's files.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tests.localcluster.errors import ClusterError


def below(folder: Path) -> list[Path]:
    """The mount points below a folder, the innermost first."""
    fields = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    points = [Path(_unescape(field[4])) for field in fields]
    return sorted((point for point in points if folder in (point, *point.parents)), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything below a folder; raises ClusterError if something stays."""
    for point in below(folder):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    if remaining := below(folder):
        raise ClusterError(f"still mounted: {', '.join(map(str, remaining))}")


def wipe(folder: Path) -> None:
    """Delete a folder with what is in it, after unmounting what is below; fine if there is none."""
    unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
