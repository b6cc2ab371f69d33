"""The existing provider: a cluster of the user's own, named by KUBECONFIG; it is only ever read and used."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.localcluster import images
from tests.localcluster.credentials import ADMIN
from tests.localcluster.errors import ClusterError
from tests.localcluster.impersonation import write_kubeconfig
from tests.localcluster.places import state_folder
from tests.localcluster.progress import say
from tests.localcluster.providers import Status
from tests.localcluster.tools import kubectl

PUSH: Final = """\
This cluster pulls its images from a registry of yours, which we do not know. For each image:
{commands}
then name them in the chart's values: image, worker.image, redis.image."""


class ExistingProvider:
    """The cluster that KUBECONFIG names."""

    name = "existing"

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig; raises ClusterError when KUBECONFIG names no file."""
        named = os.environ.get("KUBECONFIG", "")
        if not named or not Path(named).is_file():
            raise ClusterError(f"CLUSTER=existing needs KUBECONFIG to name a file; it is {named!r}.")
        return Path(named)

    def kubeconfig_of(self, user: str) -> Path:
        """The user's own for admin; for the others, one by which that user is impersonated."""
        if user == ADMIN.kubeconfig:
            return self.kubeconfig
        return write_kubeconfig(self.kubeconfig, user, state_folder().with_name(f"{state_folder().name}-{self.name}"))

    def prepare(self) -> None:
        """Nothing: nothing is built for a cluster of the user's."""

    def up(self) -> None:
        """Only look whether the cluster answers; raises ClusterError when it does not."""
        status = self.status()
        if not status.healthy:
            raise ClusterError("\n".join(status.lines))
        say(f"using the cluster of {self.kubeconfig}")

    def down(self) -> None:
        """Leave the user's cluster alone."""
        say("the cluster is yours: nothing is taken down")

    def status(self) -> Status:
        """Whether the API server is ready, and its nodes."""
        command: list[str | Path] = [
            kubectl(),
            "--kubeconfig",
            self.kubeconfig,
            "get",
            "nodes",
            "--request-timeout=10s",
        ]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        return Status(asked.returncode == 0, (asked.stdout or asked.stderr).strip().splitlines())

    def load_images(self, names: Sequence[str] = ()) -> None:
        """Say how to build and push; which registry the cluster reads is the user's business."""
        self.load(images.named(names))

    def load(self, chosen: Sequence[images.Image]) -> None:
        """The same with these."""
        commands = [
            f"  docker build -t <registry>/{image.short_name} -f {image.dockerfile} {image.context}"
            f" && docker push <registry>/{image.short_name}"
            for image in chosen
        ]
        say(PUSH.format(commands="\n".join(commands)))

    def recycle_volumes(self) -> list[str]:
        """Nothing: the cluster's own storage class does that."""
        return []
