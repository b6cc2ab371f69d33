"""Telling receivers: real webhooks and mails, to neighbours that misbehave; and where the operator does not go."""

import asyncio
import base64
from email.message import EmailMessage
from ipaddress import ip_network
from typing import Any, Final

import pytest
from standardwebhooks.webhooks import Webhook

from batchjob.api.blocks.email import SmtpTls
from batchjob.api.notifications import Delivery, DeliveryState, Notification
from batchjob.api.v1alpha1 import BatchJob
from batchjob.controller.notify import webhooks
from batchjob.controller.notify.destinations import Destinations, trusting
from batchjob.controller.notify.mails import Server, send
from batchjob.controller.notify.notices import addressed
from batchjob.controller.notify.receivers import Receivers
from batchjob.controller.notify.webhooks import post
from batchjob.errors import ConfigurationError, Forbidden, NotFound
from batchjob.kube import Resource
from tests.support.neighbours.client import Neighbours
from tests.support.plan_world import batch_job

LOOPBACK: Final = ip_network("127.0.0.0/8")
SECRET: Final = "whsec_" + base64.b64encode(b"a secret of 32 bytes, for a test").decode()
OPS: Final = "ops@example.com"
NOTICE: Final = Notification(
    id="msg_1",
    event="batch.failed",
    time="2026-01-01T00:00:00Z",
    reason="ItemsFailed",
    message="1 of 2 items failed.",
    deliveries=[Delivery(to="webhooks[0]", state=DeliveryState.PENDING)],
)


def delivery(job: BatchJob, to: str) -> Delivery:
    """As the outbox makes it out, where it is due."""
    return addressed(job, NOTICE, Delivery(to=to, state=DeliveryState.PENDING))


class Objects:
    """The API server's Secrets and ConfigMaps."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.found: dict[tuple[str, str], dict[str, Any]] = {
            ("Secret", "hooks"): {"data": {"secret": base64.b64encode(SECRET.encode()).decode()}},
            ("ConfigMap", "ca"): {"data": {"ca.crt": neighbours.ca_certificate()}},
        }

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        assert namespace == "team"
        found = self.found.get((resource.kind, name))
        if found is None:
            raise NotFound(name)
        if "forbidden" in found:
            raise Forbidden(str(found["forbidden"]))
        return found


class Stage:
    """A BatchJob that has failed, and those whom it tells."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.neighbours = neighbours
        self.objects = Objects(neighbours)
        url = f"https://localhost:{neighbours.ports['hooks']}/hooks/ops"
        self.hook: dict[str, Any] = {"url": url, "secretRef": {"name": "hooks", "key": "secret"}}
        self.hook["caBundleRef"] = {"name": "ca"}
        self.smtp: dict[str, Any] = {"host": "127.0.0.1", "port": neighbours.ports["smtp"], "tls": "none"}
        self.smtp["from"] = "batch@example.com"

    def job(self) -> BatchJob:
        return batch_job({"notify": {"webhooks": [self.hook], "email": [{"to": OPS}], "smtp": self.smtp}})

    async def tell(self, to: str = "webhooks[0]", *, allowed: Any = (LOOPBACK,)) -> tuple[str, str]:
        objects: Any = self.objects
        receivers = Receivers(objects, Destinations(allowed), None)
        outcome = await receivers.tell(self.job(), NOTICE, delivery(self.job(), to))
        assert SECRET not in outcome.message
        return outcome.state, outcome.message

    def rows(self) -> list[dict[str, Any]]:
        return self.neighbours.ledger("hooks")


@pytest.fixture
def stage(neighbours: Neighbours) -> Stage:
    return Stage(neighbours)


async def test_a_webhook_arrives_signed_and_says_what_became_of_the_run(stage: Stage) -> None:
    assert await stage.tell() == ("Delivered", "HTTP 204")
    [row] = stage.rows()
    told = Webhook(SECRET).verify(row["body"], row["headers"])
    assert (told["type"], told["data"]["name"], told["data"]["reason"]) == ("batch.failed", "job", "ItemsFailed")
    assert row["headers"]["webhook-id"] == "msg_1"
    assert row["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("fault", "state", "said"),
    [
        ({"action": "status", "status": 500}, "Pending", "HTTP 500"),
        ({"action": "status", "status": 429}, "Pending", "HTTP 429"),
        ({"action": "status", "status": 410}, "Gone", "HTTP 410: the receiver wants to hear no more"),
        ({"action": "disconnect"}, "Pending", "closed the connection without an answer"),
    ],
)
async def test_a_receiver_that_fails_is_a_sentence(stage: Stage, fault: dict[str, Any], state: str, said: str) -> None:
    stage.neighbours.set_faults("hooks", [fault])
    found, message = await stage.tell()
    assert found == state
    assert said in message
    assert len(stage.rows()) == 1


async def test_a_receiver_that_says_nothing_is_not_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "SECONDS", 0.5)

    hung_up = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        stage.hook["url"] = f"http://127.0.0.1:{port}/"
        assert await stage.tell() == ("Pending", f"127.0.0.1:{port} did not answer within 0 s")
        await hung_up.wait()


