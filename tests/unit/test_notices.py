"""What receivers are told: which transitions, once each, when again, and when no more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchjob.api.notifications import Delivery, DeliveryState, Notification
from batchjob.api.notify import Mail, Webhook
from batchjob.api.status import BatchJobStatus, ConditionType, Phase
from batchjob.controller.notify.mails import build_mail
from batchjob.controller.notify.notices import (
    Outcome,
    addressed,
    attempted,
    build_body,
    build_note,
    digest_of,
    due,
    encode_body,
    merged,
    receiver_of,
    with_notices,
)
from batchjob.controller.observed import Trouble
from batchjob.controller.obstacles import plan_obstructed
from batchjob.controller.settings import Settings
from batchjob.core.items import RunState
from batchjob.core.reasons import Reason
from tests.support.plan_world import SETTINGS, World, batch_job, condition, snapshot, started

HOOK = {"url": "https://hooks.example.com/a", "secretRef": {"name": "hooks", "key": "secret"}}
NOTIFY = {"webhooks": [HOOK, HOOK | {"events": ["batch.failed"]}], "email": [{"to": "ops@example.com"}]}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAITS = (5.0, 300.0)


def told(status: BatchJobStatus | None) -> list[tuple[str, str, list[str]]]:
    """Event, reason and receivers of each notice."""
    notices = status.notifications if status else []
    return [(notice.event, notice.reason, [d.to for d in notice.deliveries]) for notice in notices]


def world(**spec: Any) -> World:
    found = started()
    found.edit(notify=NOTIFY, **spec)
    return found


def notice(**fields: Any) -> Notification:
    delivery = Delivery(to="webhooks[0]", state=DeliveryState.PENDING, next_attempt_time="2026-01-01T00:00:00Z")
    values: dict[str, Any] = {
        "id": "msg_1",
        "event": "batch.failed",
        "time": "2026-01-01T00:00:00Z",
        "reason": "ItemsFailed",
        "message": "1 of 2 items failed.",
        "deliveries": [delivery],
    }
    return Notification(**values | fields)


@pytest.mark.parametrize(
    ("run", "event", "reason", "receivers"),
    [
        (snapshot(RunState.CLOSED, counts={"succeeded": 10}), "batch.completed", "Succeeded", 2),
        (snapshot(RunState.CLOSED, counts={"succeeded": 9, "failed": 1}), "batch.failed", "ItemsFailed", 3),
        (snapshot(RunState.CANCELLED, counts={"cancelled": 10}), "batch.cancelled", "Cancelled", 2),
    ],
)
def test_each_end_is_told_to_those_who_want_to_hear_of_it(run: Any, event: str, reason: str, receivers: int) -> None:
    found = world()
    found.run = run
    plan = found.look()
    everybody = ["webhooks[0]", "webhooks[1]", "email[0]"]
    wanted = everybody if receivers == 3 else ["webhooks[0]", "email[0]"]
    assert told(plan.status) == [(event, reason, wanted)]


def test_what_is_told_is_written_with_the_transition_and_once() -> None:
    found = world(suspend=True)
    found.settle()
    assert told(found.status) == [("batch.suspended", "SuspendedByUser", ["webhooks[0]", "email[0]"])]
    found.settle()
    found.now += timedelta(seconds=60)
    found.edit(suspend=False)
    found.settle()
    assert len(told(found.status)) == 1, "to go on is told to nobody"
    found.edit(suspend=True)
    found.settle()
    assert [event for event, _, _ in told(found.status)] == ["batch.suspended"] * 2
    assert found.status
    assert len({one.id for one in found.status.notifications}) == 2


def test_an_end_has_one_id_for_ever_even_where_somebody_wipes_the_status() -> None:
    found = world()
    found.run = snapshot(RunState.CLOSED, counts={"succeeded": 10})
    first = found.plan().status
    found.now += timedelta(seconds=90)
    found.status = None
    second = found.plan().status
    assert first
    assert second
    assert [n.id for n in first.notifications] == [n.id for n in second.notifications]
    assert first.notifications[0].id.startswith("msg_")


def test_what_is_in_the_way_of_a_pause_is_no_other_pause_and_another_hold_is() -> None:
    found = world(failurePolicy={"maxFailedPercent": 20, "minItems": 5})
    found.work(succeeded=1, failed=3)
    found.settle()
    found.trip()  # just before the pause
    found.edit(suspend=True)
    found.settle()
    for _ in range(2):
        found.now += timedelta(seconds=60)
        plan = plan_obstructed(found.observe(), Trouble(Reason.STORE_FULL, "The store is full."), SETTINGS.pace)
        assert plan.status
        assert condition(plan.status, ConditionType.SUSPENDED)[:2] == ("True", "StoreFull")
        found.status = plan.status
        found.settle()
        assert condition(found.status, ConditionType.SUSPENDED)[:2] == ("True", "SuspendedByUser")
    assert len(told(found.status)) == 1
    found.edit(suspend=False)
    found.settle()
    assert [reason for _, reason, _ in told(found.status)] == ["SuspendedByUser", "FailureThreshold"]


def test_who_names_nobody_tells_nobody() -> None:
    found = started()
    found.run = snapshot(RunState.CLOSED, counts={"succeeded": 10})
    assert told(found.look().status) == []


@pytest.mark.parametrize(
    ("states", "drops"),
    [
        (["Delivered"] * 8, 0),
        (["Pending", "Gone", "Failed"] + ["Delivered"] * 5, 2),
        (["Pending", "Gone"] + ["Pending"] * 6, 1),
        (["Pending"] * 8, 0),
    ],
)
def test_the_status_keeps_eight_and_those_that_somebody_waits_for_longest(states: list[str], drops: int) -> None:
    old = [
        notice(id=f"msg_{number}", deliveries=[Delivery(to="webhooks[0]", state=state)])
        for number, state in enumerate(states)
    ]
    found = world()
    assert found.status
    found.status = found.status.model_copy(update={"notifications": old})
    found.run = snapshot(RunState.CLOSED, counts={"succeeded": 10})
    plan = found.look()
    assert plan.status
    kept = [one.id for one in plan.status.notifications]
    assert kept[:-1] == [f"msg_{number}" for number in range(8) if number != drops]
    assert plan.status.notifications[-1].event == "batch.completed"
    said = [note.message for note in plan.notes if note.reason is Reason.NOTIFICATION_FAILED]
    dropped = ["spec.notify.webhooks[0] was not told of batch.failed: 8 later ones wait too"]
    assert said == (dropped if set(states) == {"Pending"} else [])


def test_who_said_gone_is_not_told_of_later_events() -> None:
    gone = notice(deliveries=[Delivery(to="webhooks[0]", state=DeliveryState.GONE, attempts=1)])
    job = batch_job({"notify": NOTIFY}, BatchJobStatus(notifications=[gone]))
    found = world()
    found.run = snapshot(RunState.CLOSED, counts={"succeeded": 10})
    ended = found.plan().status
    assert ended
    ended = ended.model_copy(update={"notifications": [gone]})
    assert told(with_notices(job, ended, "2026-01-01T00:00:00Z"))[1:] == [
        ("batch.completed", "Succeeded", ["email[0]"])
    ]


def test_an_attempt_that_failed_is_made_again_later_and_later_and_then_given_up() -> None:
    away = Outcome(DeliveryState.PENDING, "HTTP 500")
    delivery, now, waits = notice().deliveries[0], NOW, []
    while delivery.state is DeliveryState.PENDING:
        assert list(due([notice(deliveries=[delivery])], now))
        delivery = attempted(delivery, away, now, WAITS, jitter=0.0)
        if delivery.next_attempt_time:
            following = datetime.fromisoformat(delivery.next_attempt_time)
            assert not list(due([notice(deliveries=[delivery])], following - timedelta(seconds=1)))
            waits.append((following - now).total_seconds())
            now = following
    assert waits == [5, 300]
    assert delivery.to_json() == {
        "to": "webhooks[0]",
        "receiver": "",
        "state": "Failed",
        "attempts": 3,
        "lastAttemptTime": "2026-01-01T00:05:05Z",
        "message": "Given up after 3 attempts. The last one: HTTP 500",
    }


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.GONE, DeliveryState.FAILED])
def test_what_is_settled_is_not_tried_again(state: DeliveryState) -> None:
    after = attempted(notice().deliveries[0], Outcome(state, "said"), NOW, WAITS, jitter=1.0)
    assert (after.state, after.attempts, after.next_attempt_time) == (state, 1, None)
    assert not list(due(merged([notice()], {("msg_1", "webhooks[0]"): after}), NOW + timedelta(days=99)))


def test_receivers_that_come_back_are_not_met_by_all_at_once() -> None:
    away = Outcome(DeliveryState.PENDING, "HTTP 503")
    after = [attempted(notice().deliveries[0], away, NOW, (1000.0,), jitter) for jitter in (0.0, 1.0)]
    assert [d.next_attempt_time for d in after] == ["2026-01-01T00:16:40Z", "2026-01-01T00:18:20Z"]


def test_the_waits_are_those_of_standard_webhooks() -> None:
    settings = Settings(store_url="redis://x", worker_image="w")
    hours = [wait / 3600 for wait in settings.notify_retry_seconds]
    assert hours == pytest.approx([5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24])


def test_a_receiver_that_will_not_be_told_is_an_event_and_one_that_may_be_is_none() -> None:
    def note(state: DeliveryState) -> Any:
        return build_note(notice(), Delivery(to="webhooks[0]", state=state, message="HTTP 410"))

    assert note(DeliveryState.PENDING) is None
    assert note(DeliveryState.DELIVERED) is None
    for state in (DeliveryState.FAILED, DeliveryState.GONE):
        found = note(state)
        assert (found.type, found.reason) == ("Warning", Reason.NOTIFICATION_FAILED)
        assert found.message == "spec.notify.webhooks[0] was not told of batch.failed: HTTP 410"


def hook(name: str, **fields: Any) -> dict[str, Any]:
    return HOOK | {"url": f"https://hooks.example.com/{name}"} | fields


def where(*hooks: dict[str, Any], notices: list[Notification] | None = None, of: str = "a", at: int = 0) -> str | None:
    """To whom a delivery goes that was for `of`, at that place of the list, once the list is edited to `hooks`."""
    meant = digest_of(Webhook.model_validate(hook(of)))
    delivery = Delivery(to=f"webhooks[{at}]", receiver=meant, state=DeliveryState.PENDING)
    other = Delivery(to="webhooks[1]", receiver=digest_of(Webhook.model_validate(hook("b"))), state="Delivered")
    told_of = notice(deliveries=[delivery, other] if at == 0 else [delivery])
    job = batch_job({"notify": {"webhooks": list(hooks)}}, BatchJobStatus(notifications=[*(notices or []), told_of]))
    after = addressed(job, told_of, delivery)
    found = receiver_of(job.spec.notify, after)
    if found is None:
        return None
    place, receiver = found
    assert isinstance(receiver, Webhook)
    assert after.receiver == digest_of(receiver)
    return f"{receiver.url.rpartition('/')[2]} at {place}"


def gone_of(name: str) -> Notification:
    digest = digest_of(Webhook.model_validate(hook(name)))
    return notice(id="msg_0", deliveries=[Delivery(to="webhooks[3]", receiver=digest, state=DeliveryState.GONE)])


def test_a_delivery_follows_its_receiver_through_the_list_and_whoever_mends_its_url() -> None:
    assert where(hook("a"), hook("b")) == "a at webhooks[0]"
    assert where(hook("new"), hook("a"), hook("b")) == "a at webhooks[1]", "one was put before it"
    assert where(hook("a"), of="a", at=1) == "a at webhooks[0]", "the one before it was taken out"
    assert where(hook("mended"), hook("b")) == "mended at webhooks[0]"
    assert where(hook("a", secretRef={"name": "other", "key": "k"}), hook("b")) == "a at webhooks[0]"


def test_a_delivery_whose_receiver_was_taken_out_goes_to_nobody_else() -> None:
    assert where(hook("b")) is None, "b is told for itself"
    assert where(hook("c", events=["batch.completed"])) is None, "who moved up wants nothing of this"
    assert where(hook("c"), notices=[gone_of("c")]) is None, "nor does who is gone"
    assert where(hook("b"), at=4) is None


def test_a_delivery_of_an_older_version_goes_by_its_place() -> None:
    job = batch_job({"notify": NOTIFY})
    for to, kind in (("webhooks[1]", Webhook), ("email[0]", Mail)):
        found = receiver_of(job.spec.notify, addressed(job, notice(), Delivery(to=to, state=DeliveryState.PENDING)))
        assert found
        assert (found[0], type(found[1])) == (to, kind)
    lost = Delivery(to="email[1]", state=DeliveryState.PENDING)
    assert receiver_of(job.spec.notify, addressed(job, notice(), lost)) is receiver_of(None, lost) is None


def test_who_said_gone_is_known_by_what_it_is_and_not_by_its_place() -> None:
    job = batch_job({"notify": {"webhooks": [hook("b"), hook("c")]}})
    ended = started()
    ended.run = snapshot(RunState.CLOSED, counts={"succeeded": 10})
    status = ended.plan().status
    assert status
    for name, places in (("b", ["webhooks[1]"]), ("elsewhere", ["webhooks[0]", "webhooks[1]"])):
        gone = gone_of(name)
        moved = gone.model_copy(update={"deliveries": [gone.deliveries[0].model_copy(update={"to": "webhooks[0]"})]})
        found = with_notices(job, status.model_copy(update={"notifications": [moved]}), "2026-01-01T00:00:00Z")
        assert told(found)[1:] == [("batch.completed", "Succeeded", places)]


def test_what_is_told_says_what_became_of_the_run_and_nothing_of_its_items() -> None:
    job = batch_job({"owner": "alice", "notify": NOTIFY}, BatchJobStatus(phase=Phase.RUNNING, usage={"mails": 3}))
    body = build_body(job, notice())
    assert body | {"data": None} == {"type": "batch.failed", "timestamp": "2026-01-01T00:00:00Z", "data": None}
    data = body["data"]
    assert data.pop("counts")["total"] == 0
    assert data == {
        "namespace": "team",
        "name": "job",
        "uid": "uid-1",
        "owner": "alice",
        "type": "custom",
        "phase": "Failed",
        "reason": "ItemsFailed",
        "message": "1 of 2 items failed.",
        "usage": {"mails": 3},
    }
    assert len(encode_body(build_body(job, notice(message="ü" * 1024)))) < 20_000


def test_the_mail_says_it_in_words_and_has_one_message_id_for_all_attempts() -> None:
    job = batch_job({"owner": "alice"}, BatchJobStatus(usage={"mails": 3}))
    message = build_mail(build_body(job, notice()), notice(), "email[0]", "batch@example.com", "ops@example.com")
    assert message["Subject"] == "BatchJob team/job: Failed (ItemsFailed)"
    assert message["Message-ID"] == "<msg_1.email-0@example.com>"
    assert (message["From"], message["To"]) == ("batch@example.com", "ops@example.com")
    text = message.get_content()
    for words in ("1 of 2 items failed.", "owner: alice", "mails: 3", "kubectl -n team describe batchjob job"):
        assert words in text


def test_what_a_receiver_says_that_no_status_can_hold_is_written_all_the_same() -> None:
    """A mail server's words are bytes: what of them is no UTF-8 comes as half a surrogate pair."""
    after = attempted(notice().deliveries[0], Outcome(DeliveryState.FAILED, "550 Empf\udce4nger"), NOW, WAITS, 0.0)
    assert after.message == "550 Empf?nger"
    after.model_dump_json()
