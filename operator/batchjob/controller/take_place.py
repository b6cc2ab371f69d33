"""Between looking and deciding: a BatchJob takes its place in its queue, which hears here what it wants."""

from dataclasses import replace

from batchjob.controller.observed import Observed
from batchjob.controller.plan import claim_of
from batchjob.controller.queueing import held_slots
from batchjob.controller.queues import Queues
from batchjob.core.reasons import Reason


def take_place(queues: Queues, seen: Observed) -> Observed:
    """What was seen, with the place in its queue: that is told whether it wants to run, and with how many workers.

    Who wants to run no more, or with fewer workers, keeps what it has until its Job says so: what another gets of it
    before would be more than the queue allows.
    """
    name, uid, claim = seen.job.spec.queue, seen.job.metadata.uid, claim_of(seen)
    has = held_slots(seen.child)
    if claim is None and has:
        return seen
    keeps = claim and claim._replace(workers=max(claim.workers, has))
    place = queues.place(name, uid, keeps, has=has, rate=seen.rate)
    if place and claim:
        place = place._replace(workers=min(place.workers, claim.workers))
    if place is None or not place.position or place.reason is Reason.QUEUE_PAUSED:
        return replace(seen, place=place)
    return replace(seen, place=place, wait_seconds=queues.wait_seconds(name, place.position))
