"""The real operator as a process of its own, beside a control plane without nodes and a real Redis."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.support.kubectl import wait_until
from tests.support.ports import free_port

STOP_SECONDS = 15
# kopf imports the kubernetes client where it finds one, which takes half a second. The operator's image has none.
AS_IN_THE_IMAGE = """
import sys
sys.modules["kubernetes"] = None
from batchjob.cli import main
main()
"""


class OperatorProcess:
    """`batchjob operator`; use it as a context manager, or `start` and `stop` it by hand."""

    def __init__(self, kubeconfig: Path, store_url: str, folder: Path, **settings: object) -> None:
        """`settings` are environment variables without their prefix, such as sweep_seconds=1."""
        self._folder = folder
        self._port = free_port()
        told = {
            "STORE_URL": store_url,
            "WORKER_IMAGE": "worker:test",
            "PROBE_HOST": "127.0.0.1",
            "PROBE_PORT": self._port,
            "POD_NAME": "operator",
            "LEASE_RETRY_SECONDS": 0.2,
            "PROGRESS_SECONDS": 0.5,
            "SWEEP_SECONDS": 1,
            "USERS_SECONDS": 0.5,
            **{name.upper(): value for name, value in settings.items()},
        }
        self._environment = {
            **os.environ,
            **{f"BATCHJOB_{name}": str(value) for name, value in told.items()},
            "KUBECONFIG": str(kubeconfig),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """Where it logs, all starts in one file."""
        return self._folder / f"operator-{self._port}.log"

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-c", AS_IN_THE_IMAGE, "operator"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stderr=log, stdout=log)
        wait_until(self._is_ready, f"the operator to be ready; see {self.log_file}", every=0.05)
        return self

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def send(self, number: signal.Signals) -> None:
        """A signal, such as SIGSTOP."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        code = self.stop()
        assert code == 0, f"the operator ended with {code}; see {self.log_file}"

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels; 0 where there is none."""
        text = self._get("/metrics").decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def writes(self) -> float:
        """Requests to the API server that change something; those of the Lease too."""
        verbs = ("create", "patch", "delete")
        return sum(self.metric("batchjob_api_requests_total", verb=verb) for verb in verbs)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() not in {None, -signal.SIGKILL}:
            raise AssertionError(f"the operator ended:\n{self.log_file.read_text()[-3000:]}")
        try:
            return self._get("/readyz") == b"ok"
        except OSError:
            return False

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
            found: bytes = answer.read()
            return found
