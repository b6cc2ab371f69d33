"""The operator's own account on a cluster, with the rights that the chart gives it."""

from pathlib import Path
from typing import Final

import yaml

from tests.chart.rendering import objects, of_kind
from tests.support.kubectl import Kubectl

SYSTEM: Final = "batchjob-system"
RIGHTS: Final = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def operator_kubeconfig(administrators: Path, admin: Kubectl, folder: Path) -> Path:
    """A kubeconfig of the operator's service account; makes the account and its namespace."""
    system = admin.within(SYSTEM)
    system.ensure_namespace()
    system.apply(*of_kind(objects(), *RIGHTS))
    config = yaml.safe_load(administrators.read_text())
    config["users"][0]["user"] = {"token": system("create", "token", "batchjob-operator", "--duration=8h").strip()}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
