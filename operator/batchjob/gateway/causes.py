"""Why items failed: dead letters by the fingerprint of their errors, for the API and the pages alike.

Ten thousand items that failed for one reason are one cause, though each message has a number or an id of its own. The
fingerprint is what the index knows them by, so `error:<fingerprint>` finds the other BatchJobs that have it.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from batchjob.core.rows import fingerprint
from batchjob.gateway.doors import Doors
from batchjob.store import DeadLetter

MOST_BYTES: Final = 32 * 1024 * 1024  # of records that are read for their errors, about
AT_ONCE: Final = 25  # dead letters of a call: each may hold a record of 1 MiB


@dataclass(frozen=True)
class Cause:
    """Failed items whose errors differ in nothing but numbers, ids and what is quoted; the first of them as example."""

    fingerprint: str
    error_class: str
    message: str
    item: str
    position: int
    count: int


class Causes:
    """Failed items, counted; of each cause its first is kept, and of no item its data."""

    def __init__(self) -> None:
        self.read = 0
        self.complete = True  # whether these are all
        self._counts: Counter[str] = Counter()
        self._first: dict[str, tuple[str, str, str, int]] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count one."""
        self.read += 1
        mark = fingerprint(letter.error_class, letter.message)
        self._counts[mark] += 1
        self._first.setdefault(mark, (letter.error_class, letter.message, letter.id, letter.position))

    def most_common(self, limit: int) -> list[Cause]:
        """The most frequent first; of those that are as frequent, the one that came first."""
        return [Cause(mark, *self._first[mark], count) for mark, count in self._counts.most_common(limit)]


async def read_causes(doors: Doors, uid: str, most: int) -> Causes:
    """The causes of the first `most` failed items of a run, about."""
    found, size = Causes(), 0
    cursor = 0
    while letters := await doors.store.dead_letters(uid, AT_ONCE, cursor):
        for letter in letters:
            found.add(letter)
            size += len(letter.data)
        cursor = letters[-1].position + 1
        if found.read >= most or size >= MOST_BYTES:
            found.complete = not await doors.store.dead_letters(uid, 1, cursor)
            break
    return found
