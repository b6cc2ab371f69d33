"""How long what a run left is kept. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from batchjob.api.policies import Retention
from batchjob.api.status import BatchJobStatus, Phase, ResultsStatus

Name = TypeVar("Name")


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


def surplus(completed: Iterable[tuple[str, float, Name]], keep: Callable[[str], int]) -> list[Name]:
    """Of complete runs (queue, end, name), all but the last `keep(queue)` of each queue, oldest first."""
    queues = defaultdict[str, list[tuple[float, Name]]](list)
    for queue, ended, name in completed:
        queues[queue].append((ended, name))
    over = [run for name, runs in queues.items() for run in sorted(runs, key=_end, reverse=True)[keep(name) :]]
    return [name for _, name in sorted(over, key=_end)]


def _end(run: tuple[float, Name]) -> float:
    return run[0]
