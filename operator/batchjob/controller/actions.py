"""A plan as a value. Each of its actions can be done twice: the second time changes nothing."""

from dataclasses import dataclass
from typing import Any

from batchjob.api.run import Run
from batchjob.api.status import BatchJobStatus
from batchjob.core.figures import Wanted
from batchjob.core.items import Before, RunRules
from batchjob.core.reasons import Reason
from batchjob.core.records import RunRecord


@dataclass(frozen=True)
class OpenRun:
    """Make the run in the store, in this epoch."""

    epoch: str
    max_losses: int
    before: Before = Before()  # noqa: RUF009 - frozen
    rules: RunRules = RunRules()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class PrepareReport:
    """Give a report its figures."""

    wanted: Wanted


@dataclass(frozen=True)
class Admit:
    """See that the run's Secret is there and says `run`, and that the store knows the user it names."""

    run: Run


@dataclass(frozen=True)
class CreateJob:
    """Create a Job; one of that name that is ours counts as created."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class SetSlots:
    """Change a Job's slots (None: as they are)."""

    name: str
    parallelism: int | None
    suspend: bool | None


@dataclass(frozen=True)
class DeleteJob:
    """Delete a Job and its pods; with `version`, only if it is still that one."""

    name: str
    uid: str
    version: str | None = None


@dataclass(frozen=True)
class PauseRun:
    """Workers are granted nothing more."""


@dataclass(frozen=True)
class ResumeRun:
    """Workers are granted items again; where the circuit breaker tripped, because of this token."""

    token: str | None = None


@dataclass(frozen=True)
class SetBreaker:
    """Trip where too many items fail or a budget is used up, as `core.breaker` writes it; empty: never."""

    breaker: str


@dataclass(frozen=True)
class CancelRun:
    """Every item that is not terminal becomes cancelled."""


@dataclass(frozen=True)
class AbandonRun:
    """Every item that is not terminal becomes a dead letter."""

    message: str


@dataclass(frozen=True)
class FailRun:
    """The run ends as failed."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Dismiss:
    """The workers are gone: remove the run's Secret, then its user. Results and counts stay."""

    secret: str


Action = (
    OpenRun
    | PrepareReport
    | Admit
    | CreateJob
    | SetSlots
    | DeleteJob
    | PauseRun
    | ResumeRun
    | SetBreaker
    | CancelRun
    | AbandonRun
    | FailRun
    | Dismiss
)


@dataclass(frozen=True)
class Note:
    """An Event to post: about a transition that the status of the same plan will tell of, or about what was done."""

    type: str  # Normal or Warning
    reason: str
    message: str
    about: str  # what it tells of, once for all


@dataclass(frozen=True)
class Plan:
    """What to do, in this order: actions, record, Events, the status (None: as it is); and when to look again."""

    actions: tuple[Action, ...] = ()
    status: BatchJobStatus | None = None
    notes: tuple[Note, ...] = ()
    record: RunRecord | None = None  # of a run that ends: kept for reports
    again_seconds: float | None = None  # None: when something changes
    back_off: bool = False  # look again, each time later
    patient: bool = False  # the status may be left to a later look: it would say the same
