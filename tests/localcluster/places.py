"""Where the cluster keeps its things.

Two folders, both outside the checkout: the *state* folder holds one cluster's life (sockets, pid files, logs,
certificates) and is wiped at every start; the *cache* holds what is dear to make (built programs, images) and
is keyed by content, so that it never has to be wiped. The state folder is one for the machine, because the
network namespace, the addresses and the cgroup are; and its path is short, because Unix sockets end at 108 bytes.
"""

import os
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[1]


def state_folder() -> Path:
    """The machine's one cluster lives here; BATCHJOB_CLUSTER_STATE overrides."""
    return Path(os.environ.get("BATCHJOB_CLUSTER_STATE", "/var/tmp/batchjob-cluster"))


def cache_folder() -> Path:
    """Programs, images and the package tools are kept here between runs; made when missing."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchjob"
    root.mkdir(parents=True, exist_ok=True)
    return root
