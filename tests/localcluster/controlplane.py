"""A control plane: etcd, API server, controller manager and, for a cluster with nodes, the scheduler.

Alone it is the API that tests drive without pods: loopback, ports of its own, a state folder of its own, up in
some four seconds, any number beside each other and beside the full cluster. The full cluster uses the same class on
the node's link. Started as a context manager it dies with the process (strictly: the thread) that started it.
"""

import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.localcluster import programs
from tests.localcluster.credentials import ADMIN, COMPONENTS, PEOPLE, User, issue, kubeconfig_of
from tests.localcluster.processes import AT_ONCE, Processes
from tests.localcluster.progress import step
from tests.support.ports import free_port

STOP_ORDER = ("scheduler", "controller-manager", "apiserver", "etcd")  # writers first, what they write to last
SERVICE_CIDR = "10.96.0.0/16"


class ControlPlane:
    """One control plane in `state_dir`, serving on https://host:port (a free port when none is given)."""

    def __init__(
        self,
        state_dir: Path,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        apiserver_arguments: Sequence[str] = (),
        controller_manager_arguments: Sequence[str] = (),
        users: Sequence[User] = (),
        processes: Processes | None = None,
    ) -> None:
        """Nothing is started yet. `users` come on top of admin, alice and bob."""
        self.state = state_dir
        self.host = host
        self.port = port or free_port(host)
        self.processes = processes or Processes(state_dir, die_with_parent=True)
        self._apiserver_arguments = apiserver_arguments
        self._controller_manager_arguments = controller_manager_arguments
        self._users = (*PEOPLE, *COMPONENTS, *users)
        self._admin_token = ""

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return kubeconfig_of(self.state, ADMIN.kubeconfig)

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of admin, alice or bob."""
        return kubeconfig_of(self.state, user)

    def __enter__(self) -> Self:
        """Start on an empty store, whatever an earlier run left in the state folder."""
        self.processes.stop_strays()
        shutil.rmtree(self.state, ignore_errors=True)
        try:
            self.start_api()
            self.start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; the state folder stays, with the logs."""
        self.stop()

    def start_api(self) -> None:
        """Start etcd and the API server, and wait until it is ready."""
        bin_folder = programs.built(programs.KUBERNETES)
        with step(f"API server on {self.server}"):
            self._admin_token = issue(self.state, self.server, self._users)[ADMIN]
            etcd = self._start_etcd(bin_folder)
            self._start_apiserver(bin_folder, etcd)
            self.processes.wait("apiserver", self.is_ready, "the API server is ready")

    def start_controllers(self, *, scheduler: bool = False) -> None:
        """Start the controller manager, and the scheduler if there are nodes to schedule to."""
        bin_folder = programs.built(programs.KUBERNETES)
        self.processes.start(
            "controller-manager",
            [
                bin_folder / "kube-controller-manager",
                *self._client_arguments("controller-manager"),
                f"--service-account-private-key-file={self.state}/service-accounts.key",
                f"--root-ca-file={self.state}/pki/apiserver.crt",
                "--use-service-account-credentials",
                *self._controller_manager_arguments,
            ],
        )
        if scheduler:
            program = bin_folder / "kube-scheduler"
            self.processes.start("scheduler", [program, *self._client_arguments("scheduler")])

    def stop(self) -> None:
        """Stop all of it; safe whatever runs."""
        for name in STOP_ORDER:
            self.processes.stop([name], AT_ONCE)  # what they know is thrown away with them

    def is_ready(self) -> bool:
        """Whether the API server answers /readyz with ok."""
        request = urllib.request.Request(
            f"{self.server}/readyz", headers={"Authorization": f"Bearer {self._admin_token}"}
        )
        try:
            trust = ssl.create_default_context(cafile=str(self.state / "pki" / "apiserver.crt"))
            with urllib.request.urlopen(request, timeout=2, context=trust) as answer:
                return bool(answer.read() == b"ok")
        except (OSError, urllib.error.URLError):
            return False  # not listening yet, no certificate yet, or still starting its hooks

    def _start_etcd(self, bin_folder: Path) -> str:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.processes.start(
            "etcd",
            [
                bin_folder / "etcd",
                f"--data-dir={self.state}/etcd",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # no test pulls the plug of the machine under etcd
            ],
        )
        return client

    def _start_apiserver(self, bin_folder: Path, etcd: str) -> None:
        key = self.state / "service-accounts.key"
        self.processes.start(
            "apiserver",
            [
                bin_folder / "kube-apiserver",
                f"--etcd-servers={etcd}",
                f"--bind-address={self.host}",
                *self._advertise(),
                f"--secure-port={self.port}",
                f"--cert-dir={self.state}/pki",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                f"--token-auth-file={self.state}/tokens.csv",
                "--authorization-mode=Node,RBAC",
                f"--service-cluster-ip-range={SERVICE_CIDR}",
                "--allow-privileged=true",
                # As OpenShift has it: who names an owner that its child keeps from going needs a right on the owner.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                *self._apiserver_arguments,
            ],
        )

    def _advertise(self) -> list[str]:
        if self.host.startswith("127."):
            # Kubernetes refuses to publish a loopback address to pods. There are none: publish nothing, and name
            # an address of the documentation range lest it take the machine's own.
            return ["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"]
        return [f"--advertise-address={self.host}"]

    def _client_arguments(self, user: str) -> list[str]:
        kubeconfig = self.kubeconfig_of(user)
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",  # there is no second one
            "--secure-port=0",  # nobody asks it anything
        ]
