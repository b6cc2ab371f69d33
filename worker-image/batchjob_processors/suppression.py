"""Addresses that get no mail, by their digests: a million take 8 MB. Pure.

Two addresses with one digest would be one address too many that gets no mail: with a million of them, that is to be
expected once in ten million million recipients.
"""

import csv
import io
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, TextIO

from batchjob.worker import ConfigurationError, Fail
from batchjob_processors.message import address

LIST_BYTES: Final = 64 * 1024 * 1024
SHELVES: Final = 256  # of digests
_PLAIN: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9.-]+\.[a-z]+")  # needs no other look


class Suppressed:
    """A list of addresses."""

    def __init__(self, body: bytes, column: str | None, field: str) -> None:
        """Read it: one address a line, or CSV with them in that column. Empty lines and those after a # do not count.

        ConfigurationError for a line that is none, with its number: whoever is in it would get mail all the same.
        """
        # Line by line, and sorted shelf by shelf: all at once would take eight times the list's own bytes.
        text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=None if column is None else "")
        self._shelves = [array("Q") for _ in range(SHELVES)]
        try:
            for line, value in _lines(text) if column is None else _column(text, column, field):
                if value and not value.startswith("#"):
                    digest = _digest(_normal(value, f"{field}, line {line}"))
                    self._shelves[digest % SHELVES].append(digest)
        except UnicodeDecodeError:
            raise ConfigurationError(f"{field} is not written in UTF-8: write it in UTF-8") from None
        except csv.Error as error:
            raise ConfigurationError(f"{field} is no CSV: {error}") from None
        for number, shelf in enumerate(self._shelves):
            self._shelves[number] = array("Q", sorted(shelf))

    def __len__(self) -> int:
        return sum(map(len, self._shelves))

    def __contains__(self, plain: str) -> bool:
        """Whether a normalised address is in it, whatever its case."""
        digest = _digest(plain.casefold())
        shelf = self._shelves[digest % SHELVES]
        place = bisect_left(shelf, digest)
        return place < len(shelf) and shelf[place] == digest


def _lines(text: TextIO) -> Iterator[tuple[int, str]]:
    for line, value in enumerate(text, 1):
        yield line, value.strip()


def _column(text: TextIO, column: str, field: str) -> Iterator[tuple[int, str]]:
    rows = csv.DictReader(text)
    if column not in (rows.fieldnames or ()):
        has = ", ".join(rows.fieldnames or ()) or "none"
        raise ConfigurationError(f"{field} has no column {column!r} (spec.email.suppression.column); it has: {has:.80}")
    for row in rows:
        yield rows.line_num, (row[column] or "").strip()


def _normal(value: str, where: str) -> str:
    folded = value.casefold()
    if _PLAIN.fullmatch(folded):
        return folded
    try:
        return address("To", value).addr_spec.casefold()
    except Fail:
        raise ConfigurationError(f"{where} is no address: correct it, or put a # before it") from None


def _digest(plain: str) -> int:
    return int.from_bytes(blake2b(plain.encode(), digest_size=8).digest(), "big")
