"""The kubeconfig of a user, as kubectl reads it: which cluster, who signs in, and which namespace is meant.

Files are read here, and without the `kubernetes` package, which takes a second to import; it is asked where somebody
signs in by a program (`exec`), as the clouds have it: then that program takes its time anyway. What would be signed in
otherwise than is written there, or trusted otherwise, is refused with a sentence and never left out.
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from batchjob.errors import ConfigurationError
from batchjob.kube.access import Access, Certificate

NAMESPACE: Final = "default"  # where a context names none
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# What we do not do, and so must not leave out: the user would be somebody else, or the server.
_REFUSED_USER: Final = ("auth-provider", "username", "as-groups", "as-uid", "as-user-extra")
_REFUSED_CLUSTER: Final = ("tls-server-name",)


class Context(NamedTuple):
    """Where a command goes."""

    access: Access
    namespace: str


class _Entry(NamedTuple):
    """A cluster, a user or a context, and the file that it stands in: its paths are beside that."""

    content: dict[str, Any]
    file: Path


def find_files(given: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """The kubeconfigs that hold: the one that was named, else those of KUBECONFIG, else ~/.kube/config."""
    if given is not None:
        return [given]
    if named := environment.get("KUBECONFIG"):
        return [Path(name) for name in named.split(os.pathsep) if name]
    home = Path(environment.get("HOME") or Path.home()) / ".kube" / "config"
    return [home] if home.exists() else []


def sign_in(files: Sequence[Path], context: str | None = None, act_as: str | None = None) -> Context:
    """The context of that name, else the current one; without a file, the account of this pod.

    ConfigurationError names the file, the entry and what to do.
    """
    if not files:
        return _of_this_pod(act_as)
    entries, current = _merge(files)
    where = ", ".join(map(str, files))
    name = context or current
    if not name:
        raise ConfigurationError(f"{where}: no context is the current one: name one with --context")
    chosen = _find(entries, "context", name, where).content
    cluster = _find(entries, "cluster", str(chosen.get("cluster", "")), where)
    user = _find(entries, "user", str(chosen["user"]), where) if chosen.get("user") else _Entry({}, files[0])
    access = _build_access(cluster, user, act_as)
    return Context(access, str(chosen.get("namespace") or NAMESPACE))


def _of_this_pod(act_as: str | None) -> Context:
    try:
        access = Access.in_cluster()
        namespace = _POD_NAMESPACE.read_text().strip()
    except (ConfigurationError, OSError):
        raise ConfigurationError(
            "there is no kubeconfig: name one with --kubeconfig or KUBECONFIG, or put it at ~/.kube/config"
        ) from None
    access.act_as = act_as
    return Context(access, namespace)


def _merge(files: Sequence[Path]) -> tuple[dict[tuple[str, str], _Entry], str]:
    """Entries by their kind and name, and the current context; of several files the first one wins."""
    entries: dict[tuple[str, str], _Entry] = {}
    current = ""
    there = [file for file in files if file.exists()]
    if not there:
        raise ConfigurationError(f"the kubeconfig {files[0]} does not exist: name another one with --kubeconfig")
    for file in there:
        config = _read(file)
        current = current or str(config.get("current-context") or "")
        for kind in ("context", "cluster", "user"):
            for entry in config.get(f"{kind}s") or ():
                try:
                    entries.setdefault((kind, str(entry["name"])), _Entry(dict(entry[kind] or {}), file))
                except (KeyError, TypeError, ValueError):
                    raise ConfigurationError(f"{file}: each of {kind}s needs name and {kind}") from None
    return entries, current


def _read(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text("utf-8")) or {}
    except OSError as error:
        raise ConfigurationError(f"the kubeconfig {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{file} is no kubeconfig: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise ConfigurationError(f"{file} is no kubeconfig: it has to be a map with clusters, users and contexts")
    return config


def _find(entries: Mapping[tuple[str, str], _Entry], kind: str, name: str, where: str) -> _Entry:
    if found := entries.get((kind, name)):
        return found
    names = sorted(other for its_kind, other in entries if its_kind == kind)
    raise ConfigurationError(f"{where}: there is no {kind} {name!r}; there are: {', '.join(names) or 'none'}")


def _build_access(cluster: _Entry, user: _Entry, act_as: str | None) -> Access:
    for entry, fields in ((user, _REFUSED_USER), (cluster, _REFUSED_CLUSTER)):
        if field := next((field for field in fields if entry.content.get(field)), None):
            raise ConfigurationError(f"{entry.file}: {field} is not supported here: use kubectl, or another context")
    server = str(cluster.content.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigurationError(
            f"{cluster.file}: the cluster's server has to be a URL with https:// (it is {server!r})"
        )
    content = user.content
    token, token_file = content.get("token"), content.get("tokenFile")
    certificate = _read_certificate(user)
    if not token and not token_file and not certificate and content.get("exec"):
        token, certificate = _ask_program(user, cluster)
    return Access(
        server,
        ca_data=_text(cluster, "certificate-authority"),
        fixed_token=None if token_file else token,
        token_file=user.file.parent / token_file if token_file else None,
        certificate=certificate,
        is_checked=not cluster.content.get("insecure-skip-tls-verify"),
        proxy=cluster.content.get("proxy-url") or None,
        act_as=act_as or content.get("as"),
    )


def _read_certificate(user: _Entry) -> Certificate | None:
    certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ConfigurationError(f"{user.file}: a user needs both client-certificate and client-key")
    return Certificate(certificate, key)


def _text(entry: _Entry, field: str) -> str | None:
    """A PEM text of an entry: within it (`…-data`, in base64), or in a file beside it."""
    try:
        if data := entry.content.get(f"{field}-data"):
            return base64.b64decode(data, validate=True).decode()
        if name := entry.content.get(field):
            return (entry.file.parent / str(name)).read_text()
    except OSError as error:
        raise ConfigurationError(f"{entry.file}: {field} {error.filename} cannot be read: {error.strerror}") from None
    except (binascii.Error, ValueError, TypeError):
        raise ConfigurationError(f"{entry.file}: {field}-data is not base64 of a PEM text") from None
    return None


def _ask_program(user: _Entry, cluster: _Entry) -> tuple[str | None, Certificate | None]:
    """What a program of the user's says: a token, or a certificate with its key."""
    try:
        library: Any = import_module("kubernetes.config.kube_config")
    except ModuleNotFoundError:
        raise ConfigurationError("to sign in by a program (exec) takes: pip install 'batchjob[cli]'") from None
    command = user.content["exec"].get("command")
    try:
        said = library.ExecProvider(
            library.ConfigNode("exec", user.content["exec"], str(user.file)),
            str(user.file.parent.absolute()),
            library.ConfigNode("cluster", cluster.content, str(cluster.file)),
        ).run()
    except FileNotFoundError:
        hint = user.content["exec"].get("installHint") or "install it, or use another context"
        raise ConfigurationError(f"{user.file}: the program {command} that signs you in is not there: {hint}") from None
    except (library.ConfigException, OSError) as error:
        raise ConfigurationError(f"{user.file}: {command} did not sign you in: {error}") from None
    certificate, key = said.get("clientCertificateData"), said.get("clientKeyData")
    if not said.get("token") and not (certificate and key):
        raise ConfigurationError(f"{user.file}: {command} gave neither a token nor a certificate with its key")
    return said.get("token"), Certificate(certificate, key) if certificate and key else None
