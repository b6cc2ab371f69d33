"""Images without Docker: the project's own, unmodified Dockerfiles, built by buildah.

The base image is made here from Debian's packages and carries the name that the Dockerfiles ask for. The machine's
certificates and pip settings are mounted into the build, so that nothing of them lands in an image. Two gates keep
a repeated call short: an unchanged context (by its hash) is not built at all, and a build that ends in the same
image (by buildah's layer cache) is not packed again. What a node loads is a docker archive in the cache.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.localcluster import mounts, programs
from tests.localcluster.context import content_hash
from tests.localcluster.errors import ClusterError
from tests.localcluster.places import HERE, REPOSITORY, cache_folder
from tests.localcluster.processes import AT_ONCE, all_pids, end, root_of, run
from tests.localcluster.progress import step

PAUSE: Final = "batchjob.local/pause:dev"
BASE: Final = "docker.io/library/debian:bookworm-slim"
# Leaves out what the published slim image leaves out, and cleans up after apt as that does. ca-certificates comes
# on top: a build here sees the machine's certificates mounted read-only, on which installing them would fail.
APT_CLEANS_UP: Final = """\
DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true";};
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
"""
BASE_RECIPE: Final = (
    "--variant=minbase",
    "--include=ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # With this setting apt forgets the caches it has already written.
    f"--customize-hook=echo '{APT_CLEANS_UP}' > $1/etc/apt/apt.conf.d/docker-clean; rm -f $1/var/cache/apt/*.bin",
    "bookworm",
)
MOST_LAYERS: Final = 400  # some 10 GB; buildah cannot tell a stale layer from a cached one, so all go at once
# buildah's chroot runs a sealed copy of itself; while another process forks, the copy may still be open for writing.
MEMFD_RACE: Final = "sealing memfd copy: Device or resource busy"
MACHINE: Final = ("/etc/ssl/certs", "/etc/pip.conf", "/etc/uv/uv.toml")  # how this machine reaches registries


@dataclass(frozen=True)
class Image:
    """An image by its full name, and what it is built from."""

    name: str
    dockerfile: Path
    context: Path = REPOSITORY
    extra: str = ""  # the Dockerfile's argument EXTRA, where it is a variant

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a build is told besides the Dockerfile and its context."""
        return ("--build-arg", f"EXTRA={self.extra}") if self.extra else ()

    @property
    def short_name(self) -> str:
        """The name without registry and tag."""
        return self.name.rpartition("/")[2].partition(":")[0]

    @property
    def file_name(self) -> str:
        """The name as that of a file."""
        return self.name.replace("/", "_").replace(":", "_")


@dataclass(frozen=True)
class Built:
    """An image that was built: the hash of its context, buildah's id, and the archive to load."""

    key: str
    image_id: str
    archive: str


PRODUCT: Final = tuple(
    Image(f"batchjob.local/{name}:dev", REPOSITORY / dockerfile)
    for name, dockerfile in (
        ("operator", "operator/Dockerfile"),
        ("worker", "worker-image/Dockerfile"),
        ("neighbours", "tests/support/neighbours/Dockerfile"),
        ("redis", "tests/localcluster/redis.Dockerfile"),
        ("chaos", "tests/support/chaos/Dockerfile"),
    )
)
# Large, and no test's but by name.
VARIANTS: Final = tuple(
    Image(f"batchjob.local/worker-{extra}:dev", REPOSITORY / "worker-image/Dockerfile", extra=extra)
    for extra in ("parquet", "report")
)


def named(names: Sequence[str]) -> list[Image]:
    """Images by short or full name, for none all but the variants; raises ClusterError on an unknown one."""
    known = (*PRODUCT, *VARIANTS) if names else PRODUCT
    chosen = [image for image in known if not names or image.name in names or image.short_name in names]
    if names and len(chosen) < len(set(names)):
        raise ClusterError(
            f"Images are {', '.join(image.short_name for image in known)}; asked for {', '.join(names)}."
        )
    return chosen


def pause() -> Image:
    """The image of the process that every pod's sandbox holds on to."""
    return Image(PAUSE, HERE / "go" / "pause" / "Dockerfile", programs.built(programs.PAUSE))


def current(image: Image) -> Built | None:
    """What was built from exactly this content, if it was."""
    kept = _record(image)
    if not kept.exists() or not image.dockerfile.exists():
        return None
    built = Built(**json.loads(kept.read_text()))
    return built if built.key == _key(image) and Path(built.archive).exists() else None


