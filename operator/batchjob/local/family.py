"""Our processes, the store's server and the workers: all in one process group that ends with us, however we end.

A shell leads the group and reads from a pipe that only we can write to. The pipe closes when we close it, and also
when we are killed: then the shell kills its own group. So no server and no worker is ever left behind.
"""

import subprocess
from types import TracebackType
from typing import Final, Self

_KILL_ALL_WHEN_TOLD: Final = "read -r _; kill -KILL 0"  # 0 is the group of the shell itself


class Family:
    """The group. Being one of its own, it hears no Ctrl-C of the terminal: what follows from that is ours to decide."""

    def __enter__(self) -> Self:
        self._leader = subprocess.Popen(  # noqa: S603 - a constant
            ["/bin/sh", "-c", _KILL_ALL_WHEN_TOLD], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
        return self

    @property
    def group(self) -> int:
        """What to start a process with, as `process_group`."""
        return self._leader.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill whoever still lives."""
        self._leader.communicate()
