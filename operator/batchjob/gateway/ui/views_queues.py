"""The queues at a glance. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from batchjob.api.queue import BatchQueue
from batchjob.api.status import Phase
from batchjob.api.v1alpha1 import JobType
from batchjob.core.progress import format_duration
from batchjob.core.queries import Term, build_query
from batchjob.gateway.ui import words
from batchjob.gateway.ui.views_jobs import search_path

HOURS: Final = 24
HOUR_SECONDS: Final = 3600
WIDTH, HEIGHT = 120, 24  # of a sparkline
_DELAYED: Final = (Phase.SUSPENDED, Phase.PENDING)


class Ended(NamedTuple):
    """A run that has ended."""

    queue: str
    phase: str
    ended: float


PerHour = dict[str, tuple[tuple[int, ...], int]]  # by queue: how many ended in each hour, and how many failed


@dataclass(frozen=True)
class Cell:
    """A number that leads to the BatchJobs it counts."""

    value: int
    path: str
    state: str


@dataclass(frozen=True)
class QueueLine:
    """A queue."""

    name: str
    path: str
    has_object: bool
    is_paused: bool
    limit: str
    cells: tuple[Cell, ...]
    rate: str
    oldest: str
    line: str  # points of the sparkline
    ended: int  # BatchJobs that ended in the last day
    failed: int  # of them


@dataclass(frozen=True)
class Overview:
    """All queues."""

    lines: tuple[QueueLine, ...]
    totals: tuple[tuple[str, Cell], ...]
    is_empty: bool


def queue_names(queues: Sequence[BatchQueue]) -> list[str]:
    """Every queue: each type has one without any object."""
    return sorted({queue.metadata.name for queue in queues} | set(map(str, JobType)))


def build_overview(
    queues: Sequence[BatchQueue],
    counts: Mapping[str, Mapping[Phase, int]],
    ended: Mapping[str, tuple[Sequence[int], int]],
    now: float,
    *,
    is_admin: bool,
) -> Overview:
    """`counts`: BatchJobs of those that may be seen; `ended`: as `per_hour` has it. The rest is the admins'."""
    by_name = {queue.metadata.name: queue for queue in queues}
    lines = [
        _line(name, by_name.get(name), counts.get(name, {}), ended.get(name), now, is_admin=is_admin)
        for name in queue_names(queues)
    ]
    totals = []
    for place, (label, state, status) in enumerate(_COLUMNS):
        total = sum(line.cells[place].value for line in lines)
        totals.append((label, Cell(total, search_path(_query(None, status)), state if total else "none")))
    used = [line for line in lines if line.has_object or line.ended or any(cell.value for cell in line.cells)]
    return Overview(tuple(used or lines), tuple(totals), not any(cell.value for _, cell in totals))


_COLUMNS: Final = (
    ("waiting", "waiting", (Phase.QUEUED,)),
    ("active", "active", (Phase.RUNNING, Phase.FINALIZING)),
    ("delayed", "held", _DELAYED),
    ("failed", "bad", (Phase.FAILED,)),
)


def _query(queue: str | None, phases: Iterable[Phase]) -> str:
    terms = [Term("status", phase.lower()) for phase in phases]
    return str(build_query([*terms, Term("queue", queue)] if queue else terms))


def _line(
    name: str,
    queue: BatchQueue | None,
    counts: Mapping[Phase, int],
    ended: tuple[Sequence[int], int] | None,
    now: float,
    *,
    is_admin: bool,
) -> QueueLine:
    cells = []
    for _, state, phases in _COLUMNS:
        value = sum(counts.get(phase, 0) for phase in phases)
        cells.append(Cell(value, search_path(_query(name, phases)), state if value else "none"))
    status = queue.status if queue and is_admin else None
    since = words.parse_time(status.oldest_waiting_since) if status else None
    hours, failed = ended or ((), 0)
    return QueueLine(
        name=name,
        path=search_path(f"queue:{name}"),
        has_object=queue is not None,
        is_paused=bool(queue and queue.spec.paused),
        limit=f"of {queue.spec.max_active_jobs:,}" if queue and queue.spec.max_active_jobs else "",
        cells=tuple(cells),
        rate=status.throughput if status else "",
        oldest=format_duration(max(0.0, now - since)) if since is not None else "",
        line=words.points(hours, WIDTH, HEIGHT),
        ended=sum(hours),
        failed=failed,
    )


def per_hour(records: Iterable[Ended], until: float) -> PerHour:
    """BatchJobs that ended in each of the last 24 hours, oldest first, and how many failed, by queue."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for record in records:
        hours, failed = found.setdefault(record.queue, ([0] * HOURS, [0]))
        age = int((until - record.ended) // HOUR_SECONDS)
        if 0 <= age < HOURS:
            hours[HOURS - 1 - age] += 1
            failed[0] += record.phase == Phase.FAILED
    return {queue: (tuple(hours), failed[0]) for queue, (hours, failed) in found.items()}
