"""The node: kubelet and kube-proxy in the node's namespace, and the cluster's DNS beside it.

Most settings here exist because a machine of this kind (no systemd, cgroup v1, no CAP_SYS_RESOURCE) breaks the
usual ones; each says which.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from tests.localcluster import network, programs
from tests.localcluster.cgroups import NAME as CGROUP
from tests.localcluster.containerd import Containerd
from tests.localcluster.controlplane import SERVICE_CIDR
from tests.localcluster.credentials import CONTEXT, kubeconfig_of
from tests.localcluster.processes import Processes

NODE: Final = "n1"
STOP_ORDER: Final = ("coredns", "proxy", "kubelet")  # containerd goes after the pods' processes
DNS_DOMAIN: Final = "cluster.local"

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
        self.containerd = Containerd(state, processes)

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
            "containerRuntimeEndpoint": f"unix://{self.containerd.socket}",
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
