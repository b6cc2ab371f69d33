"""The times of a cron string, as Kubernetes' CronJob controller counts them: that one keeps the time, we foresee it.

cronsim reads the fields and finds the next time on a clock without a zone; the zone's rules are laid over it here,
because Kubernetes' are not those of Debian's cron, which cronsim would follow: a time that the clock skips in spring is
skipped, one that it shows twice in autumn comes twice.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from typing import Final

from cronsim import CronSim, CronSimError

_DESCRIPTORS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS, _WEEKDAYS = 2, 4  # places of the fields
# Where Kubernetes and cronsim read a field otherwise. For Kubernetes a star with a step restricts the day as a list
# does, for cronsim it is as good as a star; a step over a range of one is one to Kubernetes, and to cronsim goes on.
_STEP_OF_ALL: Final = re.compile(r"^\*/(?!1$)")
_STEP_OF_RANGE: Final = re.compile(r"\b(\w+)-(\w+)/\d+")
_NAMES: Final = {
    "sun": "0",
    "mon": "1",
    "tue": "2",
    "wed": "3",
    "thu": "4",
    "fri": "5",
    "sat": "6",
    "jan": "1",
    "feb": "2",
    "mar": "3",
    "apr": "4",
    "may": "5",
    "jun": "6",
    "jul": "7",
    "aug": "8",
    "sep": "9",
    "oct": "10",
    "nov": "11",
    "dec": "12",
}
_HORIZON: Final = timedelta(days=5 * 366)  # what does not come in so many days does not come for Kubernetes either
_DAY: Final = timedelta(days=1)  # no zone changes its clocks there and back within one
_SECOND: Final = timedelta(seconds=1)


class Cron:
    """The times of one cron string in one time zone. ValueError where it has none: the message says why."""

    def __init__(self, text: str, zone: tzinfo) -> None:
        fields = _STEP_OF_RANGE.sub(_without_step, _DESCRIPTORS.get(text, text)).split()
        if len(fields) == 5:  # noqa: PLR2004 - of cron
            fields[_DAYS] = _STEP_OF_ALL.sub("1-31/", fields[_DAYS])
            fields[_WEEKDAYS] = _STEP_OF_ALL.sub("0-6/", fields[_WEEKDAYS])
        self._text = " ".join(fields)
        self._zone = zone
        try:
            CronSim(self._text, datetime(2000, 1, 1))  # noqa: DTZ001 - a clock without a zone
        except CronSimError as error:
            raise ValueError(f"{str(error).lower()}, or a day that never comes") from None

    def times(self, after: datetime) -> Iterator[datetime]:
        """Every time later than `after`, in order, in UTC."""
        after = after.astimezone(UTC).replace(microsecond=0)  # within a zone Python counts on the wall's clock
        horizon = after + _HORIZON
        offset = self._offset(after)
        while after <= horizon:
            try:
                wall = next(CronSim(self._text, (after + offset).replace(tzinfo=None)))
            except StopIteration:
                return
            found = wall.replace(tzinfo=UTC) - offset
            if change := self._first_change(after, found, offset):  # from there on the wall's clock shows other times
                after, offset = change - _SECOND, self._offset(change)
                continue
            if found > horizon:
                return
            yield found
            after = found

    def next(self, after: datetime) -> datetime | None:
        """The first time later than `after`; None if it does not come within five years."""
        return next(self.times(after), None)

    def between(self, after: datetime, before: datetime) -> Iterator[datetime]:
        """The times later than `after` and earlier than `before`, oldest first."""
        return takewhile(lambda time: time < before, self.times(after))

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self._zone).utcoffset() or timedelta()

    def _first_change(self, start: datetime, end: datetime, offset: timedelta) -> datetime | None:
        """The first second later than `start`, up to `end`, in which the clock is not `offset` from UTC."""
        while start < end:
            stop = min(start + _DAY, end)
            if self._offset(stop) != offset:
                break
            start = stop
        else:
            return None
        while stop - start > _SECOND:
            middle = start + (stop - start) // _SECOND // 2 * _SECOND
            start, stop = (middle, stop) if self._offset(middle) == offset else (start, middle)
        return stop


def _without_step(found: re.Match[str]) -> str:
    """A range of one without its step, however both ends are written (5-05, mon-1); others as they are."""
    first, last = (_NAMES.get(end.lower(), end).lstrip("0") for end in found.groups())
    return found[1] if first == last else found[0]
