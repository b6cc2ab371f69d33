"""file:/// URLs: paths below a mounted claim, and nothing else of the pod's file system."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from batchjob.api.v1alpha1 import BatchJobSpec
from batchjob.errors import ConfigurationError
from batchjob.files.urls import masked


def mount_paths(spec: BatchJobSpec) -> list[Path]:
    """Where the run's claims are mounted."""
    volumes = (spec.worker.volumes if spec.worker else None) or []
    return [Path(volume.mount_path) for volume in volumes]


def path_on_mount(url: str, mounted: Iterable[Path], folder: str = "") -> Path:
    """The path that a file URL names, or a folder below it, links followed.

    Raises ConfigurationError where it is on no mounted claim.
    """
    parts = urlsplit(url)
    path = Path(unquote(parts.path), folder).resolve()
    places = [mount.resolve() for mount in mounted]
    if parts.scheme != "file" or parts.netloc or not any(path.is_relative_to(place) for place in places):
        has = ", ".join(str(place) for place in places) or "nothing is mounted"
        raise ConfigurationError(
            f"{masked(url)} is not below a mount of spec.worker.volumes ({has}): mount the claim there"
        )
    return path
