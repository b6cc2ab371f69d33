"""Where a BatchJob stands and what came of it, in the words of the HTTP API. Pure."""

from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.core.event_data import Broken, Completed, EventData, Nothing, Outcome, Position, Why
from batchjob.core.events import Standing
from batchjob.core.progress import finished

# The condition that says why it is there.
_WHY = {
    Phase.SUSPENDED: ConditionType.SUSPENDED,
    Phase.FAILED: ConditionType.FAILED,
    Phase.CANCELLED: ConditionType.FAILED,
}


def build_result(status: BatchJobStatus) -> Outcome:
    """What came of a BatchJob, as `batch:complete` tells it."""
    counts = status.counts
    return Outcome(
        finished(counts),
        counts.total,
        counts.succeeded,
        counts.failed,
        counts.cancelled,
        status.usage,
        (status.results.uri if status.results else None) or None,
    )


def build_standing(status: BatchJobStatus, time_ms: int) -> Standing:
    """Where a BatchJob stands by its status, seen at that time."""
    why = status.condition(_WHY[status.phase]) if status.phase in _WHY else None
    data: EventData = Why(why.reason, why.message) if why else Nothing()
    if status.phase is Phase.QUEUED:
        data = Position(status.queue_position)
    elif status.phase is Phase.SUCCEEDED:
        data = Completed(build_result(status))
    elif status.phase is Phase.FAILED:
        data = Broken(why.message if why else "", why.reason if why else "", build_result(status))
    return Standing(status.phase, time_ms, data.to_json())