def build(image: Image) -> Built:
    """The image built from the present content; nothing is done when it was before."""
    if built := current(image):
        return built
    if not image.dockerfile.exists():
        raise ClusterError(f"{image.name} has no Dockerfile: {image.dockerfile} is missing")
    if "FROM scratch" not in image.dockerfile.read_text():
        _ensure_base()
        _ensure_parents(image)
    buildah("rm", "--all")  # working containers of interrupted builds
    key = _key(image)
    with step(f"building {image.name}"):
        image_id = _bud(image)
        archive = _folder() / f"{image.file_name}-{image_id.removeprefix('sha256:')[:12]}.tar"
        if not archive.exists():
            _pack(image, archive)
    built = Built(key, image_id, str(archive))
    _record(image).write_text(json.dumps(asdict(built)))
    return built


def buildah(*arguments: str | Path, log: Path | None = None) -> str:
    """Run buildah on our own store of images and return what it printed; raises ClusterError."""
    where = ("--root", _storage() / "root", "--runroot", _storage() / "run", "--storage-driver", "overlay")
    return run(["buildah", *where, *arguments], env={"TMPDIR": str(_temporary())}, log=log).strip()


def rebuild(image: Image, *arguments: str) -> str:
    """The image's id, built without anything that earlier builds left but the base; `arguments` are for the build."""
    _ensure_base()
    return _bud(image, "--no-cache", *arguments)


def end_builds() -> None:
    """Undo what an interrupted build left: processes in its root, its mounts, and its temporary files."""
    end((pid for pid in all_pids() if root_of(pid).is_relative_to(_storage())), AT_ONCE)
    mounts.unmount_below(_storage())
    for folder in ("run", "tmp"):
        mounts.wipe(_storage() / folder)


def _key(image: Image) -> str:
    told = [argument.encode() for argument in image.arguments]
    return content_hash(image.context, image.dockerfile.read_bytes(), repr(BASE_RECIPE).encode(), *told)


def _folder() -> Path:
    folder = cache_folder() / "images"
    folder.mkdir(exist_ok=True)
    return folder


def _storage() -> Path:
    return cache_folder() / "buildah"


def _temporary() -> Path:
    folder = _storage() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _record(image: Image) -> Path:
    return _folder() / f"{image.file_name}.json"


def _ensure_base() -> None:
    recipe = _folder() / "base.recipe"
    known = recipe.exists() and recipe.read_text() == repr(BASE_RECIPE)
    kept = buildah("images", "--all", "--quiet").split()
    if known and len(kept) < MOST_LAYERS and buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return
    if kept:
        buildah("rmi", "--all", "--force")
    with step(f"base image {BASE} from Debian's packages"):
        archive = _folder() / "base.tar"
        temporary = {"TMPDIR": str(_temporary())}
        run(["mmdebstrap", *BASE_RECIPE, archive], env=temporary, log=cache_folder() / "logs" / "mmdebstrap.log")
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, archive, "/")
        buildah("config", "--cmd", "bash", container)
        buildah("commit", "--quiet", "--rm", container, BASE)
        archive.unlink()
        recipe.write_text(repr(BASE_RECIPE))


def _ensure_parents(image: Image) -> None:
    """The product's images that this one is made from: built, and back in the store if that was emptied since."""
    dockerfile = image.dockerfile.read_text()
    for parent in PRODUCT:
        if parent != image and parent.name in dockerfile:
            built = build(parent)
            if not buildah("images", "--quiet", "--filter", f"reference={parent.name}"):
                buildah("pull", "--quiet", f"docker-archive:{built.archive}")


def _bud(image: Image, *more: str) -> str:
    id_file = _temporary() / f"{image.file_name}.id"
    command: list[str | Path] = ["bud", "--layers", "--isolation", "chroot", "--network", "host", "--pull-never"]
    command += [part for path in MACHINE if Path(path).exists() for part in ("--volume", f"{path}:{path}:ro")]
    command += [
        *image.arguments,
        *more,
        "--iidfile",
        id_file,
        "--tag",
        image.name,
        "--file",
        image.dockerfile,
        image.context,
    ]
    log = cache_folder() / "logs" / f"build-{image.file_name}.log"
    try:
        buildah(*command, log=log)
    except ClusterError as error:
        if MEMFD_RACE not in str(error):
            raise
        buildah(*command, log=log)
    return id_file.read_text().strip()


def _pack(image: Image, archive: Path) -> None:
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    buildah("push", "--quiet", "--disable-compression", image.name, f"docker-archive:{unfinished}:{image.name}")
    for older in _folder().glob(f"{image.file_name}-*.tar"):
        older.unlink()
    unfinished.rename(archive)
