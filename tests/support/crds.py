"""Our CRDs on a cluster without the chart."""

from pathlib import Path
from typing import Any, Final

from tests.support.kubectl import Kubectl, wait_until

CRDS: Final = Path(__file__).parents[2] / "crds"


def install_crds(admin: Kubectl) -> None:
    """Apply them and wait until they are served; not by `kubectl wait`, which fails on one without conditions yet."""
    admin("apply", "-f", CRDS)
    wait_until(lambda: all(map(_is_served, admin.items("crds"))), "the CRDs to be served")


def _is_served(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()  # null at first
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
