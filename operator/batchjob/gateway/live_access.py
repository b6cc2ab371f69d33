"""Who may watch what: their own BatchJobs, and admins all, by the rules of Kubernetes; looked at again now and then."""

import time
from typing import Final

from starlette.requests import HTTPConnection

from batchjob.api.v1alpha1 import BatchJob
from batchjob.core.events import Told, turn
from batchjob.core.phases import is_terminal
from batchjob.core.standings import build_standing
from batchjob.gateway.access import Caller
from batchjob.gateway.batchjobs import find
from batchjob.gateway.doors import Doors
from batchjob.gateway.live_frames import ID, Frame, build_notice
from batchjob.gateway.live_hub import Hub
from batchjob.gateway.problems import INVALID, NOT_FOUND, Fault, Problem
from batchjob.gateway.views import job_id
from batchjob.kube import BATCH_JOBS

END: Final = "end-"  # begins the id of an end that was made of a BatchJob; its uid follows
MANY: Final = "as many connections as may watch this owner, or as you may have, are open: close some"


async def may_watch(caller: Caller, namespace: str, owner: str | None) -> None:
    """A Problem unless all that is an owner's in a namespace is theirs to see."""
    await caller.need("list", BATCH_JOBS, namespace)
    if not await caller.owns(owner):
        raise Problem(NOT_FOUND, "There is no such owner, or you are another one")


class Right:
    """The right of one token to watch: a BatchJob, or all that is an owner's in a namespace."""

    def __init__(
        self, doors: Doors, authorization: str | None, namespace: str, owner: str | None, job: str | None = None
    ) -> None:
        self._doors, self._authorization = doors, authorization
        self._watched, self._job = (namespace, owner), job

    async def look(self) -> Frame | None:
        """The end of a BatchJob that has ended; a Problem where the right does not hold any more, or it is gone."""
        caller = await self._doors.gate.admit(self._authorization)
        if self._job is None:
            await may_watch(caller, *self._watched)
            return None
        found, _ = await find(self._doors, caller, self._job, "get")
        return build_end(found)


def build_end(job: BatchJob) -> Frame | None:
    """The end of a BatchJob that has ended, from its status: for who comes when its events are not kept any more.

    Its id is no place in a stream: it is there to be known again by who came back with it.
    """
    if job.status is None or not is_terminal(job.status):
        return None
    now_ms = time.time_ns() // 1_000_000
    data = {"jobId": job_id(*job.key)} | build_standing(job.status, now_ms).data
    notice = build_notice(str(turn(Told(), job.status.phase)), now_ms, data)
    return notice._replace(id=f"{END}{job.metadata.uid}")


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
