"""The local provider: a real one-node Kubernetes on this machine, without Docker and without a registry.

`up` is a list of steps. What can overlap does: the runtime starts and takes in images while the API server starts.
It begins with the clean-up of whatever was left, unless the cluster answers healthy and is of the present pins.
"""

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.localcluster import cgroups, cleanup, credentials, images, network, programs, rbac, volumes
from tests.localcluster.controlplane import STOP_ORDER, ControlPlane
from tests.localcluster.debian import install_packages, require_linux_root
from tests.localcluster.errors import ClusterError
from tests.localcluster.locking import locked
from tests.localcluster.node import NODE, Node
from tests.localcluster.places import state_folder
from tests.localcluster.processes import Processes
from tests.localcluster.progress import say, step
from tests.localcluster.providers import Status
from tests.localcluster.tools import call_kubectl

API_PORT: Final = 6443
MODULES: Final = (programs.KUBERNETES, programs.COREDNS, programs.PAUSE)
PROGRAMS: Final = (*STOP_ORDER, "containerd", "kubelet", "proxy", "coredns")


class LocalProvider:
    """The machine's one local cluster."""

    name = "local"

    def __init__(self) -> None:
        """Bind to the state folder; the cluster may run already, or not."""
        self.state = state_folder()
        self.processes = Processes(self.state)
        self.node = Node(self.state, self.processes)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of(credentials.ADMIN.kubeconfig)

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of admin, alice or bob."""
        return credentials.kubeconfig_of(self.state, user)

    def prepare(self) -> None:
        """Build what is missing, programs and images side by side: one waits for the network, the other computes."""
        require_linux_root()
        with locked(self.state):
            install_packages()
            programs.go()  # once, before all ask for it
            with ThreadPoolExecutor(len(MODULES) + 1) as beside:
                built = beside.submit(self._build_images, images.PRODUCT)
                list(beside.map(programs.built, MODULES))
                built.result()

    def up(self) -> None:
        """Bring the cluster up, with the images that were built from the present content."""
        require_linux_root()
        with locked(self.state):
            if self._is_current() and not self._ailments():
                say("the cluster is up and healthy")
            else:
                self._prepare()
                self._start()
            self._load_current()
            self._recycle()
        say(f"kubeconfig: {self.kubeconfig}; logs: {self.state / 'logs'}")

    def down(self) -> None:
        """Take everything down; what could not be removed is said, and is no error."""
        require_linux_root()
        with locked(self.state), step("taking the cluster down"):
            complaints = cleanup.clear(self.state)
        for complaint in complaints:
            say(f"left behind: {complaint}")

    def status(self) -> Status:
        """Each program with its pid and memory, what ails, and the images that are in."""
        ailments = self._ailments()
        lines = [self._program_line(name) for name in PROGRAMS]
        lines += ailments or [f"{NODE:<20} Ready"]
        if self.processes.pid("containerd"):
            lines += [f"{'image':<20} {name}" for name in sorted(self.node.containerd.image_names())]
        return Status(not ailments, lines)

    def load_images(self, names: Sequence[str] = ()) -> None:
        """Build the product's images and load those that the node does not have."""
        self.load(images.named(names))

    def load(self, chosen: Sequence[images.Image]) -> None:
        """Build these images and load those that the node does not have."""
        require_linux_root()
        with locked(self.state):
            install_packages()
            built = self._build_images(chosen)
            if not self.processes.pid("containerd"):
                raise ClusterError("The images are built, but there is no cluster to load them into: run `up`.")
            self.node.containerd.load(built)

    def recycle_volumes(self) -> list[str]:
        """Wipe volumes whose claim is gone and offer them again."""
        with locked(self.state):
            return self._recycle()

    def _build_images(self, wanted: Sequence[images.Image]) -> dict[images.Image, images.Built]:
        """In order: one is made from another, and buildah's store is one."""
        return {image: images.build(image) for image in wanted}

    def _prepare(self) -> None:
        install_packages()
        for module in MODULES:
            programs.built(module)
        with step("clearing what an earlier run left"):
            if complaints := cleanup.clear(self.state):
                raise ClusterError(f"An earlier run left what cannot be removed: {'; '.join(complaints)}")
        images.build(images.pause())

    def _start(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        with step("network namespace, cgroups and volumes"):
            network.up()
            cgroups.up()
            volumes.make_folders(self.state)
        credentials.issue_kubelet_client(self.state)
        with ThreadPoolExecutor(1) as beside:
            runtime = beside.submit(self._start_runtime)
            loading = beside.submit(self._load_current, runtime)
            self._start_control_plane()
            runtime.result()
            self._start_node()
            loading.result()
        self._stamp_file().write_text(self._stamp())

    def _start_node(self) -> None:
        with step(f"node {NODE} is ready"):
            self.node.start_kubelet()
            self.node.start_dns()
            self.processes.wait("kubelet", lambda: not self._ailments(), f"node {NODE} is ready")
            self.processes.wait("controller-manager", self._accepts_pods, "pods are accepted")

    def _start_runtime(self) -> None:
        with step("container runtime"):
            self.node.containerd.start()
            pause = images.pause()
            self.node.containerd.load({pause: images.build(pause)})
            self.node.containerd.pin(pause.name)

    def _start_control_plane(self) -> None:
        control_plane = ControlPlane(
            self.state,
            network.HOST_IP,
            API_PORT,
            apiserver_arguments=(
                "--kubelet-preferred-address-types=InternalIP",
                f"--kubelet-client-certificate={self.state}/kubelet-client.crt",
                f"--kubelet-client-key={self.state}/kubelet-client.key",
            ),
            users=[credentials.node_user(NODE)],
            processes=self.processes,
        )
        control_plane.start_api()
        control_plane.start_controllers(scheduler=True)
        objects = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [*rbac.manifests(), *volumes.manifests(self.state)],
        }
        self._kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(objects))

    def _load_current(self, runtime: Future[None] | None = None) -> None:
        """Load what was built from the present content; after `runtime` is up, if that is still starting."""
        if runtime:
            runtime.result()
        self.node.containerd.load({image: built for image in images.PRODUCT if (built := images.current(image))})

    def _recycle(self) -> list[str]:
        recycled = volumes.recycle(self.kubeconfig, self.state)
        if recycled:
            say(f"volumes wiped and offered again: {', '.join(recycled)}")
        return recycled

    def _ailments(self) -> list[str]:
        """What keeps the cluster from being healthy, a line each."""
        if dead := [name for name in PROGRAMS if self.processes.pid(name) is None]:
            return [f"{name:<20} does not run" for name in dead]
        try:
            condition = '{.status.conditions[?(@.type=="Ready")].status}'
            ready = self._kubectl("get", "node", NODE, f"--output=jsonpath={condition}", "--request-timeout=5s")
        except ClusterError as error:
            return [f"{'API server':<20} {error}"]
        return [] if ready == "True" else [f"{NODE:<20} not Ready"]

    def _accepts_pods(self) -> bool:
        """Whether the controller manager has made the account that pods run under by default."""
        return bool(self._kubectl("get", "serviceaccount", "default", "--ignore-not-found", "--output=name"))

    def _is_current(self) -> bool:
        return self._stamp_file().exists() and self._stamp_file().read_text() == self._stamp()

    def _stamp(self) -> str:
        return " ".join(programs.folder_of(module).name for module in MODULES)

    def _stamp_file(self) -> Path:
        return self.state / "programs"

    def _program_line(self, name: str) -> str:
        pid = self.processes.pid(name)
        return f"{name:<20} " + (f"pid {pid:<8} {self.processes.memory_mb(pid):>5} MB" if pid else "-")

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return call_kubectl(self.kubeconfig, *arguments, stdin=stdin)
