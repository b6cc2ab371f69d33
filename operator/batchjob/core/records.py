"""What is remembered of a run that has ended, when its items and the BatchJob itself may be long gone. Values; pure.

One record a run, kept for 90 days in the store, for reports. A worker has written some of the numbers, in a user's
image: whatever they are, a record stays within `RECORD_BYTES`.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from batchjob.api.status import ErrorClass
from batchjob.core.durations import LAST

KEPT_SECONDS: Final = 90 * 86_400
RECORD_BYTES: Final = 8192  # at most; about 500 where nobody tries
USAGES: Final = 32  # counters of a record: twice as many as a status shows
NAME_CHARACTERS: Final = 64  # of a class or a counter
HIGHEST: Final = 2**53  # of a number: what Lua counts exactly


class Tally(msgspec.Struct, frozen=True):
    """What the store counts of a run beside its counters."""

    retried: int = 0  # attempts that failed and were made again
    failures: dict[str, int] = {}  # items given up, by error class
    durations: dict[int, int] = {}  # of attempts: a sketch of core.durations; items that go together share the time


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that has ended. Times are seconds since 1970 (UTC)."""

    uid: str
    namespace: str
    name: str
    owner: str | None = None
    type: str
    queue: str
    phase: str  # Succeeded, Failed or Cancelled
    reason: str = ""  # of its terminal condition
    created: float
    started: float | None = None
    ended: float
    active_seconds: int = 0
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0  # records that were no items, and were left out
    retried: int = 0
    repeated: int = 0  # after the loss of a worker or of the store
    failures: dict[str, int] = {}
    durations: dict[int, int] = {}
    usage: dict[str, int] = {}


def owner_key(namespace: str, owner: str | None) -> str:
    """Names those whose runs are one owner's.

    Of the namespace too: where no policy checks `spec.owner`, it is but a claim.
    """
    return hashlib.sha256(f"{namespace}\0{owner or ''}".encode()).hexdigest()[:32]


def read_tally(texts: Mapping[str, str]) -> Tally:
    """A tally from what the store has of it: `retried`, `failed:<class>`, `took:<bucket>`.

    What makes no sense is left out: a run's user may write its own keys by hand.
    """
    failures, durations = dict[str, int](), dict[int, int]()
    for name, text in texts.items():
        kind, _, rest = name.partition(":")
        number = _number(text)
        if kind == "failed" and number and rest in set(ErrorClass):
            failures[rest] = number
        elif kind == "took" and number and rest.isascii() and rest.isdecimal() and len(rest) <= len(str(LAST)):
            durations[min(int(rest), LAST)] = number
    return Tally(_number(texts.get("retried", "")), largest(failures, len(ErrorClass)), durations)


def largest(numbers: Mapping[str, int], most: int) -> dict[str, int]:
    """The largest of some counters, by name, in bounds."""
    first = sorted(numbers.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return {name[:NAME_CHARACTERS]: bounded(number) for name, number in sorted(first)}


def bounded(number: int) -> int:
    """A count as a record can have it, whatever a run's user wrote in its place."""
    return max(0, min(number, HIGHEST))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(HIGHEST)):
        return 0
    return min(int(text), HIGHEST)
