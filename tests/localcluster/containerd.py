"""containerd: the node's container runtime, and the images it keeps.

Its content outlives the cluster in the cache, because taking in the images anew would cost more than the whole start
of the cluster. The containers of an earlier life must not: they are removed before the Kubernetes part of containerd
(the CRI plugin) gets to see them, whatever way that life ended. Content that makes trouble is thrown away and loaded
again.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from tests.localcluster import images, mounts, network
from tests.localcluster.archives import write_merged
from tests.localcluster.errors import ClusterError
from tests.localcluster.places import cache_folder
from tests.localcluster.processes import DIE_WITH_PARENT, Processes, run
from tests.localcluster.progress import say, step

CONFIG: Final = """\
version = 2
root = "{root}"
state = "{state}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  {more_disabled}
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
CRI: Final = "io.containerd.grpc.v1.cri"


class Containerd:
    """The runtime of the one node."""

    def __init__(self, state: Path, processes: Processes) -> None:
        """Nothing is started yet."""
        self.state = state
        self.processes = processes
        self.socket = state / "containerd.sock"
        self._kept = cache_folder() / "containerd"

    def start(self) -> None:
        """Start containerd with its images and without containers, and wait until it answers."""
        (self.state / "cni").mkdir(exist_ok=True)
        (self.state / "cni" / "10-bridge.conflist").write_text(json.dumps(self._cni()))
        if self._root.exists():
            try:
                self._remove_containers()
            except ClusterError as error:
                say(f"the kept images are of no use and are loaded again: {error}")
                self.processes.stop(["containerd"])
                mounts.wipe(self._kept)
        self._launch()

    def image_names(self) -> set[str]:
        """The names of the images that are in."""
        names = self._ctr("images", "list", "--quiet").split()
        return {name for name in names if not name.startswith("sha256:")}

    def load(self, wanted: Mapping[images.Image, images.Built]) -> None:
        """Load the images that are not in, or not in just this form."""
        here = self.image_names()
        missing = {
            image: built
            for image, built in wanted.items()
            if image.name not in here or self._loaded_id(image) != built.image_id
        }
        if not missing:
            return
        with step(f"loading {', '.join(image.short_name for image in missing)}"):
            self._import([Path(built.archive) for built in missing.values()])
        for image, built in missing.items():
            self._note(image).parent.mkdir(exist_ok=True)
            self._note(image).write_text(built.image_id)

    def pin(self, name: str) -> None:
        """Keep the kubelet from ever collecting an image."""
        self._ctr("images", "label", name, "io.cri-containerd.pinned=pinned")

    @property
    def _root(self) -> Path:
        return self._kept / "root"

    def _note(self, image: images.Image) -> Path:
        return self._kept / "loaded" / image.file_name

    def _loaded_id(self, image: images.Image) -> str:
        return self._note(image).read_text() if self._note(image).exists() else ""

    def _launch(self, *, disabled: str = "") -> None:
        config = self.state / "containerd.toml"
        more = f'"{disabled}",' if disabled else ""
        config.write_text(CONFIG.format(root=self._root, state=self.state, pause=images.PAUSE, more_disabled=more))
        self.socket.unlink(missing_ok=True)
        self.processes.start("containerd", ["containerd", "--config", config], namespace=network.NAMESPACE)
        self.processes.wait("containerd", self.socket.exists, "containerd answers")
        self._ctr("version")

    def _remove_containers(self) -> None:
        self._launch(disabled=CRI)
        if containers := self._ctr("containers", "list", "--quiet").split():
            self._ctr("containers", "rm", *containers)
        self.processes.stop(["containerd"])
        mounts.wipe(self._root / CRI)  # its own notes on them

    def _import(self, archives: Sequence[Path]) -> None:
        log = self.processes.log("import")
        command = [*DIE_WITH_PARENT, *self._client(), "images", "import", "-"]
        with log.open("wb") as output, suppress(BrokenPipeError):  # if ctr ends early, its code says so
            importing = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
            with importing:
                write_merged(archives, cast("IO[bytes]", importing.stdin))
        if importing.returncode != 0:
            raise ClusterError(f"containerd refused the images: {log.read_text(errors='replace').strip()}")

    def _ctr(self, *arguments: str) -> str:
        return run([*self._client(), *arguments])

    def _client(self) -> list[str]:
        return ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]  # the kubelet's namespace

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
