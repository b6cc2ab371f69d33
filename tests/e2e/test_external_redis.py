"""An installation for one namespace, with a Redis of somebody's own: over TLS, with an ACL user, no other login."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import NAMESPACE
from tests.support.cluster_jobs import Jobs
from tests.support.gateway_watch import answers
from tests.support.installation import RELEASE, SYSTEM, Installation
from tests.support.kubectl import Kubectl, wait_until
from tests.support.manifests import inline, noop
from tests.support.neighbours.neighbours.certificates import tls_context

NAME: Final = "redis-tls"
HOST: Final = f"{NAME}.{NAMESPACE}.svc"
USER: Final = "batchjob"
PASSWORD: Final = "not-the-default-users"
VALUES: Final = (
    "redis.mode=external",
    f"redis.url=rediss://{HOST}:6379/0",
    "redis.caConfigMap=redis-ca",
    f"redis.auth.username={USER}",
    "redis.auth.existingSecret=redis-login",
    f"watchNamespaces={{{NAMESPACE}}}",
)


def server(pair: str, authority: str) -> list[dict[str, Any]]:
    """A Redis that takes nothing but TLS, under the restricted Pod Security Standard."""
    files = {"server.pem": pair, "ca.crt": authority}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
    tls = ("--port", "0", "--tls-port", "6379", "--tls-cert-file", "/tls/server.pem", "--tls-key-file")
    trust = ("/tls/server.pem", "--tls-ca-cert-file", "/tls/ca.crt", "--tls-auth-clients", "no")
    users = ("--user", "default", "off", "--user", USER, "on", "~*", "&*", "+@all", f">{PASSWORD}")
    container = {
        "name": "redis",
        "image": "batchjob.local/redis:dev",
        "command": ["redis-server"],
        "args": [*tls, *trust, "--maxmemory-policy", "noeviction", *users],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    spec = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tls", "secret": {"secretName": NAME}}],
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "data": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": NAME}}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 6379}]},
        },
    ]


@pytest.fixture
def elsewhere(installation: Installation, namespace: Kubectl, tmp_path: Path) -> Iterator[None]:
    """The installation uses that Redis while a test runs."""
    tls_context(tmp_path, [HOST])
    authority = (tmp_path / "ca.crt").read_text()
    namespace.apply(*server((tmp_path / "server.pem").read_text(), authority))
    namespace("wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=60s", timeout=90)
    login = {"metadata": {"name": "redis-login"}, "stringData": {"password": PASSWORD}}
    installation.cluster.within(SYSTEM).apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "redis-ca"}, "data": {"ca.crt": authority}},
        {"apiVersion": "v1", "kind": "Secret", **login},
    )
    installation.install(*VALUES)
    yield
    installation.install()
    namespace("delete", f"pod/{NAME}", f"service/{NAME}", f"secret/{NAME}", "--wait=false")


@pytest.mark.usefixtures("elsewhere")
def test_runs_and_the_gateway_work_with_it(installation: Installation, jobs: Jobs) -> None:
    system = installation.cluster.within(SYSTEM)
    assert not system.exists("statefulset", f"{RELEASE}-redis")
    jobs.apply(noop("over-tls", inline(30), parallelism=2))
    assert jobs.wait_complete("over-tls")["counts"]["succeeded"] == 30
    with system.port_forward(f"service/{RELEASE}-gateway", 80) as port:
        wait_until(lambda: answers(port), "the gateway to be ready")
    bound = system("get", "clusterrolebindings", "-o", "name").split()
    assert [name for name in bound if name.endswith("-operator")] == []
