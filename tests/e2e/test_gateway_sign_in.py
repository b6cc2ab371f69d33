"""Signing in to the admin UI on the cluster at an OIDC issuer over TLS, whose keys are its own; and what is left."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.e2e.conftest import NAMESPACE
from tests.support.gateway_watch import answers, check_order, client, events_until_end, heard, watch
from tests.support.installation import RELEASE, SYSTEM, Installation
from tests.support.kubectl import Kubectl, wait_until
from tests.support.neighbours.client import Neighbours

HOST: Final = "gateway.example"
ISSUER: Final = f"neighbours.{NAMESPACE}.svc:8445"
UI: Final = "/admin/queues"
USER: Final = "alice@example.com"
OTHER: Final = "bob@example.com"
ADMIN: Final = "root@example.com"
OLD_ROUTE: Final = "/api/ai-annotator/batch"
ITEMS: Final = 100
VALUES: Final = (
    f"gateway.oidc.issuer=https://{ISSUER}",
    "gateway.oidc.audience=batchjob",
    "gateway.oidc.usernamePrefix=",
    "gateway.oidc.caConfigMap=issuer-ca",
    "gateway.oidc.clientId=batchjob-ui",
    f"gateway.publicUrl=https://{HOST}",
    f"gateway.defaultNamespace={NAMESPACE}",
)
Pair = tuple[httpx2.Client, httpx2.Client]


@pytest.fixture(scope="module")
def signing_in(installation: Installation, namespace: Kubectl, neighbours: Neighbours) -> Iterator[str]:
    """A gateway that is a client of the issuer; yields the authority of the latter."""
    authority = neighbours.ca_certificate()
    ca = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "issuer-ca"}, "data": {"ca.crt": authority}}
    installation.cluster.within(SYSTEM).apply(ca)
    version = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "people"}}
    rights = {"apiGroups": ["batchjob.dev"], "resources": ["batchjobs"], "verbs": ["get", "list", "create", "patch"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "people"}
    users = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name} for name in (USER, OTHER)]
    namespace.apply(
        version | {"kind": "Role", "rules": [rights]},
        version | {"kind": "RoleBinding", "roleRef": reference, "subjects": users},
    )
    admin = ("clusterrolebinding", "e2e-root")
    installation.cluster("create", *admin, "--clusterrole=cluster-admin", f"--user={ADMIN}")
    installation.install(*VALUES)
    yield authority
    installation.install()
    installation.cluster("delete", *admin)


@pytest.fixture
def browser(installation: Installation, namespace: Kubectl, signing_in: str, tmp_path: Path) -> Iterator[Pair]:
    """A client of the gateway and one of the issuer, each under its own name."""
    (tmp_path / "ca.crt").write_text(signing_in)
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    with (
        installation.cluster.port_forward(f"service/{RELEASE}-gateway", 80) as port,
        namespace.port_forward("service/neighbours", 8445) as other,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers={"Host": HOST}, timeout=30) as gateway,
        httpx2.Client(base_url=f"https://127.0.0.1:{other}", headers={"Host": ISSUER}, verify=trust) as issuer,
    ):
        yield gateway, issuer


def below(url: str, host: str) -> str:
    """The path and query of an address of a host."""
    parts = urlsplit(url)
    assert parts.netloc in {host, ""}, url
    return f"{parts.path}?{parts.query}"


def cookie_of(answer: httpx2.Response, name: str) -> dict[str, str]:
    """What the browser sends back; it is set for TLS alone, and the port-forward has none."""
    [line] = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    assert "Secure" in line
    return {"Cookie": line.partition(";")[0]}


def signed_in(browser: Pair, user: str = USER) -> dict[str, str]:
    gateway, issuer = browser
    start = gateway.get(f"{UI}/sign-in/start?next={UI}/jobs")
    assert start.status_code == 303, start.text
    back = issuer.post(below(start.headers["location"], ISSUER), data={"user": user})
    begun = cookie_of(start, "__Host-batchjob-begun")
    answer = gateway.get(below(back.headers["location"], HOST), headers=begun)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{UI}/jobs"), answer.text
    return cookie_of(answer, "__Host-batchjob")


def test_a_user_of_the_issuer_submits_and_sees_it_in_the_admin_ui(
    browser: Pair, installation: Installation, namespace: Kubectl
) -> None:
    gateway, _ = browser
    cookie = signed_in(browser)
    token = cookie["Cookie"].partition("=")[2]
    body = {"type": "custom", "custom": {"processor": "noop"}, "items": [{"id": "1", "data": {"n": 1}}]}
    made = gateway.post("/api/v1/batch-jobs", json=body, headers={"Authorization": f"Bearer {token}"})
    assert made.status_code == 202, made.text
    job = made.json()["jobId"]
    page = gateway.get(f"{UI}/jobs/{job.replace('.', '/')}", headers=cookie)
    assert (page.status_code, USER in page.text) == (200, True)
    assert gateway.get(f"{UI}/audit", headers=cookie).status_code == 403
    name = job.removeprefix(f"{NAMESPACE}.")

    def notes() -> list[str]:
        events = json.loads(namespace("get", "events.events.k8s.io", "-o", "json"))["items"]
        return [one["note"] for one in events if one["regarding"]["name"] == name]

    note = f"{USER} asked for create through the gateway"
    wait_until(notes, "the Event of what was asked for", until=lambda found: note in found)  # it follows the answer
    logs = installation.cluster("logs", "--selector", "app.kubernetes.io/component=gateway", "--tail=-1")
    lines = [
        line for line in map(json.loads, logs.splitlines()) if line["event"] == "audit" and line.get("user") == USER
    ]
    assert {"sign-in", "create"} <= {line["verb"] for line in lines}
    assert token not in logs


def test_who_annotates_by_the_old_route_watches_it_while_gateways_are_killed(
    browser: Pair, installation: Installation, neighbours: Neighbours
) -> None:
    cookies = {user: signed_in(browser, user) for user in (USER, OTHER, ADMIN)}
    tokens = {user: cookie["Cookie"].partition("=")[2] for user, cookie in cookies.items()}
    model = {"baseUrl": "http://neighbours:8000/v1", "name": "stand-in"}
    body = {
        "items": [f"The fit is good, and so is pair {number}." for number in range(ITEMS)],
        "formSchema": {"properties": {"sentiment": {"enum": ["positive", "neutral", "negative"]}}},
        "options": {"model": model, "instructions": "Say how the writer feels.", "concurrency": 2},
    }
    neighbours.set_faults("chat", [{"action": "delay", "delay_seconds": 0.2}])
    with installation.cluster.port_forward(f"service/{RELEASE}-gateway", 80) as port:

        def submit() -> str:
            with client(port, tokens[USER]) as alice:
                made = alice.post(OLD_ROUTE, json=body)
                assert made.status_code == 202, made.text
                job: str = made.json()["jobId"]
                return job

        job, events = events_until_end(installation.cluster, port, tokens[USER], submit)
        check_order(events, ITEMS)
        wait_until(lambda: answers(port), "a gateway to be ready")
        with watch(port, tokens[OTHER], events[0]["id"]) as others:
            assert set(heard(others, 3)) <= {"gap"}, "at most that such an event is none of his"
        codes = {user: read_all(port, tokens[user], job) for user in (USER, OTHER, ADMIN)}
        assert codes == {USER: [200, 200, 200], OTHER: [404, 404, 404], ADMIN: [200, 200, 200]}
        page = f"http://127.0.0.1:{port}{UI}/jobs/{job.replace('.', '/')}"
        pages = [httpx2.get(page, headers=cookies[user] | {"Host": HOST}, timeout=30).status_code for user in codes]
        assert pages == [200, 404, 200]


def read_all(port: int, token: str, job: str) -> list[int]:
    """The codes of the answers to somebody who reads a BatchJob in each way."""
    with client(port, token) as somebody:
        done = somebody.get(f"{OLD_ROUTE}/{job}/status")
        if done.status_code == httpx2.codes.OK:
            assert done.json()["job"]["progress"] == 100
        return [
            done.status_code,
            *(somebody.get(f"/api/v1/batch-jobs/{job}{what}").status_code for what in ("", "/events")),
        ]


@pytest.mark.parametrize("fault", ["wrong_nonce", "wrong_audience", "wrong_key", "unsigned", "expired"])
def test_what_the_issuer_gets_wrong_signs_nobody_in(browser: Pair, neighbours: Neighbours, fault: str) -> None:
    gateway, issuer = browser
    neighbours.set_faults("issuer", [{"action": fault, "match": "token"}])
    start = gateway.get(f"{UI}/sign-in/start")
    back = issuer.post(below(start.headers["location"], ISSUER), data={"user": USER})
    begun = cookie_of(start, "__Host-batchjob-begun")
    answer = gateway.get(below(back.headers["location"], HOST), headers=begun)
    assert answer.status_code == 422, answer.text
    assert not [one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-batchjob=")]
