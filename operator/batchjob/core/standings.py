"""Where a BatchJob stands and what came of it, in the words of the HTTP API. Pure."""

from typing import Any

from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.core.events import Standing
from batchjob.core.progress import finished

# The condition that says why it is there.
_WHY = {
    Phase.SUSPENDED: ConditionType.SUSPENDED,
    Phase.FAILED: ConditionType.FAILED,
    Phase.CANCELLED: ConditionType.FAILED,
}


def build_result(status: BatchJobStatus) -> dict[str, Any]:
    """What came of a BatchJob, as `batch:complete` tells it: numbers, and where the results are; never an item."""
    counts = status.counts
    result: dict[str, Any] = {
        "processed": finished(counts),
        "total": counts.total,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "usage": status.usage,
    }
    uri = status.results.uri if status.results else None
    return result | ({"resultsUri": uri} if uri else {})


def build_standing(status: BatchJobStatus, time_ms: int) -> Standing:
    """Where a BatchJob stands by its status, seen at that time."""
    why = status.condition(_WHY[status.phase]) if status.phase in _WHY else None
    reason, message = (why.reason, why.message) if why else ("", "")
    data: dict[str, Any] = {}
    if status.phase is Phase.QUEUED and status.queue_position is not None:
        data = {"position": status.queue_position}
    elif status.phase is Phase.SUCCEEDED:
        data = {"result": build_result(status)}
    elif status.phase is Phase.FAILED:
        data = {"error": message, "reason": reason, "result": build_result(status)}
    elif why:
        data = {"reason": reason, "message": message}
    return Standing(status.phase, time_ms, data)
