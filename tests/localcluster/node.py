"""The node: containerd, kubelet and kube-proxy in the node's namespace, and the cluster's DNS beside it.

Most settings here exist because a machine of this kind (no systemd, cgroup v1, no CAP_SYS_RESOURCE) breaks the
usual ones; each says which.
"""

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import yaml

from tests.localcluster import network, programs
from tests.localcluster.archives import write_merged
from tests.localcluster.cgroups import NAME as CGROUP
from tests.localcluster.controlplane import SERVICE_CIDR
from tests.localcluster.credentials import CONTEXT, kubeconfig_of
from tests.localcluster.errors import ClusterError
from tests.localcluster.processes import DIE_WITH_PARENT, Processes, run

NODE: Final = "n1"
PAUSE_IMAGE: Final = "batchjob.local/pause:dev"
STOP_ORDER: Final = ("coredns", "proxy", "kubelet")  # containerd goes after the pods' processes
DNS_DOMAIN: Final = "cluster.local"

CONTAINERD: Final = """\
version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{state}/containerd.sock"
[ttrpc]
  address = "{state}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  disable_tcp_service = true
  # Without CAP_SYS_RESOURCE no process may lower its score, and every sandbox would die with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "runc"  # by name: where crun is installed too, it fails on hybrid cgroups
"""

COREFILE: Final = """\
.:53 {{
  bind {address}
  errors
  cache 5
  loadbalance
  kubernetes {domain} {services} {pods} {{
    kubeconfig {kubeconfig} {context}
  }}
}}
"""


class Node:
    """The one node; the methods are steps that a cluster calls in its order."""

    def __init__(self, state: Path, processes: Processes) -> None:
        """Nothing is started yet."""
        self.state = state
        self.processes = processes
        self.socket = state / "containerd.sock"

    def start_containerd(self) -> None:
        """Start containerd and wait until it answers."""
        config = self.state / "containerd.toml"
        config.write_text(CONTAINERD.format(state=self.state, pause=PAUSE_IMAGE))
        (self.state / "cni").mkdir(exist_ok=True)
        (self.state / "cni" / "10-bridge.conflist").write_text(json.dumps(self._cni()))
        self.processes.start("containerd", ["containerd", "--config", config], namespace=network.NAMESPACE)
        self.processes.wait("containerd", self.socket.exists, "containerd answers")
        self.ctr("version")

    def ctr(self, *arguments: str | Path) -> str:
        """Run containerd's own client in the kubelet's namespace."""
        return run(["ctr", "--address", self.socket, "--namespace", "k8s.io", *arguments])

    def import_images(self, archives: Sequence[Path]) -> None:
        """Load docker archives; the names inside them become the images'."""
        log = self.processes.log("import")
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", "images", "import", "-"]
        with log.open("wb") as output, suppress(BrokenPipeError):
            ctr = subprocess.Popen(
                [*DIE_WITH_PARENT, *command], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )
            with ctr:
                write_merged(archives, cast("IO[bytes]", ctr.stdin))
        if ctr.returncode != 0:
            raise ClusterError(f"containerd refused the images: {log.read_text(errors='replace').strip()}")

    def images(self) -> set[str]:
        """The names of the images that are in."""
        return {name for name in self.ctr("images", "list", "--quiet").split() if not name.startswith("sha256:")}

    def start_kubelet(self) -> None:
        """Start kubelet and kube-proxy; the node registers itself and becomes ready a little later."""
        kubernetes = programs.built(programs.KUBERNETES)
        (self.state / "resolv.conf").write_text("")  # nothing of the machine's resolver for pods
        kubelet = self._write_yaml("kubelet.yaml", self._kubelet())
        arguments = [
            f"--config={kubelet}",
            f"--kubeconfig={kubeconfig_of(self.state, 'node')}",
            f"--hostname-override={NODE}",
            f"--node-ip={network.NODE_IP}",
            f"--root-dir={self.state}/kubelet",
            f"--cert-dir={self.state}/kubelet/pki",
        ]
        self.processes.start("kubelet", [kubernetes / "kubelet", *arguments], namespace=network.NAMESPACE)
        proxy = self._write_yaml("proxy.yaml", self._proxy())
        self.processes.start("proxy", [kubernetes / "kube-proxy", f"--config={proxy}"], namespace=network.NAMESPACE)

    def start_dns(self) -> None:
        """Start the cluster's DNS on the machine's end of the link."""
        corefile = self.state / "Corefile"
        text = COREFILE.format(
            address=network.HOST_IP,
            domain=DNS_DOMAIN,
            services=SERVICE_CIDR,
            pods=network.CLUSTER_CIDR,
            kubeconfig=kubeconfig_of(self.state, "dns"),
            context=CONTEXT,
        )
        corefile.write_text(text)
        self.processes.start("coredns", [programs.built(programs.COREDNS) / "coredns", "-conf", corefile])

    def _write_yaml(self, name: str, content: dict[str, Any]) -> Path:
        file = self.state / name
        file.write_text(yaml.safe_dump(content))
        return file

    def _cni(self) -> dict[str, Any]:
        return {
            "cniVersion": "0.4.0",
            "name": "batchjob",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "isDefaultGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": f"{self.state}/cni-addresses",
                        "ranges": [[{"subnet": network.POD_CIDR}]],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            ],
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE_IP,
            "healthzBindAddress": "127.0.0.1",
            "readOnlyPort": 0,
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",  # there is no systemd to ask
            "cgroupRoot": f"/{CGROUP}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": ["pods"],
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{self.state}/kubelet-ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDomain": DNS_DOMAIN,
            "clusterDNS": [network.HOST_IP],
            "resolvConf": f"{self.state}/resolv.conf",
            "maxOpenFiles": 20000,  # the usual million is above what these processes may ask for
            "oomScoreAdj": 0,  # the usual -999 needs CAP_SYS_RESOURCE
            "imageGCHighThresholdPercent": 100,  # no registry would give a removed image back
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "nodefs.available": "1%",  # a share of the machine's whole disk, of which others use most
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "memory.available": "100Mi",
            },
            "podLogsDir": f"{self.state}/pod-logs",
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": network.POD_CIDR,
            "clientConnection": {"kubeconfig": str(kubeconfig_of(self.state, "proxy"))},
            "conntrack": {"maxPerCore": 0, "min": 0},  # the limit is the machine's, not a namespace's, to set
            "hostnameOverride": NODE,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
        }
