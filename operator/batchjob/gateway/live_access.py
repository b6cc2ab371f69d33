"""Who may watch what: their own BatchJobs, and admins all, by the rules of Kubernetes; asked for again now and then."""

from typing import Final

from starlette.requests import HTTPConnection

from batchjob.gateway.access import Caller
from batchjob.gateway.doors import Doors
from batchjob.gateway.live_frames import ID
from batchjob.gateway.live_hub import Hub
from batchjob.gateway.problems import FORBIDDEN, INVALID, NOT_FOUND, UNAUTHENTICATED, Fault, Problem
from batchjob.kube import BATCH_JOBS

MANY: Final = "as many connections as may watch this owner do already: close some"


async def may_watch(caller: Caller, namespace: str, owner: str | None, job: str | None = None) -> None:
    """A Problem unless a BatchJob of an owner, or all that is the owner's in a namespace, is theirs to see."""
    await caller.need("get" if job else "list", BATCH_JOBS, namespace)
    if not await caller.owns(owner):
        raise Problem(NOT_FOUND, "There is no such owner, or you are another one")


class Right:
    """The right of one token to watch: a BatchJob, or all that is an owner's in a namespace."""

    def __init__(
        self, doors: Doors, authorization: str | None, namespace: str, owner: str | None, job: str | None = None
    ) -> None:
        self._doors, self._authorization = doors, authorization
        self._watched = namespace, owner, job

    async def holds(self) -> bool:
        """Whether it holds."""
        try:
            caller = await self._doors.gate.admit(self._authorization)
            await may_watch(caller, *self._watched)
        except Problem as problem:
            return problem.slug not in {UNAUTHENTICATED, FORBIDDEN, NOT_FOUND}
        return True


def checked_id(text: str | None, where: str) -> str | None:
    """The id of an event that a client named; a Problem where it is none."""
    if text and not ID.fullmatch(text):
        detail = f"{where} has to be the id of an event, such as 1767225600000-0"
        raise Problem(INVALID, detail, faults=[Fault(where, detail, "parameter")])
    return text or None


def hub_of(connection: HTTPConnection) -> Hub:
    """The hub, for a request or a WebSocket."""
    found: Hub = connection.app.state.hub
    return found
