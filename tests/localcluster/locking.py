"""One command at a time: the state folder, the addresses and the build store are the machine's, not a run's."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.localcluster.progress import say


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Wait until no other command works on this cluster. The kernel frees the lock of a process that dies."""
    file = state.with_name(f"{state.name}.lock")  # beside the folder, which is wiped
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip()
            say(f"waiting for another command on this cluster (pid {holder})")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
