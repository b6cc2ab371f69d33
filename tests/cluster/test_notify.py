"""Receivers are told of what becomes of BatchJobs: each transition once, through crashes and other leaders."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from standardwebhooks.webhooks import Webhook

from tests.cluster.conftest import SYSTEM, Operators
from tests.cluster.test_lifecycle import chaos, events
from tests.support.cluster_jobs import LOOK_SECONDS, Jobs
from tests.support.fault_proxy import Call, FaultProxy, status
from tests.support.kubectl import wait_until
from tests.support.manifests import inline, noop
from tests.support.neighbours.client import Neighbours, local_neighbours
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

SECRET: Final = "whsec_" + base64.b64encode(b"a secret of 32 bytes, for a test").decode()
SETTINGS: Final = {"notify_allowed_networks": "127.0.0.0/8", "notify_retry_seconds": "0.2,0.2"}


@pytest.fixture(scope="module")
def neighbours_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with local_neighbours(tmp_path_factory.mktemp("neighbours")) as started:
        yield started


class Team:
    """A namespace with what it takes to be told, and the endpoint of that name."""

    def __init__(self, neighbours: Neighbours, jobs: Jobs) -> None:
        self.neighbours = neighbours
        self.name = jobs.kubectl.namespace
        port = neighbours.ports["hooks"]
        self.hook: dict[str, Any] = {
            "url": f"https://localhost:{port}/hooks/{self.name}",
            "secretRef": {"name": "hooks", "key": "secret"},
            "caBundleRef": {"name": "ca"},
        }
        self.smtp = {"host": "127.0.0.1", "port": neighbours.ports["smtp"], "tls": "none", "from": "b@example.com"}
        self.secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"}}
        self.secret["stringData"] = {"secret": SECRET}
        authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}}
        authority["data"] = {"ca.crt": neighbours.ca_certificate()}
        jobs.apply(self.secret, authority)

    def rows(self) -> list[dict[str, Any]]:
        """What its endpoint was told, failures too."""
        return [row for row in self.neighbours.ledger("hooks") if row["name"] == self.name]

    def told(self) -> list[str]:
        """The events, by their words."""
        return [json.loads(row["body"])["type"] for row in self.rows()]

    def spoil(self, **fault: Any) -> None:
        """What its endpoint does."""
        self.neighbours.set_faults("hooks", [{"match": f"^{self.name} ", **fault}])


@pytest.fixture
def team(neighbours_process: Neighbours, jobs: Jobs) -> Iterator[Team]:
    yield Team(neighbours_process, jobs)
    neighbours_process.clear_faults()


def deliveries(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    return [one for notice in jobs.status(name).get("notifications", []) for one in notice["deliveries"]]


def wait_settled(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    """Wait until nobody is to be told any more; the deliveries."""

    def settled(found: list[dict[str, Any]]) -> bool:
        return bool(found) and all(one["state"] != "Pending" for one in found)

    return wait_until(lambda: deliveries(jobs, name), f"{name} to be told", until=settled, every=LOOK_SECONDS)


@pytest.mark.usefixtures("pods")
def test_an_end_is_told_once_by_webhook_and_mail_and_by_the_leader_alone(
    operators: Operators, jobs: Jobs, team: Team
) -> None:
    leader = operators.make("first", **SETTINGS).start()
    standby = operators.make("second", **SETTINGS).start()
    notify = {"webhooks": [team.hook], "email": [{"to": f"{team.name}@example.com"}], "smtp": team.smtp}
    jobs.apply(noop("plain", inline(3), notify=notify))
    jobs.wait_complete("plain")
    assert [(one["to"], one["state"], one["attempts"]) for one in wait_settled(jobs, "plain")] == [
        ("webhooks[0]", "Delivered", 1),
        ("email[0]", "Delivered", 1),
    ]
    [row] = team.rows()
    told = Webhook(SECRET).verify(row["body"], row["headers"])
    assert told["type"] == "batch.completed"
    assert (told["data"]["name"], told["data"]["phase"]) == ("plain", "Succeeded")
    assert told["data"]["counts"]["succeeded"] == 3
    assert row["item"] == jobs.status("plain")["notifications"][0]["id"]
    mails = [row for row in team.neighbours.ledger("smtp") if row["rcpt_tos"] == [f"{team.name}@example.com"]]
    assert [mail["subject"] for mail in mails] == [f"BatchJob {team.name}/plain: Succeeded (Succeeded)"]
    assert events(jobs, "plain") == [("Normal", "Succeeded")]
    counted = "batchjob_notifications_total"
    assert [o.metric(counted, outcome="delivered") for o in (leader, standby)] == [2, 0]


@pytest.fixture(scope="module")
def proxy(operator_account: Path) -> Iterator[FaultProxy]:
    with FaultProxy(operator_account) as running:
        yield running


def is_record(call: Call) -> bool:
    """Whether a write says what became of deliveries, and nothing else."""
    return list(json.loads(call.body)["status"]) == ["notifications"]


def test_an_operator_killed_between_a_delivery_and_its_record_delivers_again_with_the_same_id(
    proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs, team: Team
) -> None:
    account = proxy.kubeconfig(tmp_path)

    def operator() -> OperatorProcess:
        return OperatorProcess(account, redis_server.url, tmp_path, pod_namespace=SYSTEM, **SETTINGS)

    first = operator()
    record = proxy.inject(f"PATCH .*/namespaces/{team.name}/batchjobs/.*/status$", where=is_record, strike=first.kill)
    first.start()
    jobs.apply(noop("held", inline(1), suspend=True, notify={"webhooks": [team.hook]}))
    wait_until(lambda: record.hits, "the record")
    wait_until(lambda: first.process is None, "the operator to be dead")
    assert [one["state"] for one in deliveries(jobs, "held")] == ["Pending"]
    assert team.told() == ["batch.suspended"]
    with operator():
        assert [one["attempts"] for one in wait_settled(jobs, "held")] == [1]
    assert team.told() == ["batch.suspended"] * 2
    assert len({row["item"] for row in team.rows()}) == 1, "so that the receiver can tell that it is the same"
    assert len({row["body"] for row in team.rows()}) == 1


def test_a_record_that_is_refused_or_whose_answer_is_lost_is_no_reason_to_deliver_again(
    proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs, team: Team
) -> None:
    spoilt = f"PATCH .*/namespaces/{team.name}/batchjobs/.*/status$"
    faults = [
        proxy.inject(spoilt, where=is_record, answer=status(403, "Forbidden")),
        proxy.inject(spoilt, where=is_record, answer=status(409, "Conflict")),
        proxy.inject(spoilt, where=is_record, lose_reply=True),
    ]
    account = proxy.kubeconfig(tmp_path)
    with OperatorProcess(account, redis_server.url, tmp_path, pod_namespace=SYSTEM, **SETTINGS):
        jobs.apply(noop("held", inline(1), suspend=True, notify={"webhooks": [team.hook]}))
        assert [one["attempts"] for one in wait_settled(jobs, "held")] == [1]
        wait_until(lambda: all(fault.hits for fault in faults), "all faults")
    assert team.told() == ["batch.suspended"]


@pytest.fixture
def running(operators: Operators) -> OperatorProcess:
    return operators.make(**SETTINGS).start()


def test_a_receiver_that_fails_is_told_again_and_a_cancelled_run_is_told_as_such(
    running: OperatorProcess, jobs: Jobs, team: Team
) -> None:
    team.spoil(action="status", status=500, times=2)
    notify = {"webhooks": [team.hook | {"events": ["batch.cancelled"]}]}
    jobs.apply(noop("dropped", inline(1), cancel=True, notify=notify))
    [delivery] = wait_settled(jobs, "dropped")
    assert (delivery["state"], delivery["attempts"], delivery["message"]) == ("Delivered", 3, "HTTP 204")
    assert [row["status"] for row in team.rows()] == [500, 500, 204]
    assert len({row["item"] for row in team.rows()}) == 1
    assert len({row["headers"]["webhook-signature"] for row in team.rows()}) > 1, "each attempt has its own time"
    assert running.metric("batchjob_notifications_total", kind="webhooks", outcome="pending") >= 2


@pytest.mark.usefixtures("pods")
def test_a_receiver_that_stays_away_is_given_up_with_an_event_and_the_run_does_not_care(
    running: OperatorProcess, jobs: Jobs, team: Team
) -> None:
    team.spoil(action="disconnect")
    source = inline(2)
    source["items"][0]["data"]["do"] = "fail"
    jobs.apply(chaos("failing", source, notify={"webhooks": [team.hook]}))
    jobs.wait_condition("failing", "Failed", "ItemsFailed")
    [delivery] = wait_settled(jobs, "failing")
    assert (delivery["state"], delivery["attempts"]) == ("Failed", 3)
    assert delivery["message"].startswith("Given up after 3 attempts. The last one: localhost:")
    assert "nextAttemptTime" not in delivery
    assert team.told() == ["batch.failed"] * 3
    assert sorted(events(jobs, "failing")) == [("Warning", "ItemsFailed"), ("Warning", "NotificationFailed")]
    assert jobs.status("failing")["phase"] == "Failed"
    assert running.metric("batchjob_notifications_total", outcome="failed") >= 1


def test_a_wrong_secret_is_a_sentence_and_heals(operators: Operators, jobs: Jobs, team: Team) -> None:
    jobs.kubectl("delete", "secret", "hooks")
    patient = operators.make(**SETTINGS | {"notify_retry_seconds": ",".join(["0.3"] * 200)}).start()
    jobs.apply(noop("held", inline(1), suspend=True, notify={"webhooks": [team.hook]}))

    def said(found: list[dict[str, Any]]) -> bool:
        return bool(found) and "there is no Secret hooks" in found[0]["message"]

    [delivery] = wait_until(lambda: deliveries(jobs, "held"), "the sentence", until=said, every=LOOK_SECONDS)
    assert delivery["message"] == (
        f"spec.notify.webhooks[0].secretRef: there is no Secret hooks in namespace {team.name}. Create it"
    )
    assert jobs.condition("held", "Stalled")["status"] == "False", "the run has nothing to do with it"
    jobs.apply(team.secret)
    assert wait_settled(jobs, "held")[0]["state"] == "Delivered"
    assert SECRET not in patient.log_file.read_text()


def test_who_answers_410_is_told_of_nothing_more(running: OperatorProcess, jobs: Jobs, team: Team) -> None:
    team.spoil(action="status", status=410, times=1)
    jobs.apply(noop("held", inline(1), suspend=True, notify={"webhooks": [team.hook]}))
    [delivery] = wait_settled(jobs, "held")
    assert (delivery["state"], delivery["attempts"]) == ("Gone", 1)
    jobs.kubectl("patch", "batchjob", "held", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    jobs.wait_condition("held", "Failed", "Cancelled")
    assert len(deliveries(jobs, "held")) == 1
    assert team.told() == ["batch.suspended"]
    assert ("Warning", "NotificationFailed") in events(jobs, "held")
    assert running.metric("batchjob_notifications_total", outcome="gone") >= 1


def test_a_batch_job_that_is_to_be_deleted_after_its_end_is_told_of_before(
    running: OperatorProcess, jobs: Jobs, team: Team
) -> None:
    team.spoil(action="status", status=503, times=2)
    jobs.apply(noop("brief", inline(1), cancel=True, ttlSecondsAfterFinished=0, notify={"webhooks": [team.hook]}))
    wait_until(lambda: jobs.kubectl.items("batchjobs"), "it to go", until=lambda left: not left)
    assert [row["status"] for row in team.rows()] == [503, 503, 204]
    assert running.metric("batchjob_reconcile_errors_total") == 0


def test_what_is_told_costs_one_write_and_what_was_told_none_at_a_restart(
    proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs, team: Team
) -> None:
    account = proxy.kubeconfig(tmp_path)
    told = SETTINGS | {"watch_namespaces": team.name}  # what the second one looks at is to be this
    written = f"^PATCH .*/namespaces/{team.name}/batchjobs/.*/status$"
    with OperatorProcess(account, redis_server.url, tmp_path, pod_namespace=SYSTEM, **told):
        jobs.apply(noop("dropped", inline(1), cancel=True, notify={"webhooks": [team.hook, team.hook]}))
        wait_settled(jobs, "dropped")
    assert proxy.count(written) == 2, "the end with what is to be told, and that both were"
    with OperatorProcess(account, redis_server.url, tmp_path, pod_namespace=SYSTEM, **told) as again:
        wait_until(lambda: again.metric("batchjob_reconcile_seconds_count") >= 1, "it to be looked at")
    assert proxy.count(written) == 2
    assert len(team.rows()) == 2
