"""What a new leader takes over: BatchJobs that an earlier one let start, or told to wait, keep their places."""

from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from batchjob.api.defaults import effective
from batchjob.api.queue import BatchQueueSpec
from batchjob.api.status import Phase
from batchjob.controller.children import newest_child
from batchjob.controller.informer import Informer
from batchjob.controller.known import Entry, KnownBatchJobs
from batchjob.controller.queueing import held_slots, owner_of
from batchjob.controller.queues import Queues
from batchjob.controller.rows import mapping
from batchjob.core.admission import Claim

LEAST: Final = 10  # of priorities
RUNNING: Final = frozenset({Phase.RUNNING, Phase.FINALIZING})


def restore(queues: Queues, known: KnownBatchJobs, jobs: Informer) -> None:
    """Tell the queues what runs: by its status, or by a Job whose making the status does not tell of yet.

    And what waits, as its status tells: else the first that is looked at would be the first to start.
    """
    queues.clear()
    now = datetime.now(UTC)
    for entry in known.entries():
        found = list(jobs.owned_by(entry.namespace, entry.uid))
        child = found and newest_child(found, entry.name, entry.uid, entry.jobs_created, now)
        workers = held_slots(child or None)
        queue = queues.spec(entry.queue)
        if queue and (workers or entry.phase in RUNNING):
            _restore(queues, queue, entry, workers)
        elif queue and entry.position and entry.body is not None:
            _expect(queues, entry, entry.body)


def _expect(queues: Queues, entry: Entry, body: dict[str, Any]) -> None:
    """By what was written of it: reading thousands of specs takes longer than the looks that will put it right."""
    priority = mapping(mapping(body.get("status")).get("effective")).get("priority", LEAST)
    workers = mapping(body.get("spec")).get("parallelism", 1)
    owner = owner_of(entry.owner, entry.namespace)
    queues.expect(entry.queue, Claim(priority, entry.created, entry.uid, owner, workers))


def _restore(queues: Queues, queue: BatchQueueSpec, entry: Entry, workers: int) -> None:
    priority = LEAST
    if entry.body is not None:  # else it has ended, and only has what it has until its pods have left
        try:
            spec = entry.parse().spec
            priority, workers = effective(spec, queue.defaults).priority, workers or spec.parallelism
        except ValidationError:  # of a newer version: it is looked at, and says so; its pods are there all the same
            pass
    owner = owner_of(entry.owner, entry.namespace)
    queues.restore(entry.queue, Claim(priority, entry.created, entry.uid, owner, workers))
