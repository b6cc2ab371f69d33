"""How long what a run left is kept. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from batchjob.api.policies import Retention
from batchjob.api.status import BatchJobStatus, Phase, ResultsStatus

Name = TypeVar("Name")
Key = TypeVar("Key")


def expires_at(retention: Retention | None, phase: Phase, ended: datetime) -> datetime:
    """When what a run left goes that ended in this phase."""
    retention = retention or Retention()
    seconds = retention.completed_seconds if phase is Phase.SUCCEEDED else retention.failed_seconds
    return ended + timedelta(seconds=seconds)


def expiring(
    results: ResultsStatus | None, retention: Retention | None, phase: Phase, ended: datetime
) -> ResultsStatus:
    """What is said of the results at the end, with how long they are kept."""
    until = expires_at(retention, phase, ended).astimezone(UTC)
    return (results or ResultsStatus()).model_copy(update={"expires_at": f"{until:%Y-%m-%dT%H:%M:%SZ}"})


def keep_results(status: BatchJobStatus, retention: Retention | None, now: datetime) -> BatchJobStatus:
    """The status of a BatchJob that has ended, with how long its results are kept by now; once gone, they are."""
    until, ended = status.results.expires_at if status.results else None, status.completion_time
    if until is None or ended is None or datetime.fromisoformat(until) <= now:
        return status
    results = expiring(status.results, retention, status.phase, datetime.fromisoformat(ended))
    return status.model_copy(update={"results": results})


class Kept(NamedTuple, Generic[Name]):
    """A complete run that keeps what it left."""

    queue: str
    namespace: str
    owner: str | None
    end: float
    name: Name


def surplus(completed: Iterable[Kept[Name]], keep: Callable[[str], int]) -> list[Name]:
    """Of complete runs, those that are too many: of each queue all but `keep(queue)`, oldest first.

    Namespaces, and in each its owners, keep their newest in turns. So whoever has most loses first, and nobody's
    results go because somebody else runs much; more owners in a namespace take from that namespace alone.
    """
    over: list[Kept[Name]] = []
    for queue, runs in _grouped(completed, lambda run: run.queue).items():
        if len(runs) > keep(queue):
            over += _in_turns(runs)[keep(queue) :]
    return [run.name for run in sorted(over, key=_end)]


def _in_turns(runs: Iterable[Kept[Name]]) -> list[Kept[Name]]:
    newest_first = sorted(runs, key=_end, reverse=True)
    namespaces = _grouped(newest_first, lambda run: run.namespace).values()
    return _interleaved(_interleaved(_grouped(found, lambda run: run.owner).values()) for found in namespaces)


def _interleaved(groups: Iterable[Sequence[Kept[Name]]]) -> list[Kept[Name]]:
    """The first of each, then the second of each, and so on."""
    ranked = [(rank, run) for group in groups for rank, run in enumerate(group)]
    return [run for _, run in sorted(ranked, key=itemgetter(0))]


def _grouped(runs: Iterable[Kept[Name]], group: Callable[[Kept[Name]], Key]) -> dict[Key, list[Kept[Name]]]:
    found = defaultdict[Key, list[Kept[Name]]](list)
    for run in runs:
        found[group(run)].append(run)
    return found


def _end(run: Kept[Name]) -> float:
    return run.end
