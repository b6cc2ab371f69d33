"""A real Kubernetes for tests and the demo: `python -m tests.localcluster up`, or `provider()` from Python."""

from tests.localcluster.controlplane import ControlPlane
from tests.localcluster.errors import ClusterError
from tests.localcluster.providers import Provider, provider

__all__ = ["ClusterError", "ControlPlane", "Provider", "provider"]
