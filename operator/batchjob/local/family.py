"""Our processes, the store's server and the workers: all in one process group that ends with us, however we end.

A guard reads from a pipe that only we can write to. The pipe closes when we close it, and also when we are killed: then
the guard kills the group and removes our folder. So no server, no worker and no Secret's content is ever left behind.
"""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_SHELL: Final = ("/bin/sh", "-c")
_LEAD: Final = "read -r _"  # as long as the guard, who has the other end
_GUARD: Final = 'read -r _; kill -KILL "-$1"; rm -rf "$2"'


class Family:
    """The group. Being one of its own, it hears no Ctrl-C of the terminal: what follows from that is ours to decide.

    `folder`: an absolute path, removed once the group is gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._leader = subprocess.Popen(  # noqa: S603 - a constant
            [*_SHELL, _LEAD], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
        self._guard = subprocess.Popen(  # noqa: S603 - a constant
            [*_SHELL, _GUARD, "guard", str(self._leader.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=self._leader.stdin,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        return self

    @property
    def group(self) -> int:
        """What to start a process with, as `process_group`."""
        return self._leader.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill whoever still lives, and remove the folder."""
        self._guard.communicate()
        self._leader.communicate()
