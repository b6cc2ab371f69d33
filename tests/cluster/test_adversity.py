"""Everything that may stand in an operator's way becomes a condition with reason and advice: no crash, no hot loop.

| what | where it is tested |
|---|---|
| 410, 401 and other errors of a watch or list; half lines; silent watches | test_traps: T1, T2, T10 |
| a token that was replaced, an API server that is away | here |
| a namespace that goes, or that we may not read | here, test_owners |
| webhooks of others that refuse or do not answer, a Job that somebody changes | here |
| quota on Jobs, a Job that Kubernetes refuses, a deleted Job or Secret | test_pods_in_trouble |
| pods: no image, no node, a quota, too little memory, exit 64; and what all of that costs | test_pods_in_trouble |
| a Job of the same name that is not ours; a Secret, ConfigMap, claim or run that is missing | test_waiting |
| writes that fail or whose answer is lost | test_failed_writes, test_sweeps |
| the store away, lost or full | test_store_away |
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchjob.controller.observe import UNDONE_SECONDS
from tests.cluster.conftest import SYSTEM, AskStore, runs_and_users
from tests.cluster.test_lifecycle import child_jobs, events
from tests.support.cluster_jobs import Jobs
from tests.support.fault_proxy import FaultProxy, status
from tests.support.kubectl import Kubectl, KubectlError, wait_until
from tests.support.manifests import inline, noop
from tests.support.operator_process import OperatorProcess
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("free_lease")

# How often the same may be asked while nothing works, after a few times in a row. A hot loop asks 50 times a second:
# more the operator does not allow itself.
SAME_CALLS_A_SECOND = 2
SAME_CALLS_AT_ONCE = 10
AS_INSTALLED = {"lease_retry_seconds": 2, "sweep_seconds": 60, "users_seconds": 5}
EDITS = 15
SOME = 8


@pytest.fixture
def proxy(operator_account: Path) -> Iterator[FaultProxy]:
    with FaultProxy(operator_account) as running:
        yield running


@pytest.fixture
def operator(proxy: FaultProxy, redis_server: RedisServer, tmp_path: Path, jobs: Jobs) -> Iterator[OperatorProcess]:
    """It serves the namespace of this test alone: others have troubles of their own."""
    told = {"pod_namespace": SYSTEM, "watch_namespaces": jobs.kubectl.namespace} | AS_INSTALLED
    with OperatorProcess(proxy.kubeconfig(tmp_path), redis_server.url, tmp_path, **told) as running:
        yield running


@contextmanager
def no_hot_loop(proxy: FaultProxy, *, of: str = "") -> Iterator[None]:
    """How often the same is asked meanwhile (`of` such a path) is bounded by how long it lasts."""
    before, began = len(proxy.calls), time.monotonic()
    yield
    calls = Counter(f"{call.method} {call.path}" for call in proxy.calls[before:] if of in call.path)
    allowed = SAME_CALLS_AT_ONCE + SAME_CALLS_A_SECOND * (time.monotonic() - began)
    assert max(calls.values(), default=0) <= allowed, calls


def test_a_token_that_was_replaced_is_read_again_and_spoils_nothing(
    proxy: FaultProxy, redis_server: RedisServer, jobs: Jobs, admin: Kubectl, tmp_path: Path
) -> None:
    """A token is worth nothing once the object goes that it is bound to; so it is with one that is too old."""
    system, token_file = admin.within(SYSTEM), tmp_path / "token"
    for name in ("first", "second"):
        system.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})
    token_file.write_text(bound_token(system, "first"))
    kubeconfig = proxy.kubeconfig(tmp_path)
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"tokenFile": token_file.name}
    kubeconfig.write_text(yaml.safe_dump(config))
    told = {"pod_namespace": SYSTEM, "watch_namespaces": jobs.kubectl.namespace}
    with OperatorProcess(kubeconfig, redis_server.url, tmp_path, **told, **AS_INSTALLED):
        jobs.apply(noop("before", inline(1)))
        jobs.wait_phase("before", "Running")
        system("delete", "secret", "first")
        wait_until(lambda: refused(proxy), "the API server to refuse the old token")
        with no_hot_loop(proxy):
            proxy.cut_watches(last=b"")
            before = refused(proxy)
            jobs.apply(noop("meanwhile", inline(1)))
            wait_until(lambda: refused(proxy) - before, "some refusals", until=lambda more: more >= SOME)
        token_file.write_text(bound_token(system, "second"))
        jobs.wait_phase("meanwhile", "Running")
        assert [events(jobs, name) for name in ("before", "meanwhile")] == [[], []], "nothing was said to be wrong"
    system("delete", "secret", "second")


def test_an_api_server_that_is_away_is_waited_for(operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs) -> None:
    """Every pause has grown to its longest, 30 s, within a minute: `make prove` has ten."""
    jobs.apply(noop("before", inline(1)))
    jobs.wait_phase("before", "Running")
    with no_hot_loop(proxy):
        away = proxy.inject("", reset=True, times=1_000_000)
        proxy.cut_watches(last=b"")
        jobs.apply(noop("meanwhile", inline(1)))
        jobs.kubectl("patch", "batchjob", "before", "--type=merge", "-p", '{"spec":{"suspend":true}}')
        wait_until(lambda: len(operator.logged("watch broke")), "some tries of each copy", until=lambda n: n >= 20)
    away.times = away.hits
    jobs.wait_condition("before", "Suspended", "SuspendedByUser")
    jobs.wait_phase("meanwhile", "Running")


def test_a_webhook_that_does_not_answer_is_named_and_the_run_starts_when_it_is_gone(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, admin: Kubectl
) -> None:
    assert operator.process is not None
    admin.apply(webhook(jobs.kubectl.namespace))
    try:
        wait_until(lambda: is_refused(jobs), "the webhook to be asked")
        jobs.apply(noop("guarded", inline(1)))
        message = jobs.wait_condition("guarded", "Stalled", "Refused")["message"]
        assert 'failed calling webhook "nobody.example.com"' in message
        assert "Tell those who run that webhook" in message
        with no_hot_loop(proxy, of=jobs.kubectl.namespace):
            tries = proxy.count("POST .*/jobs$")
            wait_until(lambda: proxy.count("POST .*/jobs$") - tries, "two more tries", until=lambda more: more >= 2)
    finally:
        admin("delete", "validatingwebhookconfiguration", "nobody")
    jobs.wait_phase("guarded", "Running")


@pytest.mark.parametrize("code", [403, 409, 500])
def test_a_webhook_that_refuses_is_quoted_whatever_code_it_says(
    code: int, operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    assert operator.process is not None
    words = 'admission webhook "guard.example.com" denied the request: not on a Friday'
    refusal = proxy.inject(r"POST .*/jobs$", answer=status(code, words), times=1000)
    jobs.apply(noop("guarded", inline(1)))
    message = jobs.wait_condition("guarded", "Stalled", "Refused")["message"]
    assert message == f"{words}. Change the quota, policy, webhook or right that forbids it."
    refusal.times = refusal.hits
    jobs.wait_phase("guarded", "Running")


@pytest.mark.parametrize("edit", [{"parallelism": 5, "completions": 5}, {"suspend": True}], ids=["slots", "suspend"])
def test_a_job_that_somebody_changes_is_as_it_was_and_who_keeps_changing_it_is_not_raced(
    edit: dict[str, Any], operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs
) -> None:
    assert operator.process is not None
    jobs.apply(noop("edited", inline(1)))
    jobs.wait_phase("edited", "Running")
    [job] = child_jobs(jobs, "edited")
    name, mine = job["metadata"]["name"], {key: job["spec"][key] for key in edit}

    def now() -> dict[str, Any]:
        spec = jobs.kubectl.get("job", name)["spec"]
        return {key: spec[key] for key in edit}

    def edited() -> None:
        jobs.kubectl("patch", "job", name, "--type=merge", "-p", json.dumps({"spec": edit}))

    before, began = len(proxy.calls), time.monotonic()
    edited()
    wait_until(now, "the Job to be as it was", until=mine.__eq__)
    for _ in range(EDITS):
        edited()
    patched = [call for call in proxy.calls[before:] if call.method == "PATCH" and call.path.endswith(f"/jobs/{name}")]
    repaired = [call for call in patched if call.status == 200]  # the others met a Job that had changed again
    assert len(repaired) <= 1 + (time.monotonic() - began) / UNDONE_SECONDS
    wait_until(now, "the Job to be as it was", until=mine.__eq__)


def test_a_namespace_that_goes_takes_its_batchjobs_along_and_leaves_nothing_in_the_store(
    operator: OperatorProcess, proxy: FaultProxy, jobs: Jobs, admin: Kubectl, ask_store: AskStore
) -> None:
    names = ("running", "suspended", "waiting")
    jobs.apply(
        noop("running", inline(2)),
        noop("suspended", inline(2), suspend=True),
        noop("waiting", {"configMapRef": {"name": "none", "key": "none"}}),
    )
    jobs.wait_phase("running", "Running")
    uids = {jobs.uid(name) for name in names}
    with no_hot_loop(proxy, of=jobs.kubectl.namespace):
        admin("delete", "namespace", jobs.kubectl.namespace, "--wait=false")
        left = ("get", "namespace", jobs.kubectl.namespace, "--ignore-not-found", "-o", "jsonpath={.status}")
        wait_until(lambda: admin(*left), "the namespace to be gone", until=lambda found: not found)
        wait_until(
            lambda: ask_store(runs_and_users) & uids, "the store to forget the runs", until=lambda uids: not uids
        )
    assert operator.process is not None
    assert operator.process.poll() is None
    assert not operator.logged("Traceback")


def test_a_namespace_that_may_not_be_read_keeps_nobody_from_seeing_to_the_others(
    proxy: FaultProxy, redis_server: RedisServer, jobs: Jobs, tmp_path: Path
) -> None:
    """As when it was deleted with its RoleBinding, and the operator is started again."""
    proxy.inject("/namespaces/elsewhere/", answer=status(403, "not in there"), times=1_000_000)
    told = {"pod_namespace": SYSTEM, "watch_namespaces": f"elsewhere,{jobs.kubectl.namespace}"}
    jobs.apply(noop("before", inline(1)))
    with OperatorProcess(proxy.kubeconfig(tmp_path), redis_server.url, tmp_path, **told, **AS_INSTALLED) as operator:
        with no_hot_loop(proxy):
            jobs.wait_phase("before", "Running")
            jobs.apply(noop("after", inline(1)))
            jobs.wait_phase("after", "Running")
        assert operator.logged("a namespace that we serve cannot be read")


def bound_token(system: Kubectl, secret: str) -> str:
    """A token of the operator's that ends with a Secret."""
    return system(
        *("create", "token", "batchjob-operator", "--duration=1h"),
        *("--bound-object-kind=Secret", f"--bound-object-name={secret}"),
    ).strip()


def refused(proxy: FaultProxy) -> int:
    return sum(call.status == 401 for call in proxy.calls)


def webhook(namespace: str) -> dict[str, Any]:
    """One of Jobs in a namespace, at an address where nobody answers."""
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    hook = {
        "name": "nobody.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/none"},
        "rules": [rule],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return kind | {"metadata": {"name": "nobody"}, "webhooks": [hook]}


def is_refused(jobs: Jobs) -> bool:
    """Whether a Job is refused by a webhook."""
    try:
        jobs.kubectl("create", "job", "probe", "--image=none", "--dry-run=server")
    except KubectlError as error:
        return "webhook" in str(error)
    return False
