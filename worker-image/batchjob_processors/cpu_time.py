"""A limit for work whose length others choose, such as the match of a pattern, where no thread can be stopped.

The system tells the process once it has computed for so long, and Python heeds that between two steps, in `re` too.
Time is the processor's, so that a busy machine makes nothing fail.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class OvertimeError(Exception):
    """It took too long."""


@contextmanager
def limit_cpu(seconds: float) -> Iterator[None]:
    """OvertimeError once the process has computed for so long. For the main thread, and not one within another."""
    before = signal.signal(signal.SIGVTALRM, _tell)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _tell(*_: object) -> NoReturn:
    raise OvertimeError
