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
from batchjob.controller.actions import Note
from batchjob.controller.notes import came_true
from batchjob.core.documents import writable
from batchjob.core.reasons import Reason

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

Receiver = Webhook | Mail


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
        notice = Notification(
            id=build_id(job.metadata.uid, event, after[kind]),
            event=event,
            time=now,
            reason=after[kind].reason,
            message=after[kind].message[:MESSAGE_LIMIT],
            deliveries=[
                Delivery(to=to, receiver=digest, state=DeliveryState.PENDING, next_attempt_time=now)
                for to, digest in _receivers(notify, event, status.notifications)
            ],
        )
        if notice.deliveries and notice.id not in {known.id for known in status.notifications}:
            fresh.append(notice)
    if not fresh:
        return status
    return status.model_copy(update={"notifications": _kept([*status.notifications, *fresh])})


def _kept(notices: list[Notification]) -> list[Notification]:
    """As many as a status holds, the new one among them.

    The oldest go first, then those that say who is gone, and last those of which somebody is still to be told.
    """
    *old, _ = range(len(notices))
    goes = sorted(old, key=lambda number: (_worth(notices[number]), number))[: max(0, len(notices) - MAX_NOTIFICATIONS)]
    return [notice for number, notice in enumerate(notices) if number not in goes]


def _worth(notice: Notification) -> int:
    states = {delivery.state for delivery in notice.deliveries}
    return 2 if DeliveryState.PENDING in states else 1 if DeliveryState.GONE in states else 0


def dropped(old: BatchJobStatus | None, new: BatchJobStatus) -> Iterator[Note]:
    """Of deliveries that nobody makes any more, since too many later ones wait too."""
    kept = {notice.id for notice in new.notifications}
    for notice in old.notifications if old else ():
        for delivery in notice.deliveries:
            if notice.id not in kept and delivery.state is DeliveryState.PENDING:
                message = f"{MAX_NOTIFICATIONS} later ones wait too"
                note = build_note(
                    notice, delivery.model_copy(update={"state": DeliveryState.FAILED, "message": message})
                )
                yield from (note,) if note else ()


def build_note(notice: Notification, delivery: Delivery) -> Note | None:
    """The Event of a receiver that will not be told; None where it was, or may be yet."""
    if delivery.state in {DeliveryState.PENDING, DeliveryState.DELIVERED}:
        return None
    message = f"spec.notify.{delivery.to} was not told of {notice.event}: {delivery.message}"
    return Note("Warning", Reason.NOTIFICATION_FAILED, message, f"{notice.id} {delivery.to}")


def build_id(uid: str, event: NotifyEvent, why: Condition) -> str:
    """The same for the same: a run ends once, and may be suspended again, or held for another reason."""
    which = f"{why.reason} since {why.last_transition_time}" if event is NotifyEvent.SUSPENDED else "the end"
    return "msg_" + hashlib.sha256(f"{uid}/{event}/{which}".encode()).hexdigest()[:32]


def _receivers(notify: Notify, event: NotifyEvent, earlier: Iterable[Notification]) -> Iterator[tuple[str, str]]:
    """Who wants to hear of it, by place and digest, but for those that have said they want nothing any more."""
    gone = _gone(earlier)
    for to, receiver in _named(notify).items():
        digest = digest_of(receiver)
        if not {to, digest} & gone and event in (receiver.events or NotifyEvent):
            yield to, digest


def _named(notify: Notify | None) -> dict[str, Receiver]:
    """The receivers by their places."""
    if notify is None:
        return {}
    kinds: tuple[tuple[str, Sequence[Receiver]], ...] = (
        ("webhooks", notify.webhooks or ()),
        ("email", notify.email or ()),
    )
    return {f"{kind}[{place}]": found for kind, receivers in kinds for place, found in enumerate(receivers)}


def _gone(notices: Iterable[Notification]) -> set[str]:
    """Those that want to hear no more: digests, or places where an older version wrote no more."""
    deliveries = (delivery for notice in notices for delivery in notice.deliveries)
    return {delivery.receiver or delivery.to for delivery in deliveries if delivery.state is DeliveryState.GONE}


def digest_of(receiver: Receiver) -> str:
    """Names a receiver by where it is: the same one in another place of the list, or with another Secret."""
    where = receiver.url if isinstance(receiver, Webhook) else receiver.to
    return hashlib.sha256(where.encode()).hexdigest()[:16]


def addressed(job: BatchJob, notice: Notification, delivery: Delivery) -> Delivery:
    """The delivery, to whom it is for now: whoever stands in the spec in place of its receiver, where that is mended.

    Not to one that moved to its place and is told for itself, wants nothing of this, or nothing any more.
    """
    named = _named(job.spec.notify)
    there = named.get(delivery.to)
    if there is None or delivery.receiver in {digest_of(receiver) for receiver in named.values()}:
        return delivery
    earlier = job.status.notifications if job.status else ()
    taken = {other.receiver for other in notice.deliveries if other.to != delivery.to} | _gone(earlier)
    digest = digest_of(there)
    if delivery.receiver and (digest in taken or notice.event not in (there.events or NotifyEvent)):
        return delivery
    return delivery.model_copy(update={"receiver": digest})


def receiver_of(notify: Notify | None, delivery: Delivery) -> tuple[str, Receiver] | None:
    """The receiver of a delivery, and its place in spec.notify by now; None where it was taken out."""
    found = [(to, one) for to, one in _named(notify).items() if digest_of(one) == delivery.receiver]
    return next((pair for pair in found if pair[0] == delivery.to), found[0] if found else None)


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
        receiver=delivery.receiver,
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
