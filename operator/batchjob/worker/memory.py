"""Memory that nobody uses any more, given back to the system."""

import ctypes
import gc


def give_back() -> None:
    """After a large piece of work: the allocator would keep what it freed in small pieces.

    Measured after a source of a million items: 11 of the 19 MiB of its ids stayed. Does nothing where the C library is
    not glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
