"""What a new leader takes over: the BatchJobs that an earlier one let start keep their places."""

from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from batchjob.api.defaults import effective
from batchjob.api.status import Phase
from batchjob.controller.children import newest_child
from batchjob.controller.informer import Informer
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.queueing import held_slots, owner_of
from batchjob.controller.queues import Queues
from batchjob.core.admission import Claim

RUNNING: Final = frozenset({Phase.RUNNING, Phase.FINALIZING})


def restore(queues: Queues, known: KnownBatchJobs, jobs: Informer) -> None:
    """Tell the queues what runs: by its status, or by a Job whose making the status does not tell of yet."""
    queues.clear()
    now = datetime.now(UTC)
    for entry in known.entries():
        if entry.body is None:
            continue
        found = jobs.owned_by(entry.namespace, entry.uid)
        child = newest_child(found, entry.name, entry.uid, entry.jobs_created, now)
        workers = held_slots(child, queues.spec(entry.queue))
        if workers or entry.phase in RUNNING:
            _restore(queues, entry, workers)


def _restore(queues: Queues, entry: Entry, workers: int) -> None:
    try:
        job = entry.parse()
    except ValidationError:
        return  # of a newer version: it is looked at, and says so
    queue = queues.spec(entry.queue)
    if queue is not None:
        priority = effective(job.spec, queue.defaults).priority
        claim = Claim(priority, entry.created, entry.uid, owner_of(job), workers or job.spec.parallelism)
        queues.restore(entry.queue, claim)
