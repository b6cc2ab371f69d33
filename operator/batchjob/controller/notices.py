"""What receivers are told, when, and when again. Pure.

The status is the outbox: what is to be told is written with the transition that it tells of, in one write. So a
transition and its notice are there together or not at all, a crash between them is impossible, and nothing is told
before it is true. What became of it is written to the same place, where users look; the store has no part in this, so
that a lost store loses no notice. The one thing that is in no write is an attempt that was made and not recorded yet:
after a crash it is made again, with the same id.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from batchjob.api.notifications import MAX_NOTIFICATIONS, Delivery, DeliveryState, Notification, NotifyEvent
from batchjob.api.notify import Mail, Notify, Webhook
from batchjob.api.status import BatchJobStatus, Condition, ConditionType, Phase
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.notes import came_true
from batchjob.core.documents import writable

MESSAGE_LIMIT: Final = 1024  # of a notice: what is told stays below the 20 kB that Standard Webhooks asks for
TOLD: Final = (
    (ConditionType.COMPLETE, NotifyEvent.COMPLETED),
    (ConditionType.FAILED, NotifyEvent.FAILED),
    (ConditionType.SUSPENDED, NotifyEvent.SUSPENDED),
)
PHASES: Final = {
    NotifyEvent.COMPLETED: Phase.SUCCEEDED,
    NotifyEvent.FAILED: Phase.FAILED,
    NotifyEvent.SUSPENDED: Phase.SUSPENDED,
    NotifyEvent.CANCELLED: Phase.CANCELLED,
}


@dataclass(frozen=True)
class Outcome:
    """What one attempt came to: Pending means that another is to be made."""

    state: DeliveryState
    message: str


def with_notices(job: BatchJob, status: BatchJobStatus, now: str) -> BatchJobStatus:
    """The status to write, with what is to be told because of it."""
    notify, old = job.spec.notify, job.status or BatchJobStatus()
    if notify is None:
        return status
    before, after = ({c.type: c for c in found.conditions} for found in (old, status))
    fresh: list[Notification] = []
    for kind, told in TOLD:
        if not came_true(before.get(kind), after.get(kind), kind):
            continue
        event = NotifyEvent.CANCELLED if status.phase is Phase.CANCELLED else told
        receivers = _receivers(notify, event, status.notifications)
        notice = Notification(
            id=build_id(job.metadata.uid, event, after[kind]),
            event=event,
            time=now,
            reason=after[kind].reason,
            message=after[kind].message[:MESSAGE_LIMIT],
            deliveries=[Delivery(to=to, state=DeliveryState.PENDING, next_attempt_time=now) for to in receivers],
        )
        if notice.deliveries and notice.id not in {known.id for known in status.notifications}:
            fresh.append(notice)
    if not fresh:
        return status
    return status.model_copy(update={"notifications": [*status.notifications, *fresh][-MAX_NOTIFICATIONS:]})


def build_id(uid: str, event: NotifyEvent, why: Condition) -> str:
    """The same for the same: a run ends once, and may be suspended again, or held for another reason."""
    which = f"{why.reason} since {why.last_transition_time}" if event is NotifyEvent.SUSPENDED else "the end"
    return "msg_" + hashlib.sha256(f"{uid}/{event}/{which}".encode()).hexdigest()[:32]


def _receivers(notify: Notify, event: NotifyEvent, earlier: Iterable[Notification]) -> Iterator[str]:
    """Who wants to hear of it, but for those that have said they want nothing any more."""
    gone = {d.to for notice in earlier for d in notice.deliveries if d.state is DeliveryState.GONE}
    named: list[tuple[str, Sequence[Webhook | Mail]]] = [
        ("webhooks", notify.webhooks or []),
        ("email", notify.email or []),
    ]
    for kind, receivers in named:
        for place, receiver in enumerate(receivers):
            to = f"{kind}[{place}]"
            if to not in gone and event in (receiver.events or NotifyEvent):
                yield to


def receiver_of(notify: Notify | None, to: str) -> Webhook | Mail | None:
    """The receiver that a place in spec.notify names; None where it was taken out."""
    kind, _, place = to.rstrip("]").partition("[")
    found: Sequence[Webhook | Mail] | None = getattr(notify, kind, None)
    return found[int(place)] if found and int(place) < len(found) else None


def due(notices: Iterable[Notification], now: datetime) -> Iterator[tuple[Notification, Delivery]]:
    """The attempts to make now."""
    for notice in notices:
        for delivery in notice.deliveries:
            when = delivery.next_attempt_time
            if delivery.state is DeliveryState.PENDING and (when is None or datetime.fromisoformat(when) <= now):
                yield notice, delivery


def attempted(delivery: Delivery, outcome: Outcome, now: datetime, waits: Sequence[float], jitter: float) -> Delivery:
    """The delivery after another attempt. `waits`: seconds after each attempt that failed; then it is given up.

    `jitter`, from 0 to 1, makes a wait up to a tenth longer: receivers that were away are not met by all at once.
    """
    attempts, state, message = delivery.attempts + 1, outcome.state, outcome.message
    following = None
    if state is DeliveryState.PENDING and attempts > len(waits):
        state, message = DeliveryState.FAILED, f"Given up after {attempts} attempts. The last one: {message}"
    elif state is DeliveryState.PENDING:
        following = written(now + timedelta(seconds=waits[attempts - 1] * (1 + jitter / 10)))
    return Delivery(
        to=delivery.to,
        state=state,
        attempts=attempts,
        last_attempt_time=written(now),
        next_attempt_time=following,
        message=writable(message)[:512],
    )


def merged(notices: Iterable[Notification], news: dict[tuple[str, str], Delivery]) -> list[Notification]:
    """The notices with what became of their deliveries, by id and receiver."""
    return [
        notice.model_copy(update={"deliveries": [news.get((notice.id, d.to), d) for d in notice.deliveries]})
        for notice in notices
    ]


def build_body(job: BatchJob, notice: Notification) -> dict[str, Any]:
    """What is told: type, timestamp and data, as Standard Webhooks has it. No item, no payload, nothing secret.

    Counts and usage are those of now: of a run that has ended they move no more.
    """
    status = job.status or BatchJobStatus()
    data: dict[str, Any] = {
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "owner": job.spec.owner,
        "type": job.spec.type,
        "phase": PHASES[notice.event],
        "reason": notice.reason,
        "message": notice.message,
        "counts": status.counts.to_json(),
        "usage": status.usage,
    }
    return {"type": notice.event, "timestamp": notice.time, "data": data}


def encode_body(body: dict[str, Any]) -> str:
    """As it is signed and sent."""
    return json.dumps(body, separators=(",", ":"))


def written(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, rounded up: a time that is due is over when it is read again."""
    return (moment + timedelta(microseconds=999_999)).strftime("%Y-%m-%dT%H:%M:%SZ")
