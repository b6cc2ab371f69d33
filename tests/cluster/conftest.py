"""One control plane for all tests of this folder: etcd, API server and controller manager, without nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localcluster import ControlPlane
from tests.localcluster.tools import kubectl
from tests.support.kubectl import Kubectl

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that knows our CRDs."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        admin = Kubectl(kubectl(), running.kubeconfig)
        admin("apply", "-f", CRDS)
        admin("wait", "--for=condition=Established", "-f", CRDS, "--timeout=30s")
        yield running


@pytest.fixture
def admin(control_plane: ControlPlane) -> Kubectl:
    """kubectl as the administrator."""
    return Kubectl(kubectl(), control_plane.kubeconfig)
