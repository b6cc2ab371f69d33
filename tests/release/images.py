"""The images of a release: built twice without a cache, looked into, and packed for a registry."""

from pathlib import Path

from tests.localcluster.images import Image, buildah, rebuild
from tests.release.version import ReleaseError


def images(source: Path, version: str) -> dict[Image, tuple[str, ...]]:
    """Each image by the name that the chart asks for, and the extras of the package that are in it."""
    operator, worker = source / "operator/Dockerfile", source / "worker-image/Dockerfile"
    return {
        Image(f"batchjob/operator:{version}", operator, source): ("operator", "gateway", "traces"),
        Image(f"batchjob/worker:{version}", worker, source): ("worker", "traces"),
        Image(f"batchjob/worker-parquet:{version}", worker, source, "parquet"): ("parquet", "traces"),
        Image(f"batchjob/worker-report:{version}", worker, source, "report"): ("report", "traces"),
    }


def build_twice(image: Image, base: str, commit_time: int) -> str:
    """The id of the image; raises ReleaseError where the same commit and base make another one the second time.

    `base` as a digest stands for what the Dockerfile begins with, "" for the base image of this machine. The second
    image is given the time of the commit as the first was, so what differs is in the files.
    """
    arguments = ("--timestamp", str(commit_time), *(("--build-arg", f"BASE={base}") if base else ()))
    first, second = rebuild(image, *arguments), rebuild(image, *arguments)
    if first != second:
        raise ReleaseError(f"{image.name} is not reproducible: built twice, it was {first} and {second}")
    return second


def look_into(image: Image, version: str) -> str:
    """Debian's list of what is installed; raises ReleaseError where the command in the image is not of this version."""
    container = buildah("from", "--pull-never", image.name)
    try:
        said = buildah("run", "--isolation", "chroot", container, "--", "batchjob", "version")
        if version not in said.split():
            raise ReleaseError(f"{image.name} says {said!r} of its version, which is {version}")
        return (Path(buildah("mount", container)) / "var/lib/dpkg/status").read_text()
    finally:
        buildah("rm", container)


def pack(image: Image, archive: Path) -> None:
    """The image as an OCI archive, which `skopeo copy` or `podman load` take."""
    buildah("push", "--quiet", image.name, f"oci-archive:{archive}:{image.name}")
