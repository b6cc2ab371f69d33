"""What somebody else has to mend, in words: obstacles to a plan, and objects that we cannot read. Pure."""

from typing import Final

from pydantic import ValidationError

from batchjob.controller.observed import Trouble
from batchjob.core.reasons import Reason
from batchjob.errors import BatchJobError, Forbidden, NameTaken, WebhookUnavailable

# The reason of the condition, and what to do.
Obstacles = dict[type[BatchJobError], tuple[Reason, str]]

COMMON: Final[Obstacles] = {
    NameTaken: (Reason.NAME_TAKEN, ""),
    Forbidden: (Reason.REFUSED, " Change the quota, policy, webhook or right that forbids it."),
    WebhookUnavailable: (Reason.REFUSED, " Tell those who run that webhook; they can mend or remove it."),
}


def build_trouble(error: Exception, obstacles: Obstacles) -> Trouble:
    """What an obstacle, one of these, means to the user."""
    reason, hint = next(known for kind, known in obstacles.items() if isinstance(error, kind))
    return Trouble(reason, f"{str(error).rstrip('.')}.{hint}")


def say_unreadable(kind: str, error: ValidationError) -> str:
    """The API server took an object, and we cannot read it: of a newer version, or past its schema."""
    where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
    return f"This operator cannot read the {kind}: {where}. Mend it, or upgrade the operator."
