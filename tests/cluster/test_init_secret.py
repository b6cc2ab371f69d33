"""`batchjob init-secret` with exactly the rights that the chart gives to the operator's account."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import objects, of_kind
from tests.localcluster import ControlPlane
from tests.support.kubectl import Kubectl

NAMESPACE = "batchjob-system"
RELEASE = "init-secret"  # an account of our own: other tests give the operator's the rights to run BatchJobs too
SECRET = f"{RELEASE}-redis-auth"
OTHER = f"{RELEASE}-redis-gateway"


@pytest.fixture(scope="module")
def account(control_plane: ControlPlane, admin: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the service account that the chart makes."""
    system = admin.within(NAMESPACE)
    system.ensure_namespace()
    rendered = objects("--set", f"fullnameOverride={RELEASE}")
    system.apply(*of_kind(rendered, "ServiceAccount", "Role", "RoleBinding"))
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": system("create", "token", f"{RELEASE}-operator").strip()}
    path = tmp_path_factory.mktemp("init-secret") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def init_secret(account: Path, namespace: str, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("batchjob"), "init-secret", namespace, SECRET, *more],
        env={**os.environ, "KUBECONFIG": str(account)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_password_is_made_once_and_never_changed(account: Path, admin: Kubectl) -> None:
    system = admin.within(NAMESPACE)
    system("delete", "secret", SECRET, OTHER, "--ignore-not-found")
    first = init_secret(account, NAMESPACE)
    made = system.get("secret", SECRET)
    second = init_secret(account, NAMESPACE, OTHER)
    assert (first.returncode, first.stdout) == (0, f"Secret {NAMESPACE}/{SECRET} created\n")
    said = f"Secret {NAMESPACE}/{SECRET} exists already\nSecret {NAMESPACE}/{OTHER} created\n"
    assert (second.returncode, second.stdout) == (0, said)
    assert system.get("secret", OTHER)["data"] != made["data"]
    assert len(base64.b64decode(made["data"]["password"])) == 64
    assert system.get("secret", SECRET) == made


def test_what_the_account_may_not_do_is_said_in_one_line(account: Path) -> None:
    done = init_secret(account, "default")
    assert done.returncode == 1
    assert "forbidden" in done.stderr
    assert done.stderr.count("\n") == 1
