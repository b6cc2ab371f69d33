"""Clear away everything of a cluster, whether it runs, was killed at any point, or never came up.

The order matters: first whoever starts pods or writes to the API, then the pods, then what is left by name
(shims outlive containerd), then mounts, namespaces and cgroups, which only go once nobody uses them. Every step is
tried whatever became of the one before; what could not be removed is reported in the end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.localcluster import cgroups, controlplane, images, mounts, network, node
from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import AT_ONCE, Processes

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: Final = frozenset({"logs"})  # whoever asks why a cluster died needs them


def clear(state: Path) -> list[str]:
    """Remove it all but the logs; returns a sentence for everything that could not be removed."""
    processes = Processes(state)
    steps: list[Callable[[], None]] = [
        lambda: processes.stop(node.STOP_ORDER),
        lambda: processes.stop(controlplane.STOP_ORDER[:2]),
        cgroups.end_processes,
        lambda: processes.stop(["containerd"]),
        lambda: processes.stop(controlplane.STOP_ORDER[2:], AT_ONCE),
        processes.stop_strays,
        cgroups.end_processes,
        lambda: mounts.unmount_below(state),
        images.end_builds,
        network.down,
        cgroups.down,
        lambda: _empty(state),
    ]
    complaints = []
    for step in steps:
        try:
            step()
        except (ClusterError, OSError) as error:
            complaints.append(str(error))
    return complaints


def _empty(state: Path) -> None:
    for entry in state.glob("*"):
        if entry.name in KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            mounts.wipe(entry)
        else:
            entry.unlink()
