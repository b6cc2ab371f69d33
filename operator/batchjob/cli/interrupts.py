"""A Ctrl-C: where nothing has begun the program leaves at once; what has begun is cleared away first.

Python's own way, a KeyboardInterrupt wherever the program just is, would be raised within whatever is imported then,
and a library in Rust panics. asyncio's own way waits for its threads before it ends, and one may be reading a standard
input that nobody closes.
"""

import os
import signal
from collections.abc import Coroutine
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT


def leave(_number: int = signal.SIGINT, _frame: object = None) -> NoReturn:
    """End at once. What was printed is out: `say` keeps nothing back."""
    os._exit(EXIT_INTERRUPTED)


def run(doing: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, but after a Ctrl-C the program leaves once `finally` blocks ran; after a second one at once."""
    import asyncio  # `--help` hears a Ctrl-C too, and has no use for it

    # Somebody else's handler is left alone: nohup's, and that of a program which calls us as a library.
    return asyncio.run(_until_interrupted(doing) if signal.getsignal(signal.SIGINT) is leave else doing)


async def _until_interrupted(doing: Coroutine[Any, Any, T]) -> T:
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(doing)
    was_heard = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal was_heard
        was_heard = True
        signal.signal(signal.SIGINT, leave)
        loop.call_soon_threadsafe(task.cancel)  # it wakes the loop, too

    signal.signal(signal.SIGINT, stop)
    try:
        return await task
    finally:
        if was_heard:  # whatever came of it: a program that signs us in hears the same Ctrl-C, and fails
            leave()
        signal.signal(signal.SIGINT, leave)
