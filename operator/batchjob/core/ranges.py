"""Positions as ranges, such as `17,301-303`: how the status names many items in little room. Pure."""

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

LIMIT: Final = 1024  # characters of status.failedItems
MORE: Final = ",…"  # stands at the end where not all fit

Pair = tuple[int, int]  # first and last


def format_positions(positions: Iterable[int], *, complete: bool = True, limit: int = LIMIT) -> str:
    """`17,301-303` of ascending positions; ends in `,…` where not all fit, or `complete` is False."""
    return format_pairs(position_pairs(positions), complete=complete, limit=limit)


def format_pairs(pairs: Iterable[Pair], *, complete: bool = True, limit: int = LIMIT) -> str:
    """The same of ascending ranges."""
    text = ""
    for first, last in pairs:
        part = str(first) if first == last else f"{first}-{last}"
        longer = f"{text},{part}" if text else part
        if len(longer) + len(MORE) > limit:
            return text + MORE
        text = longer
    return text if complete or not text else text + MORE


class Ranges:
    """What such a text names; what did not fit into it is not in it. ValueError where it is none."""

    def __init__(self, text: str = "") -> None:
        parts = [part.partition("-") for part in text.removesuffix(MORE).split(",") if part]
        self._firsts = [int(first) for first, _, _ in parts]
        self._lasts = [int(last or first) for first, _, last in parts]

    def __or__(self, other: "Ranges") -> "Ranges":
        both = Ranges()
        for first, last in sorted([*self, *other]):
            if both._lasts and first <= both._lasts[-1] + 1:
                both._lasts[-1] = max(both._lasts[-1], last)
            else:
                both._append(first, last)
        return both

    def __sub__(self, other: "Ranges") -> "Ranges":
        left, others, at = Ranges(), list(other), 0
        for first, last in self:
            begin = first
            while at < len(others) and others[at][0] <= last:
                if begin < others[at][0]:
                    left._append(begin, others[at][0] - 1)
                begin = max(begin, others[at][1] + 1)
                if others[at][1] > last:
                    break  # it may reach into the next range too
                at += 1
            if begin <= last:
                left._append(begin, last)
        return left

    def _append(self, first: int, last: int) -> None:
        self._firsts.append(first)
        self._lasts.append(last)

    def __str__(self) -> str:
        return format_pairs(self, limit=sys.maxsize)

    def __iter__(self) -> Iterator[Pair]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._firsts, position) - 1
        return at >= 0 and position <= self._lasts[at]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self)


def position_pairs(positions: Iterable[int]) -> Iterator[Pair]:
    """Ascending positions as ranges."""
    # Neighbours share position - rank, so they fall into one group.
    for _, group in groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0]):
        run = [position for _, position in group]
        yield run[0], run[-1]
