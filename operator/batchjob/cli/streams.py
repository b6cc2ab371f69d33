"""Standard input and output that somebody closed, or that cannot be written: a sentence at most, and no traceback."""

import errno
import os
import sys
from typing import Final, TextIO

from batchjob.cli.exits import ERROR

# What writing fails with: a reader that has gone, a disk that is full, a terminal that was closed, `1</dev/null`.
_OF_OUTPUT: Final = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN}
)


def stand_in() -> None:
    """Open what somebody closed (<&-, >&-) and Python has as None: nothing to read, and nobody who reads."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115 - as long as the program
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - as above
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 - as above


def give_up(program: str, error: OSError) -> int:
    """Say why standard output cannot be written, and return the exit code; a reader that has gone needs no sentence.

    Any other error is raised again: one of a file names the file.
    """
    if error.filename is not None or error.errno not in _OF_OUTPUT:
        raise error
    _silence(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        tell(f"{program}: standard output cannot be written: {error.strerror}")
    return ERROR


def tell(sentence: str) -> None:
    """Say on standard error why it ends; the exit code tells it alone where that cannot be written either."""
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python complains once more as it ends
