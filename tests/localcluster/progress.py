"""One line on the terminal for each step, with the seconds since the command began.

Steps may run beside each other (images are imported while the API server starts). A step that takes long says
every few seconds that it is still at work: nobody likes six silent minutes. Lines go to stderr, because stdout
belongs to what a command prints for another program to read.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

TICK_SECONDS: Final = 15.0  # often enough to trust that it lives, seldom enough to scroll back

_began: Final = time.monotonic()


def say(text: str) -> None:
    """Print one line with the elapsed seconds before it."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Announce a step when it is done (or has failed), and tick while it lasts."""
    started = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(TICK_SECONDS):
            say(f"  … {name} ({time.monotonic() - started:.0f} s so far)")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    except BaseException:
        say(f"{name}: FAILED after {time.monotonic() - started:.1f} s")
        raise
    else:
        say(f"{name} ({time.monotonic() - started:.1f} s)")
    finally:
        done.set()
        ticker.join()
