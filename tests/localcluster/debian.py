"""What Debian supplies: the container runtime, the packet filter, and the tools that build images."""

import os
import shutil
import sys
from typing import Final

from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import SBIN, run
from tests.localcluster.progress import step

# A file each package is known by, because a machine may have the program from elsewhere.
PACKAGES: Final = {
    "buildah": "buildah",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iproute2": "ip",
    "iptables": "iptables",  # the CNI plugin portmap calls it
    "mmdebstrap": "mmdebstrap",
    "nftables": "nft",
    "openssl": "openssl",
    "procps": "sysctl",
    "runc": "runc",
}


def require_linux_root() -> None:
    """Raise ClusterError unless this is Linux and we may make namespaces, mounts and cgroups."""
    if sys.platform != "linux":
        raise ClusterError(
            "The local cluster needs Linux; elsewhere use CLUSTER=kind with Docker, or CLUSTER=existing."
        )
    if os.geteuid() != 0:
        raise ClusterError(
            "The local cluster makes namespaces, mounts and cgroups: run it as root, or use CLUSTER=kind|existing."
        )


def missing_packages() -> list[str]:
    """The Debian packages that are not here yet."""
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    return [package for package, program in PACKAGES.items() if shutil.which(program, os.F_OK, path) is None]


def install_packages() -> None:
    """Install what is missing; raises ClusterError on a system without apt."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"Please install {', '.join(missing)}: this system has no apt-get to do it with.")
    with step(f"Debian packages: {' '.join(missing)}"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-q"], env=quiet)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], env=quiet)
