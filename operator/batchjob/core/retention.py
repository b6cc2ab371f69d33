"""How long what a run left is kept. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from batchjob.api.policies import Retention
from batchjob.api.status import Phase

KEEP_COMPLETED: Final = 1000  # runs of a queue that are Complete: what a person may want to look back at

Name = TypeVar("Name")


def expires_at(retention: Retention | None, phase: Phase, ended: datetime) -> datetime:
    """When what a run left goes that ended in this phase."""
    retention = retention or Retention()
    seconds = retention.completed_seconds if phase is Phase.SUCCEEDED else retention.failed_seconds
    return ended + timedelta(seconds=seconds)


def surplus(completed: Iterable[tuple[str, float, Name]], keep: int) -> list[Name]:
    """Of complete runs (queue, end, name), all but the last `keep` of each queue, oldest first."""
    queues = defaultdict[str, list[tuple[float, Name]]](list)
    for queue, ended, name in completed:
        queues[queue].append((ended, name))
    over = [run for runs in queues.values() for run in sorted(runs, key=_end, reverse=True)[keep:]]
    return [name for _, name in sorted(over, key=_end)]


def _end(run: tuple[float, Name]) -> float:
    return run[0]
