"""The gateway on the cluster: tokens of ServiceAccounts, a run that its owner watches, and killed pods of it."""

import json
from collections.abc import Iterator
from typing import Final

import httpx2
import pytest

from tests.e2e.conftest import NAMESPACE
from tests.support.gateway_watch import check_order, client, events_until_end
from tests.support.installation import RELEASE, Installation
from tests.support.kubectl import Kubectl, wait_until

JOBS: Final = "/api/v1/batch-jobs"
ITEMS: Final = 100
RBAC: Final = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "submitter"},
    "rules": [
        {"apiGroups": ["batchjob.dev"], "resources": ["batchjobs"], "verbs": ["get", "list", "create", "patch"]},
        {"apiGroups": ["batchjob.dev"], "resources": ["batchschedules"], "verbs": ["list"]},
    ],
}


@pytest.fixture(scope="module")
def tokens(namespace: Kubectl) -> dict[str, str]:
    """Of two ServiceAccounts that may submit here."""
    names = ("alice", "bob")
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE} for name in names]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "submitter"}
    binding = RBAC | {"kind": "RoleBinding", "roleRef": reference, "subjects": subjects}
    del binding["rules"]
    accounts = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in names]
    namespace.apply(RBAC, binding, *accounts)
    return {name: namespace("create", "token", name).strip() for name in names}


@pytest.fixture
def port(installation: Installation) -> Iterator[int]:
    """The gateway's Service, reached from here."""
    with installation.cluster.port_forward(f"service/{RELEASE}-gateway", 80) as forwarded:
        yield forwarded


def submit(alice: httpx2.Client) -> str:
    """A hundred items, each of a tenth of a second."""
    body = {
        "type": "custom",
        "custom": {"processor": "chaos"},
        "worker": {"image": "batchjob.local/chaos:dev"},
        "concurrency": 2,
        "items": [{"id": f"i{n}", "data": {"do": "sleep", "seconds": "0.1"}} for n in range(ITEMS)],
    }
    answer = alice.post(JOBS, json=body)
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["jobId"]
    assert job.startswith(f"{NAMESPACE}."), "that of the ServiceAccount"
    return job


def test_a_run_is_submitted_and_watched_over_http_while_gateways_are_killed(
    installation: Installation, tokens: dict[str, str], port: int
) -> None:
    with client(port, tokens["alice"]) as alice, client(port, tokens["bob"]) as bob:
        job, events = events_until_end(installation.cluster, port, tokens["alice"], lambda: submit(alice))
        check_order(events, ITEMS)
        assert alice.get(f"{JOBS}/{job}").json()["job"]["owner"] == f"system:serviceaccount:{NAMESPACE}:alice"
        lines = alice.get(f"{JOBS}/{job}/results").text.splitlines()
        assert len(lines) == ITEMS
        found = wait_until(lambda: alice.get(JOBS, params={"q": "status:succeeded"}).json()["jobs"], "it to be listed")
        assert [one["id"] for one in found] == [job]
        assert [found[0]["counts"][field] for field in ("total", "succeeded")] == [ITEMS, ITEMS]

        for path in ("", "/items", "/errors", "/results", "/events"):
            assert bob.get(f"{JOBS}/{job}{path}").status_code == 404
        for order in ("cancel", "suspend", "resume", "redrive"):
            assert bob.post(f"{JOBS}/{job}/{order}").status_code == 404
        assert bob.get(JOBS).json()["jobs"] == []


def test_the_admin_ui_wants_a_token_and_shows_the_own_jobs(tokens: dict[str, str], port: int) -> None:
    with client(port, None) as browser, client(port, tokens["alice"]) as alice:
        answer = browser.get("/admin/queues/jobs")
        assert answer.status_code in {303, 401}
        signed_in = browser.post(
            "/admin/queues/sign-in",
            data={"token": tokens["alice"]},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert signed_in.status_code == 303, signed_in.text
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        job = submit(alice)
        row = f'href="/admin/queues/jobs/{job.replace(".", "/", 1)}"'

        def is_listed() -> bool:
            page = browser.get("/admin/queues/jobs", headers={"Cookie": cookie})
            assert page.status_code == 200
            return row in page.text

        wait_until(is_listed, "it to be on the page")
        alice.post(f"{JOBS}/{job}/cancel").raise_for_status()


def test_the_gateway_restarts_without_an_error_in_its_log(installation: Installation) -> None:
    logs = installation.cluster("logs", "--selector", "app.kubernetes.io/component=gateway", "--tail=-1")
    assert "Traceback" not in logs
    assert [line for line in logs.splitlines() if json.loads(line)["level"] in {"error", "critical"}] == []
