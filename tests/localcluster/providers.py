"""The three ways to a cluster, behind one small interface.

`local` makes one on this machine from Go modules; `kind` asks Docker for one; `existing` takes what KUBECONFIG
names. Tests, demo and `make` speak to the interface only.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from tests.localcluster.errors import ClusterError

if TYPE_CHECKING:
    from tests.localcluster.images import Image

NAMES: Final = ("local", "kind", "existing")


@dataclass(frozen=True)
class Status:
    """Whether the cluster can be used, and what a person wants to read about it."""

    healthy: bool
    lines: Sequence[str]


class Provider(Protocol):
    """A cluster that can be brought up, given images, asked and taken down."""

    name: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of admin, alice or bob; the latter two have no rights of their own."""

    def prepare(self) -> None:
        """Build beforehand, as fast as the machine can, what `up` and `load_images` would build one by one."""

    def up(self) -> None:
        """Bring the cluster up; nothing happens when it is healthy. Raises ClusterError."""

    def down(self) -> None:
        """Take the cluster down; fine if there is none."""

    def status(self) -> Status:
        """What runs, whether the node is ready, which images are in."""

    def load_images(self, names: Sequence[str] = ()) -> None:
        """Build the product's images (all for none) and give them to the cluster; unchanged ones cost nothing."""

    def load(self, chosen: Sequence["Image"]) -> None:
        """The same with these images, which need not be the product's."""

    def recycle_volumes(self) -> list[str]:
        """Wipe volumes whose claim is gone and offer them again; returns their names."""


def choose(environment: Mapping[str, str], docker_answers: Callable[[], bool]) -> str:
    """The provider's name: what CLUSTER says, else kind where a Docker daemon answers, else local."""
    wanted = environment.get("CLUSTER", "")
    if wanted and wanted not in NAMES:
        raise ClusterError(f"CLUSTER is {wanted!r}; it may be {', '.join(NAMES)}, or unset.")
    return wanted or ("kind" if docker_answers() else "local")


def docker_daemon_answers() -> bool:
    """Whether there is a Docker daemon; the client alone is not enough."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def provider() -> Provider:
    """The cluster that the environment asks for."""
    name = choose(os.environ, docker_daemon_answers)
    if name == "kind":
        from tests.localcluster.kind import KindProvider  # noqa: PLC0415  # only the chosen one is loaded

        return KindProvider()
    if name == "existing":
        from tests.localcluster.existing import ExistingProvider  # noqa: PLC0415  # as above

        return ExistingProvider()
    from tests.localcluster.local import LocalProvider  # noqa: PLC0415  # as above

    return LocalProvider()
