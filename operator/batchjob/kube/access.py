"""Where the API server is and who we are: the pod's own account in a cluster, a kubeconfig with a token outside.

Tokens are read again from their file: Kubernetes replaces a pod's token every hour or so.
"""

import base64
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import yaml

from batchjob.errors import ApiUnavailable, ConfigurationError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_AGE_SECONDS: Final = 60.0  # a replaced token stays valid for minutes; reading it with each call is needless


class Certificate(NamedTuple):
    """What a user shows in place of a token; both PEM."""

    certificate: str
    key: str


@dataclass
class Access:
    """Server, trust and token of the Kubernetes API."""

    server: str
    ca_data: str | None = None  # PEM; None: the system's, or plain http
    fixed_token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    certificate: Certificate | None = field(default=None, repr=False)
    is_checked: bool = True  # False: whoever answers is taken for the server
    proxy: str | None = None
    act_as: str | None = None  # the user in whose name we ask
    _read_token: str | None = field(default=None, repr=False)
    _read_at: float = field(default=float("-inf"), repr=False)

    @classmethod
    def find(cls) -> Self:
        """KUBECONFIG if it is set, else the account of this pod. ConfigurationError where there is neither."""
        if path := os.environ.get("KUBECONFIG"):
            return cls.from_kubeconfig(Path(path))
        return cls.in_cluster()

    @classmethod
    def in_cluster(cls, account: Path = _ACCOUNT) -> Self:
        """The account of this pod."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (account / "token").exists():
            raise ConfigurationError("not in a pod with a service account, and KUBECONFIG is not set")
        host = f"[{host}]" if ":" in host else host
        ca_data = (account / "ca.crt").read_text()
        return cls(f"https://{host}:{port}", ca_data=ca_data, token_file=account / "token")

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        """The current context of a kubeconfig whose user signs in with a token."""
        try:
            config = yaml.safe_load(path.read_text())
            context = _named(config["contexts"], config["current-context"])["context"]
            cluster = _named(config["clusters"], context["cluster"])["cluster"]
            user = _named(config["users"], context["user"])["user"]
            server = str(cluster["server"])
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"KUBECONFIG {path} cannot be used: {error!r}") from error
        token_file = path.parent / user["tokenFile"] if "tokenFile" in user else None
        if not token_file and "token" not in user:
            raise ConfigurationError(f"KUBECONFIG {path}: the operator signs in with a token, and user has none")
        return cls(server, ca_data=_authority(cluster, path), fixed_token=user.get("token"), token_file=token_file)

    def token(self) -> str | None:
        """The token to send now. ApiUnavailable where there never was one; else the old one may do for a while."""
        if self.token_file is None:
            return self.fixed_token
        if time.monotonic() - self._read_at > _TOKEN_AGE_SECONDS:
            try:
                self._read_token = self.token_file.read_text().strip()
                self._read_at = time.monotonic()
            except OSError as error:
                if self._read_token is None:
                    raise ApiUnavailable(f"the token of our account cannot be read: {error}") from error
        return self._read_token

    def forget_token(self) -> None:
        """Read the token's file with the next call: the server refused the one we had."""
        self._read_at = float("-inf")

    def headers(self) -> dict[str, str]:
        """Who asks."""
        found = {"Authorization": f"Bearer {token}"} if (token := self.token()) else {}
        return found | ({"Impersonate-User": self.act_as} if self.act_as else {})

    def ssl_context(self) -> ssl.SSLContext | None:
        """What the server's certificate is checked against, and ours; None for plain http."""
        if not self.server.startswith("https"):
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca_data)
            if not self.is_checked:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                _show(context, self.certificate)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(f"a certificate of the kubeconfig cannot be used: {error}") from None
        return context


def _show(context: ssl.SSLContext, certificate: Certificate) -> None:
    """OpenSSL reads certificates from files alone: they are there, for us alone, for that moment."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "certificate.pem", Path(folder) / "key.pem"
        for path, text in zip(paths, certificate, strict=True):
            path.write_text(text)
        context.load_cert_chain(*paths)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _authority(cluster: dict[str, Any], path: Path) -> str | None:
    if data := cluster.get("certificate-authority-data"):
        return base64.b64decode(data).decode()
    if file := cluster.get("certificate-authority"):
        text: str = (path.parent / file).read_text()
        return text
    return None
