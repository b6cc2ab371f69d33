"""Items, chunks and outcomes: the words that store and worker share.

An item is named by its position in the source (from 0) and by its id; a chunk is a group of items under one lease.
Every outcome is a value, so that deciding what becomes of an item stays apart from writing it down.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

# A worker that was silent for so long has lost what it holds. Short enough that a killed pod's items do not wait long,
# long enough for a restart of the store or a pause of the machine.
LEASE_MS: Final = 10_000


class RunState(StrEnum):
    """Where a run stands in the store."""

    LOADING = "loading"  # the source streams in; items may be claimed only where the run was opened `early`
    OPEN = "open"  # all items are there, and may be claimed
    SEALING = "sealing"  # every item is terminal; results are being finished
    CLOSED = "closed"  # nothing is left to do
    FAILED = "failed"  # cannot go on (bad source, results not writable); nothing may be claimed
    CANCELLED = "cancelled"  # told to end; nothing may be claimed


ENDED: Final = frozenset({RunState.CLOSED, RunState.FAILED, RunState.CANCELLED})  # nothing of a run changes any more


class Item(msgspec.Struct, frozen=True):
    """One item as a worker receives it."""

    position: int  # in the source, from 0
    id: str  # unique in the run; up to 128 characters
    data: dict[str, Any]  # the record, as JSON has it
    attempt: int = 1  # this attempt, from 1
    losses: int = 0  # how often its worker was lost so far


class Before(msgspec.Struct, frozen=True):
    """What is known of a run that the store lost: it begins again from here."""

    done: str = ""  # positions that need never run again, as ranges
    cancelled: int = 0  # how many of them were cancelled by their processor; the others succeeded
    repeats: int = 0  # items that run again though they had ended, and those counted before
    sha256: str = ""  # of the source; another one is another source


class RunRules(msgspec.Struct, frozen=True):
    """What holds for a run in the store."""

    have_destination: bool = False  # workers seal results into parts there; else they stay
    limit_bytes: int = 0  # of results; above it nothing is granted, and without a destination the run ends; 0: none
    early: bool = False  # chunks may be claimed while the source is loaded


class Chunk(msgspec.Struct, frozen=True):
    """Items under one lease; `fence` is the token every commit must name. Finished items are not in `items`."""

    id: str
    fence: int
    items: tuple[Item, ...]


class Succeeded(msgspec.Struct, frozen=True, tag="succeeded"):
    """The item is done; `result` is a JSON document of the processor's, or None."""

    position: int
    result: bytes | None = None


class Retried(msgspec.Struct, frozen=True, tag="retried"):
    """The attempt failed; the item comes back after `delay_ms`. `counts` is False where no attempt was spent."""

    position: int
    error_class: str
    message: str
    delay_ms: int
    counts: bool = True
    hold_ms: int = 0  # the other side wants to hear nothing from anybody for so long


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The item is given up: a dead letter."""

    position: int
    error_class: str
    message: str


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled"):
    """The item is not to be done any more: neither a success nor a dead letter."""

    position: int
    message: str


Outcome = Succeeded | Retried | Failed | Cancelled
