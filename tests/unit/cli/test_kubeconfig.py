"""Kubeconfigs as people have them: which context, who signs in, and what is refused with a sentence."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchjob.errors import ConfigurationError
from batchjob.kube import Access, find_files, sign_in

PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


def config(user: dict[str, Any], cluster: dict[str, Any] | None = None, **context: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": "https://c:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", **context}}],
        "current-context": "one",
    }


def written(folder: Path, content: Any, name: str = "config") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_token_a_file_or_a_certificate_sign_in(tmp_path: Path) -> None:
    access, namespace = sign_in([written(tmp_path, config({"token": "t"}, namespace="team"))])
    assert (access.server, access.headers(), namespace) == ("https://c:6443", {"Authorization": "Bearer t"}, "team")
    (tmp_path / "token").write_text("from a file\n")
    access, namespace = sign_in([written(tmp_path, config({"tokenFile": "token"}))])
    assert (access.token(), namespace) == ("from a file", "default")
    (tmp_path / "crt").write_text(PEM)
    data = base64.b64encode(b"the key").decode()
    user = {"client-certificate": "crt", "client-key-data": data}
    access, _ = sign_in([written(tmp_path, config(user))])
    assert access.certificate == (PEM, "the key")
    assert access.headers() == {}
    assert "the key" not in repr(access)


def test_whoever_acts_as_another_says_so_with_each_call(tmp_path: Path) -> None:
    file = written(tmp_path, config({"token": "t", "as": "bob"}))
    assert sign_in([file]).access.headers()["Impersonate-User"] == "bob"
    assert sign_in([file], act_as="carol").access.headers()["Impersonate-User"] == "carol"


def test_a_program_signs_in_and_what_it_says_is_the_token(tmp_path: Path) -> None:
    said = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "made"}}'
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "interactiveMode": "Never"}
    file = written(tmp_path, config({"exec": {**program, "args": ["-c", f"print('{said}')"]}}))
    assert sign_in([file]).access.token() == "made"
    failing = written(tmp_path, config({"exec": {**program, "args": ["-c", "exit('please log in first')"]}}))
    with pytest.raises(ConfigurationError, match=r"did not sign you in.*please log in first"):
        sign_in([failing])
    absent = written(tmp_path, config({"exec": {**program, "command": "no-such-program", "installHint": "apt get it"}}))
    with pytest.raises(ConfigurationError, match=r"no-such-program that signs you in is not there: apt get it"):
        sign_in([absent])


def test_of_several_files_the_first_wins_and_one_that_is_not_there_is_none(tmp_path: Path) -> None:
    first = written(tmp_path, config({"token": "first"}), "a")
    second = written(tmp_path, config({"token": "second"}) | {"current-context": "two"}, "b")
    assert sign_in([tmp_path / "absent", first, second]).access.token() == "first"


def test_which_files_hold(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert find_files(None, home) == []
    (tmp_path / ".kube").mkdir()
    standard = written(tmp_path / ".kube", "{}")
    assert find_files(None, home) == [standard]
    assert find_files(None, {**home, "KUBECONFIG": "/a:/b"}) == [Path("/a"), Path("/b")]
    assert find_files(Path("/c"), {**home, "KUBECONFIG": "/a"}) == [Path("/c")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a: [", "is no kubeconfig"),
        ("- a", "it has to be a map"),
        ({"users": [{"user": {}}]}, "each of users needs name and user"),
        ({}, "no context is the current one: name one with --context"),
        (config({}) | {"current-context": "two"}, "there is no context 'two'; there are: one"),
        (config({}) | {"clusters": []}, "there is no cluster 'c'; there are: none"),
        (config({}, {"server": "c"}), r"server has to be a URL with https:// \(it is 'c'\)"),
        (config({"client-certificate-data": "eA=="}), "needs both client-certificate and client-key"),
        (config({"client-key-data": "%"}), "client-key-data is not base64"),
        (config({"client-certificate": "absent"}), "client-certificate .*absent cannot be read"),
        (config({"auth-provider": {"name": "gcp"}}), "auth-provider is not supported here"),
        (config({"token": "t", "as-groups": ["g"]}), "as-groups is not supported here"),
        (config({"token": "t"}, {"tls-server-name": "x"}), "tls-server-name is not supported here"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        sign_in([written(tmp_path, content)])


def test_without_a_kubeconfig_and_outside_of_a_pod_there_is_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="name one with --kubeconfig or KUBECONFIG"):
        sign_in([])
    with pytest.raises(ConfigurationError, match="does not exist"):
        sign_in([tmp_path / "absent"])


def test_a_certificate_that_is_none_is_the_kubeconfigs_fault() -> None:
    with pytest.raises(ConfigurationError, match="a certificate of the kubeconfig cannot be used"):
        Access("https://c", ca_data="no PEM").ssl_context()
