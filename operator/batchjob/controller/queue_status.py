"""The status of BatchQueues: how many BatchJobs wait and run, how fast, and since when the oldest waits.

It says nothing that time alone changes: a queue in which nothing moves costs no write, however much waits in it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from batchjob import log
from batchjob.api.queue import BatchQueue, BatchQueueStatus
from batchjob.api.status import Phase
from batchjob.controller.informer import ObjectKey
from batchjob.controller.known import KnownBatchJobs
from batchjob.controller.queues import Queues
from batchjob.core.admission import is_news
from batchjob.core.progress import format_rate
from batchjob.core.reasons import Reason
from batchjob.errors import BatchJobError, Conflict, KubernetesError, NotFound
from batchjob.kube import BATCH_QUEUES, Kube

LOOK_SECONDS: Final = 5.0
DELAYS: Final = frozenset({Reason.START_AFTER, Reason.DEPENDENCY_NOT_MET, Reason.PREVIOUS_RUN_ACTIVE})

logger = log.get(__name__)


class QueueStatus:
    """Writes the status of each BatchQueue when it has changed; the leader's."""

    def __init__(
        self,
        kube: Kube,
        queues: Queues,
        known: KnownBatchJobs,
        tell: Callable[[ObjectKey], None],
    ) -> None:
        """`tell` is called with the key of each BatchJob that is to be looked at."""
        self._kube = kube
        self._queues = queues
        self._known = known
        self._tell = tell

    async def keep_writing(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.write()
            except Exception as error:
                told = isinstance(error, BatchJobError)
                logger.warning("queues cannot be told", error=str(error), exc_info=None if told else error)

    async def write(self) -> None:
        """Tell BatchJobs what is new of their queue and their places in line, and each BatchQueue what is in it."""
        parted = self._queues.part()
        for entry in self._known.entries():
            is_moved = entry.phase == Phase.QUEUED and is_news(entry.position, self._queues.position(entry.uid))
            if is_moved or (entry.body is not None and entry.queue in parted):
                self._tell((entry.namespace, entry.name))
        objects = list(self._queues.objects())
        phases = count(self._known) if objects else Counter()
        for queue in objects:
            status = self._status(queue, phases)
            if status != queue.status:
                await self._write(queue, status)

    async def _write(self, queue: BatchQueue, status: BatchQueueStatus) -> None:
        """What the queue is by then is the watch's to tell: it may have told of more than the answer knows."""
        name, version = queue.metadata.name, queue.metadata.resource_version
        change = {"status": status.model_dump(mode="json", by_alias=True)}
        try:
            await self._kube.patch(BATCH_QUEUES, None, name, change, subresource="status", resource_version=version)
        except (Conflict, NotFound):
            return  # it has changed or gone, and the watch has yet to say so: the next look does
        except KubernetesError as error:
            logger.warning("a BatchQueue cannot be told", queue=name, error=str(error))

    def _status(self, queue: BatchQueue, found: Counter[tuple[str, str]]) -> BatchQueueStatus:
        name = queue.metadata.name
        line = self._queues.line(name)
        return BatchQueueStatus(
            observed_generation=queue.metadata.generation,
            waiting=line.waiting,
            active=line.active,
            delayed=found[name, "delayed"],
            failed=found[name, "failed"],
            workers=line.workers,
            throughput=format_rate(self._queues.rate(name) or None),
            oldest_waiting_since=line.oldest(),
        )


def count(known: KnownBatchJobs) -> Counter[tuple[str, str]]:
    """BatchJobs by queue and what their status says of them: failed or delayed."""
    found: Counter[tuple[str, str]] = Counter()
    for entry in known.entries():
        if entry.phase == Phase.FAILED:
            found[entry.queue, "failed"] += 1
        elif entry.phase == Phase.QUEUED and entry.reason in DELAYS:
            found[entry.queue, "delayed"] += 1
    return found


def delayed(known: KnownBatchJobs) -> Counter[str]:
    """BatchJobs that wait for their time or for another one, by queue."""
    return Counter({queue: number for (queue, state), number in count(known).items() if state == "delayed"})