async def test_a_redirect_is_not_followed(stage: Stage) -> None:
    elsewhere = stage.hook["url"].replace("ops", "elsewhere")
    stage.neighbours.set_faults("hooks", [{"match": "ops", "action": "redirect", "location": elsewhere}])
    assert await stage.tell() == ("Pending", "HTTP 302: redirects are not followed, name the URL they lead to")
    assert [row["name"] for row in stage.rows()] == ["ops"]


async def test_a_server_that_is_not_there_or_is_no_web_server_is_a_sentence(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "SECONDS", 200)  # a resolver may take long to say no
    smtp = stage.neighbours.ports["smtp"]
    stage.hook["url"] = f"http://127.0.0.1:{smtp}/"
    assert await stage.tell() == (
        "Pending",
        f"127.0.0.1:{smtp} did not answer as a web server does (ClientResponseError)",
    )
    stage.hook["url"] = "http://127.0.0.1:1/"
    assert await stage.tell() == ("Pending", "127.0.0.1:1 cannot be reached: Connect call failed ('127.0.0.1', 1)")
    stage.hook["url"] = "https://nowhere.invalid/"
    state, message = await stage.tell()
    assert state == "Pending"
    assert message.startswith("nowhere.invalid:443 cannot be reached: ")


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(stage: Stage) -> None:
    del stage.hook["caBundleRef"]
    state, message = await stage.tell()
    assert state == "Pending"
    assert message.startswith(f"the certificate of localhost:{stage.neighbours.ports['hooks']}: ")
    assert message.endswith("name its authority in caBundleRef")
    assert stage.rows() == []


@pytest.mark.parametrize(
    ("kind", "name", "found", "said"),
    [
        ("Secret", "hooks", None, "secretRef: there is no Secret hooks in namespace team. Create it"),
        ("Secret", "hooks", {"data": {"other": ""}}, "secretRef: Secret hooks has no key secret; its keys: other"),
        ("Secret", "hooks", {"data": {"secret": "/w=="}}, "secretRef: key secret of Secret hooks is no text"),
        ("Secret", "hooks", {"forbidden": "no"}, "secretRef: Secret hooks cannot be read: no"),
        ("Secret", "hooks", {"data": {"secret": "aHVudGVyMg=="}}, "secretRef: it holds no secret of Standard Webhooks"),
        ("ConfigMap", "ca", None, "caBundleRef: there is no ConfigMap ca in namespace team. Create it"),
        ("ConfigMap", "ca", {"data": {"ca.crt": "x"}}, "caBundleRef: it holds no certificates in PEM"),
    ],
)
async def test_what_is_missing_or_wrong_is_a_sentence_with_its_field_and_may_be_mended(
    stage: Stage, kind: str, name: str, found: dict[str, Any] | None, said: str
) -> None:
    good = stage.objects.found.pop((kind, name))
    if found is not None:
        stage.objects.found[kind, name] = found
    state, message = await stage.tell()
    assert state == "Pending"
    assert message.startswith(f"spec.notify.webhooks[0].{said}")
    assert "hunter2" not in message
    stage.objects.found[kind, name] = good
    assert (await stage.tell())[0] == "Delivered"


async def test_a_receiver_that_was_taken_out_of_the_spec_is_given_up(stage: Stage) -> None:
    assert await stage.tell("webhooks[1]") == (
        "Failed",
        "spec.notify.webhooks[1]: the receiver that was there is in the spec no more",
    )


async def test_a_mail_arrives(stage: Stage) -> None:
    port = stage.neighbours.ports["smtp"]
    assert await stage.tell("email[0]") == ("Delivered", f"accepted by 127.0.0.1:{port}")
    [row] = stage.neighbours.ledger("smtp")
    assert (row["rcpt_tos"], row["item"]) == ([OPS], "<msg_1.email-0@example.com>")
    assert row["subject"] == "BatchJob team/job: Failed (ItemsFailed)"
    assert b"1 of 2 items failed." in stage.neighbours.mail(row["sequence"])


@pytest.mark.parametrize(
    ("fault", "state", "said"),
    [
        (
            {"action": "smtp_code", "status": 451, "words": "4.7.1 greylisted"},
            "Pending",
            "refused: 451 4.7.1 greylisted",
        ),
        ({"action": "smtp_code", "status": 550, "words": "5.1.1 no such user"}, "Failed", "refused: 550 5.1.1 no such"),
        ({"action": "data_code", "status": 554}, "Failed", "refused: 554"),
        ({"action": "disconnect"}, "Pending", "cannot be used"),
        ({"action": "lose_answer"}, "Pending", "cannot be used"),
    ],
)
async def test_a_mail_server_that_says_no_is_a_sentence(
    stage: Stage, fault: dict[str, Any], state: str, said: str
) -> None:
    stage.neighbours.set_faults("smtp", [fault])
    found, message = await stage.tell("email[0]")
    assert found == state
    assert said in message


