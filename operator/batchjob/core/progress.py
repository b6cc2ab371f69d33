"""How progress is reckoned and told to people: short strings of exact numbers. Pure."""

from typing import Final, Protocol

from batchjob.api.policies import SuccessPolicy
from batchjob.api.status import Counts, Phase
from batchjob.core.items import RunState
from batchjob.core.reasons import Reason
from batchjob.core.snapshot import Snapshot

_CUT_SHORT: Final = frozenset({RunState.FAILED, RunState.CANCELLED})
_LOADED: Final = frozenset({Phase.FINALIZING, Phase.SUCCEEDED})  # so that no items are none, and not unknown
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


class Tally(Protocol):
    """Items by state, whoever counts them: a status, the index, or an answer of the HTTP API."""

    @property
    def total(self) -> int:
        """Items in the run; 0 until the source is loaded."""

    @property
    def succeeded(self) -> int:
        """Items done."""

    @property
    def failed(self) -> int:
        """Items given up."""

    @property
    def cancelled(self) -> int:
        """Items that the processor cancelled, or that were left as the run was cut short."""


def finished(counts: Tally) -> int:
    """Items that are terminal."""
    return counts.succeeded + counts.failed + counts.cancelled


def reckoned(snapshot: Snapshot) -> Counts:
    """The counts that progress is told by: items that were cancelled with their run are not finished."""
    counts = snapshot.counts
    return counts.model_copy(update={"cancelled": 0}) if snapshot.state in _CUT_SHORT else counts


def listed(counts: Tally, phase: str, reason: str | None) -> tuple[int, int | None]:
    """Finished items and all of them, None until they are known: `status.progress`, where only these are at hand.

    A run that was cut short is told by how the BatchJob ended: failed, but not because items did, or cancelled.
    """
    cut_short = phase == Phase.CANCELLED or (phase == Phase.FAILED and reason != Reason.ITEMS_FAILED)
    done = finished(counts) - (counts.cancelled if cut_short else 0)
    return done, counts.total if counts.total or phase in _LOADED else None


def is_success(counts: Counts, policy: SuccessPolicy) -> bool:
    """Whether enough items succeeded.

    Those that the processor cancelled are left out: it said that they are not to be done, so they speak neither for
    the run nor against it, and as many as there are, a run without a failed item is a success.
    """
    return 100 * counts.succeeded >= policy.min_succeeded_percent * (counts.succeeded + counts.failed)


def format_progress(counts: Counts, total: int | None) -> str:
    """`1200/1500`, or `0/?` until the source is loaded."""
    return format_fraction(finished(counts), total)


def format_fraction(done: int, total: int | None) -> str:
    """The same of a number that is reckoned already."""
    return f"{done}/{'?' if total is None else total}"


def format_percent(counts: Counts, total: int | None, reached: int = 0) -> str:
    """`80%`, rounded down: 100% means that nothing is left. Empty until the source is loaded.

    `reached` (`Snapshot.reached`): thousandths of items, with what is done of those in hand.
    """
    if total is None:
        return ""
    done = finished(counts)
    if done >= total:
        return "100%"
    return f"{min(max(1000 * done, reached) // (10 * total), 99)}%"


def reckon_percent(done: int, total: int | None, reached: int = 0) -> float:
    """The same as a number with one decimal, for machines: 100 means that nothing is left; 0 until it is loaded."""
    if total is None:
        return 0.0
    return 100.0 if done >= total else min(max(1000 * done, reached) // total, 999) / 10


def format_duration(seconds: float) -> str:
    """`45s`, `3m12s`, `2h5m` or `3d4h`: two units, as kubectl prints ages."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def format_rate(per_second: float | None) -> str:
    """`41.2/s`, with fewer digits the faster; empty where it is unknown."""
    if per_second is None:
        return ""
    for limit, digits in ((1, 2), (100, 1)):
        if per_second < limit:
            return f"{per_second:.{digits}f}/s"
    return f"{per_second:.0f}/s"
