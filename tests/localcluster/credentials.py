"""Who may speak to the cluster: bearer tokens, kubeconfigs, keys and certificates.

Users come from the API server's token file, the cheapest way to several of them; alice and bob have no rights at
all until a test gives them some. Kubelet and API server need certificates besides: the API server calls the
kubelet (logs, exec, port-forward) with a client certificate of a CA that only the kubelet trusts.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.localcluster.processes import run


@dataclass(frozen=True)
class User:
    """A user of the token file; `kubeconfig` is the name of the file without its ending."""

    kubeconfig: str
    name: str
    group: str = ""


ADMIN: Final = User("admin", "admin", "system:masters")
PEOPLE: Final = (ADMIN, User("alice", "alice", "team-a"), User("bob", "bob", "team-b"))
COMPONENTS: Final = (
    User("controller-manager", "system:kube-controller-manager"),
    User("scheduler", "system:kube-scheduler"),
    User("proxy", "system:kube-proxy"),
    User("dns", "system:coredns"),
)
CONTEXT: Final = "batchjob"


def node_user(node: str) -> User:
    """The kubelet of a node, as the node authorizer expects it."""
    return User("node", f"system:node:{node}", "system:nodes")


def kubeconfig_of(state: Path, user: str) -> Path:
    """Where a user's kubeconfig is."""
    return state / f"{user}.kubeconfig"


def render_token_file(tokens: dict[User, str]) -> str:
    """The API server's token file: token, name, uid, groups."""
    return "".join(f'{token},{user.name},{user.kubeconfig},"{user.group}"\n' for user, token in tokens.items())


def render_kubeconfig(server: str, certificate: Path, user: str, token: str) -> str:
    """A kubeconfig of one context; `certificate` is what the server's certificate is checked against."""
    return yaml.safe_dump({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority": str(certificate)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    })  # fmt: skip


def issue(state: Path, server: str, users: tuple[User, ...]) -> dict[User, str]:
    """Write token file, kubeconfigs and service-account key; returns each user's token."""
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)  # the tokens of an administrator lie here
    tokens = {user: secrets.token_hex(16) for user in users}
    (state / "tokens.csv").write_text(render_token_file(tokens))
    for user, token in tokens.items():
        text = render_kubeconfig(server, state / "pki" / "apiserver.crt", user.name, token)
        kubeconfig_of(state, user.kubeconfig).write_text(text)
    run(["openssl", "genrsa", "-out", state / "service-accounts.key", "2048"])
    return tokens


def issue_kubelet_client(state: Path) -> None:
    """A CA that the kubelet trusts, and the certificate by which the API server calls it."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca, ca_key = state / "kubelet-ca.crt", state / "kubelet-ca.key"
    client, client_key, request = (state / f"kubelet-client.{ending}" for ending in ("crt", "key", "csr"))
    valid = ["-days", "365"]
    run(["openssl", "req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-subj", "/CN=kubelet-client-ca", *valid])
    run(["openssl", "req", *new_key, "-keyout", client_key, "-out", request, "-subj", "/CN=kube-apiserver"])
    run(
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            ca,
            "-CAkey",
            ca_key,
            "-CAcreateserial",
            "-out",
            client,
            *valid,
        ]
    )