async def test_a_mail_needs_a_server_and_its_login(stage: Stage) -> None:
    stage.smtp["credentialsSecretRef"] = {"name": "login"}
    field = "spec.notify.smtp.credentialsSecretRef: "
    assert await stage.tell("email[0]") == (
        "Pending",
        f"{field}there is no Secret login in namespace team. Create it",
    )
    stage.objects.found["Secret", "login"] = {"data": {"SMTP_USERNAME": "bWU="}}
    assert (await stage.tell("email[0]"))[1].startswith(f"{field}Secret login has no key SMTP_PASSWORD")
    stage.objects.found["Secret", "login"]["data"]["SMTP_PASSWORD"] = "aHVudGVyMg=="
    assert (await stage.tell("email[0]"))[0] == "Delivered"


async def test_a_mail_without_any_server_says_who_can_name_one(stage: Stage) -> None:
    objects: Any = stage.objects
    job = batch_job({"notify": {"email": [{"to": OPS}]}})
    outcome = await Receivers(objects, Destinations([]), None).tell(job, NOTICE, delivery(job, "email[0]"))
    assert outcome.message.startswith("spec.notify.email: there is no mail server. Set spec.notify.smtp, or have")
    server = Server("127.0.0.1", stage.neighbours.ports["smtp"], SmtpTls.NONE, "b@example.com", None, trusted=True)
    outcome = await Receivers(objects, Destinations([]), server).tell(job, NOTICE, delivery(job, "email[0]"))
    assert outcome.state is DeliveryState.DELIVERED, "who runs the operator may name a server of the own network"


async def test_a_mail_server_of_the_users_is_not_looked_for_inside(stage: Stage) -> None:
    state, message = await stage.tell("email[0]", allowed=())
    assert state == "Pending"
    assert message.startswith("spec.notify.smtp.host: 127.0.0.1 is no public address")


async def test_a_webhook_is_not_called_inside_and_a_name_is_no_way_round(stage: Stage) -> None:
    for host in ("localhost", "127.0.0.1"):
        stage.hook["url"] = f"https://{host}:{stage.neighbours.ports['hooks']}/hooks/ops"
        state, message = await stage.tell(allowed=())
        assert state == "Pending"
        assert message.startswith(f"spec.notify.webhooks[0].url: {host}")
        assert "is no public address, and the operator does not go there" in message
    assert stage.rows() == []


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a name could be public when it is checked, and the metadata service's when it is called."""
    asked: list[str] = []
    look_up = Destinations.find

    async def find(self: Destinations, host: str, port: int, *, secure: bool = True) -> list[str]:
        asked.append(host)
        return await look_up(self, "127.0.0.1", port, secure=secure)

    monkeypatch.setattr(Destinations, "find", find)
    stage.hook["url"] = f"http://rebound.example:{stage.neighbours.ports['chat']}/v1/models"
    assert await stage.tell() == ("Pending", "HTTP 405")
    assert asked == ["rebound.example"]


INSIDE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1"),
    *("2130706433", "0x7f.1", "127.1"),
]


@pytest.mark.parametrize("host", INSIDE)
async def test_what_is_not_public_is_not_called_however_it_is_written(host: str) -> None:
    destinations = Destinations([])
    with pytest.raises(ConfigurationError, match="is no public address, and the operator does not go there"):
        await destinations.find(host, 443)
    literal = f"[{host.partition('%')[0]}]" if ":" in host else host
    with pytest.raises(ConfigurationError, match="is no public address"):
        await post(destinations, f"https://{literal}/x", {}, "{}", trusting())
    with pytest.raises(ConfigurationError, match="is no public address"):
        await send(destinations, Server(host, 25, SmtpTls.NONE, "a@example.com", None, trusted=False), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
async def test_what_is_public_is_called_by_https_alone(host: str) -> None:
    destinations = Destinations([])
    assert await destinations.find(host, 443) == [host]
    with pytest.raises(ConfigurationError, match=r"is a public address: use https"):
        await destinations.find(host, 80, secure=False)


async def test_a_password_that_would_be_read_on_the_way_is_a_sentence_with_the_way_out() -> None:
    server = Server("8.8.8.8", 25, SmtpTls.NONE, "a@example.com", ("ada", "x"), trusted=False)
    with pytest.raises(ConfigurationError, match=r"^8\.8\.8\.8 is a public address: the password .*smtp\.tls to start"):
        await send(Destinations([]), server, EmailMessage())


async def test_a_network_that_is_allowed_is_called_by_http_too_and_no_other_is() -> None:
    destinations = Destinations([ip_network("10.0.0.0/8"), ip_network("fc00::/7")])
    for host in ("10.1.2.3", "fd00::1", "::ffff:10.1.2.3"):
        assert await destinations.find(host, 80, secure=False) == [host]
    with pytest.raises(ConfigurationError, match="is no public address"):
        await destinations.find("169.254.169.254", 80)
