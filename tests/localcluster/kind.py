"""The kind provider: Kubernetes in Docker, for machines where a Docker daemon answers.

kind is the machine's own or, where that is missing, built from its Go module into the cache. Images are built by
Docker from the same Dockerfiles and loaded into the node.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.localcluster import images, programs
from tests.localcluster.credentials import ADMIN
from tests.localcluster.impersonation import write_kubeconfig
from tests.localcluster.locking import locked
from tests.localcluster.places import HERE, cache_folder, state_folder
from tests.localcluster.processes import run
from tests.localcluster.progress import say, step
from tests.localcluster.providers import Status

CLUSTER: Final = "batchjob"
CONFIG: Final = HERE / "kind.yaml"
MODULE: Final = "sigs.k8s.io/kind@v0.33.0"


class KindProvider:
    """The kind cluster `batchjob`."""

    name = "kind"

    def __init__(self) -> None:
        """Bind to the state folder, which holds the kubeconfigs."""
        self.state = state_folder().with_name(f"{state_folder().name}-{self.name}")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "admin.kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        """The administrator's own, or one by which he impersonates alice or bob."""
        return self.kubeconfig if user == ADMIN.kubeconfig else write_kubeconfig(self.kubeconfig, user, self.state)

    def prepare(self) -> None:
        """Nothing: Docker builds the images, and kind brings the rest."""

    def up(self) -> None:
        """Create the cluster unless it is there."""
        self.state.mkdir(parents=True, exist_ok=True)
        with locked(self.state):
            if self._exists():
                self._kind("export", "kubeconfig")
                say("the kind cluster is there")
                return
            with step("kind cluster"):
                self._kind("create", "cluster", "--config", CONFIG, "--wait", "180s")

    def down(self) -> None:
        """Delete the cluster."""
        with locked(self.state), step("deleting the kind cluster"):
            self._kind("delete", "cluster")
            shutil.rmtree(self.state, ignore_errors=True)

    def status(self) -> Status:
        """Whether the cluster is there and its node ready, and the images it has."""
        if not self._exists():
            return Status(False, [f"no kind cluster {CLUSTER}"])
        node = f"{CLUSTER}-control-plane"
        nodes = run(["docker", "exec", node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "nodes"])
        loaded = run(["docker", "exec", node, "crictl", "images"])
        ours = [line for line in loaded.splitlines() if line.startswith("batchjob.local/")]
        return Status(" Ready " in nodes, [*nodes.splitlines(), *ours])

    def load_images(self, names: Sequence[str] = ()) -> None:
        """Build by Docker, whose cache makes an unchanged build short, and load what the node does not have."""
        self.load(images.named(names))

    def load(self, chosen: Sequence[images.Image]) -> None:
        """The same with these."""
        with locked(self.state):
            for image in chosen:
                with step(f"building and loading {image.name}"):
                    run(
                        [
                            "docker",
                            "build",
                            *image.arguments,
                            "--tag",
                            image.name,
                            "--file",
                            image.dockerfile,
                            image.context,
                        ]
                    )
                    self._kind("load", "docker-image", image.name)  # compares ids before it copies

    def recycle_volumes(self) -> list[str]:
        """Nothing: kind's storage class deletes and makes volumes itself."""
        return []

    def _exists(self) -> bool:
        return CLUSTER in run([_kind(), "get", "clusters"]).split()

    def _kind(self, *arguments: str | Path) -> str:
        where = () if arguments[0] == "load" else ("--kubeconfig", self.kubeconfig)
        return run([_kind(), *arguments, "--name", CLUSTER, *where])


def _kind() -> Path:
    if installed := shutil.which("kind"):
        return Path(installed)
    folder = cache_folder() / "programs" / MODULE.rpartition("/")[2]
    if not (folder / "kind").exists():
        with step(f"building {MODULE}"):
            run([programs.go(), "install", MODULE], env={**programs.go_environment(), "GOBIN": str(folder)})
    return folder / "kind"
