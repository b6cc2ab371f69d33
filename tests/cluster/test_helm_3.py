"""What Helm 3 installs, upgrades, rolls back and removes; and that Helm 4 takes over from it."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart.rendering import CHART
from tests.localcluster import ControlPlane
from tests.localcluster.tools import helm, helm_3
from tests.support.kubectl import Kubectl

RELEASE, NAMESPACE = "three", "helm-3"
# The CRDs are there, and no owner of theirs; the control plane has no nodes, so nothing becomes ready.
VALUES: Final = ("--set", "crds.install=false,gateway.enabled=true,policies.owners.enabled=false")


@pytest.fixture
def there(admin: Kubectl) -> Kubectl:
    namespace = admin.within(NAMESPACE)
    namespace.ensure_namespace(labels={})
    return namespace


def test_helm_3_installs_changes_and_removes_it_and_helm_4_takes_over(
    control_plane: ControlPlane, there: Kubectl
) -> None:
    def run(program: Path, *arguments: str) -> str:
        command = [str(program), "--kubeconfig", str(control_plane.kubeconfig), "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def level() -> str:
        [container] = deployment(there)["spec"]["template"]["spec"]["containers"]
        [value] = [one["value"] for one in container["env"] if one["name"] == "BATCHJOB_LOG_LEVEL"]
        return str(value)

    def upgrade(program: Path, **values: Any) -> None:
        settings = [f"--set={name}={value}" for name, value in values.items()]
        run(program, "upgrade", "--install", RELEASE, str(CHART), *VALUES, *settings)

    upgrade(helm_3())
    assert (level(), deployment(there)["spec"]["replicas"]) == ("info", 2)
    upgrade(helm_3(), logLevel="debug", replicas=1)
    assert (level(), deployment(there)["spec"]["replicas"]) == ("debug", 1)
    run(helm_3(), "rollback", RELEASE)
    assert (level(), deployment(there)["spec"]["replicas"]) == ("info", 2)
    upgrade(helm(), logLevel="warning", replicas=3)
    assert (level(), deployment(there)["spec"]["replicas"]) == ("warning", 3)
    run(helm(), "rollback", RELEASE)
    assert (level(), deployment(there)["spec"]["replicas"]) == ("info", 2)
    assert [one["status"] for one in json.loads(run(helm_3(), "list", "-o", "json"))] == ["deployed"]
    run(helm_3(), "uninstall", RELEASE)
    left = there("get", "deployments,services,configmaps,roles,rolebindings,serviceaccounts", "-o", "name").split()
    assert [name for name in left if RELEASE in name] == []
    assert f"{RELEASE}-batchjob" not in there("get", "clusterroles,clusterrolebindings", "-o", "name")
    there("get", "crd", "batchjobs.batchjob.dev")


def deployment(there: Kubectl) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(there("get", "deployment", f"{RELEASE}-batchjob-operator", "-o", "json"))
    return found
