"""What the index knows of a BatchJob: a row of a list, and what it is found by. Values; pure.

Whoever makes BatchJobs chooses labels, and a worker what an error says: of both a row takes a few.
"""

import hashlib
import re
from typing import Final

import msgspec

MOST_LABELS: Final = 16  # the first by name; each that nobody else has costs the store some 200 bytes
MOST_FINGERPRINTS: Final = 5  # of errors, beside their classes
ROW_ID_BYTES: Final = 10  # of an id, which is written in hexadecimal digits
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_NUMBERED: Final = re.compile(r"(?<!\S)[^\s\d]*\d\S*")  # a word with a digit: ids, times, addresses


class JobRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A BatchJob in a list. Times are seconds since 1970 (UTC).

    The first fields are what it is found by: their order is that of FACETS. What stands behind may only grow at the
    end, since the store keeps rows by position.
    """

    phase: str
    queue: str
    owner: str | None = None
    namespace: str
    type: str
    reason: str = ""  # of the first condition that holds
    labels: tuple[str, ...] = ()  # `key=value`
    errors: tuple[str, ...] = ()  # classes and fingerprints of the last errors
    name: str
    uid: str
    created: int
    started: int | None = None
    ended: int | None = None
    total: int = 0
    waiting: int = 0
    delayed: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def id(self) -> str:
        """Names it in the index, and sorts by the time of its making."""
        return row_id(self.created, self.uid)


FACETS: Final = ("phase", "queue", "owner", "namespace", "type", "reason", "label", "error")


def row_id(created: int, uid: str) -> str:
    """The name of a row. 48 bits tell apart those of one second: two are the same once in 10⁸ bursts of a thousand."""
    return f"{created:08x}{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


def fingerprint(error_class: str, message: str) -> str:
    """Names errors that differ in nothing but numbers, ids and what is quoted: 12 hexadecimal digits."""
    text = f"{error_class}\0{_NUMBERED.sub('#', _QUOTED.sub('#', message))}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
