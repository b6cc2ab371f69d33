"""kubectl as a user types it, for tests and the demo: every call names its kubeconfig and its namespace."""

import contextlib
import json
import re
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

POLL_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 180  # a pod, two back-offs of the Job controller and some work, on two busy cores
Answer = TypeVar("Answer")


class KubectlError(Exception):
    """kubectl ended with another code than 0; the text is what it wrote."""


class Kubectl:
    """kubectl on one cluster and in one namespace."""

    def __init__(self, binary: Path, kubeconfig: Path, namespace: str = "default") -> None:
        """Bind the binary to a kubeconfig and a namespace."""
        self._command = [str(binary), "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        self._binary = binary
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        """The same cluster, another namespace."""
        return Kubectl(self._binary, self.kubeconfig, namespace)

    def command(self, *arguments: str) -> list[str]:
        """How kubectl is called with these."""
        return [*self._command, *arguments]

    def __call__(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run it and return its standard output; KubectlError with its words where it fails."""
        done = subprocess.run(
            [*self._command, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    @contextlib.contextmanager
    def running(self, *arguments: str, output: Path) -> Iterator[None]:
        """A command that goes on for ever, such as a watch; what it says goes into a file."""
        with output.open("w") as file, subprocess.Popen([*self._command, *arguments], stdout=file) as process:
            try:
                yield
            finally:
                process.terminate()

    def apply(self, *documents: dict[str, Any]) -> str:
        """`kubectl apply` of objects."""
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get -o json`; for a list, the list object."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        found: list[dict[str, Any]] = self.get(*arguments)["items"]
        return found

    def exists(self, kind: str, name: str) -> bool:
        """Whether the object is there."""
        return bool(self("get", kind, name, "--ignore-not-found", "-o", "name").strip())

    def ensure_namespace(self, *, labels: dict[str, str] | None = None) -> None:
        """Create the namespace if it is absent."""
        metadata = {"name": self.namespace, "labels": labels or {}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    @contextlib.contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[int]:
        """Forward a free local port to `port` of `target` (such as service/neighbours); yields the local port."""
        command = [*self._command, "port-forward", "--address", "127.0.0.1", target]
        with subprocess.Popen([*command, f":{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as first:
            local = _forwarded_port(first, target)
            closing = threading.Event()
            again = [*command, f"{local}:{port}"]
            keeper = threading.Thread(target=_keep_forwarding, args=(first, again, closing), daemon=True)
            keeper.start()
            try:
                yield local
            finally:
                closing.set()
                first.terminate()
                keeper.join(10)


def _keep_forwarding(process: "subprocess.Popen[bytes]", again: list[str], closing: threading.Event) -> None:
    """Drain what kubectl says of each connection, and start it again where it ends: it gives up on a lost one."""
    while process.poll() is None and process.stdout and process.stdout.readline():
        pass
    while not closing.wait(0.2):
        with subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as next_one:
            while next_one.poll() is None and not closing.wait(0.1):
                pass
            next_one.terminate()


def _forwarded_port(process: "subprocess.Popen[bytes]", target: str, timeout: float = 30) -> int:
    output = process.stdout
    if output is None:
        raise KubectlError("port-forward has no output")
    ready, _, _ = select.select([output], [], [], timeout)
    line = output.readline().decode() if ready else ""
    found = re.search(r"127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise KubectlError(f"port-forward to {target} said {line!r}")
    return int(found.group(1))


def wait_until(
    probe: Callable[[], Answer],
    what: str,
    *,
    timeout: float = PATIENCE_SECONDS,
    until: Callable[[Answer], bool] = bool,
    every: float = POLL_SECONDS,
) -> Answer:
    """Ask `probe` until its answer holds; TimeoutError names what was waited for and the last answer."""
    deadline = time.monotonic() + timeout
    while not until(answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {answer!r}")
        time.sleep(every)
    return answer


def names(objects: Sequence[dict[str, Any]]) -> list[str]:
    """The names of objects."""
    return [item["metadata"]["name"] for item in objects]
