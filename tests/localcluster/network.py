"""The node's network: a namespace that one veth pair links to this machine, and nothing else.

The node being a namespace keeps bridge, NAT rules and sysctls inside it; there is no default route, so no pod can
reach anything but the cluster; and clean-up is the deletion of one namespace. What pods must reach outside their
node (API server, DNS, a test's own server) listens on the machine's end of the link.
"""

import subprocess
from pathlib import Path
from typing import Final

from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import run

NAMESPACE: Final = "bjnode"
LINK: Final = "bjn0"
HOST_IP: Final = "10.247.255.1"  # the machine's end of the link: API server and DNS
NODE_IP: Final = "10.247.255.2"
POD_CIDR: Final = "10.247.0.0/24"
CLUSTER_CIDR: Final = "10.247.0.0/16"  # pods and link, for DNS


def up() -> None:
    """Make the namespace and the link; raises ClusterError if either exists."""
    for command in (
        f"ip netns add {NAMESPACE}",
        f"ip -n {NAMESPACE} link set lo up",
        f"ip link add {LINK} type veth peer name eth0 netns {NAMESPACE}",
        f"ip addr add {HOST_IP}/30 dev {LINK}",
        f"ip link set {LINK} up",
        f"ip -n {NAMESPACE} addr add {NODE_IP}/30 dev eth0",
        f"ip -n {NAMESPACE} link set eth0 up",
        f"nsenter --net=/run/netns/{NAMESPACE} sysctl -qw net.ipv4.ip_forward=1",
        f"ip route add {POD_CIDR} via {NODE_IP} dev {LINK}",
    ):
        run(command.split())


def down() -> None:
    """Remove namespace and link, and the namespaces of pods whose runtime is gone; fine if there are none."""
    if Path("/sys/class/net", LINK).exists():
        run(["ip", "link", "del", LINK])
    for namespace in sorted(Path("/run/netns").glob("*")):
        if namespace.name == NAMESPACE or (namespace.name.startswith("cni-") and _is_empty(namespace.name)):
            _delete(namespace.name)


def left() -> list[str]:
    """The link and namespaces that are still there."""
    links = [f"link {LINK}"] if Path("/sys/class/net", LINK).exists() else []
    return links + [f"network namespace {NAMESPACE}" for file in Path("/run/netns").glob(NAMESPACE) if file.exists()]


def _is_empty(namespace: str) -> bool:
    # A pod's namespace is named by containerd, ours or another's; one without processes is nobody's any more.
    asked = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return not asked.stdout.strip()


def _delete(namespace: str) -> None:
    try:
        run(["ip", "netns", "del", namespace])
    except ClusterError:
        # A run killed between creating the file and mounting on it leaves a plain file.
        Path("/run/netns", namespace).unlink(missing_ok=True)
