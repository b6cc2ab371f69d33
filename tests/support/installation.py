"""The product and its neighbours, installed on the test cluster the way the README says."""

import subprocess
from pathlib import Path
from typing import Final

from tests.localcluster import provider
from tests.localcluster.tools import helm, kubectl
from tests.support.kubectl import Kubectl

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CHART: Final = REPOSITORY / "charts" / "batchjob-operator"
EXAMPLES: Final = REPOSITORY / "examples"
NEIGHBOURS: Final = REPOSITORY / "tests" / "support" / "neighbours" / "neighbours.yaml"
SYSTEM: Final = "batchjob-system"
RELEASE: Final = "batchjob"
OPERATOR: Final = f"{RELEASE}-operator"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


class Installation:
    """One helm release on the cluster the environment names (see tests/localcluster)."""

    def __init__(self) -> None:
        """Bind to the cluster; nothing is installed yet."""
        self.kubeconfig = provider().kubeconfig
        self.cluster = Kubectl(kubectl(), self.kubeconfig, SYSTEM)

    def install(self, *values: str) -> None:
        """`helm upgrade --install`, and wait until everything is ready; `values` are extra --set arguments.

        An operator that ran before is restarted: its image may be a new one under the same tag.
        """
        self.cluster.ensure_namespace(labels=RESTRICTED)
        ran_before = self.cluster.exists("deployment", OPERATOR)
        self.helm(
            *("upgrade", "--install", RELEASE, str(CHART), "--values", str(Path(__file__).with_name("values.yaml"))),
            *(argument for value in values for argument in ("--set", value)),
            *("--wait", "--timeout", "5m"),
        )
        if ran_before:
            self.cluster("rollout", "restart", f"deployment/{OPERATOR}")
            self.cluster("rollout", "status", f"deployment/{OPERATOR}", "--timeout=120s", timeout=150)

    def uninstall(self) -> None:
        """`helm uninstall`, and the namespace with it."""
        self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
        self.cluster("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=120s", timeout=150)

    def helm(self, *arguments: str) -> str:
        """Run helm in the system namespace."""
        done = subprocess.run(
            [helm(), "--kubeconfig", self.kubeconfig, "--namespace", SYSTEM, *arguments],
            capture_output=True,
            text=True,
            timeout=420,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"helm {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def install_neighbours(self, namespace: str) -> Kubectl:
        """A namespace under the restricted Pod Security Standard with the neighbours running in it."""
        there = self.cluster.within(namespace)
        there.ensure_namespace(labels=RESTRICTED)
        there("apply", "-f", NEIGHBOURS)
        there("rollout", "status", "deployment/neighbours", "--timeout=120s", timeout=150)
        return there
