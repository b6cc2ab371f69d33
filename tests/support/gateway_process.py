"""The gateway as it runs in a pod: a process on a port."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.support.gateway_world import KEYS, TEAM, World
from tests.support.kubectl import wait_until
from tests.support.ports import free_port


class GatewayProcess:
    """The process."""

    def __init__(self, world: World, folder: Path, **settings: str) -> None:
        """`settings`: by their names in capitals."""
        self.port = free_port()
        self._log = folder / "gateway.log"
        told = {
            "STORE_URL": world.redis_url,
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(self.port),
            "DEFAULT_NAMESPACE": TEAM,
            "API_KEYS_SECRET": KEYS,
            "POD_NAMESPACE": "batchjob-system",
            "SUBMITS_PER_MINUTE": "10000",  # other tests of this minute submit too, and the store counts all of them
            "READS_PER_MINUTE": "10000",
            **settings,
        }
        environment = {f"BATCHJOB_{name}": value for name, value in told.items()}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("batchjob"), "gateway"],
                env=os.environ | environment | {"KUBECONFIG": str(world.kubeconfig)},
                stderr=log,
            )
        wait_until(self.is_ready, "the gateway to be ready", timeout=120)

    def is_ready(self) -> bool:
        """Whether it answers that it is."""
        assert self.process.poll() is None, self._log.read_text()
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/readyz", timeout=10).status_code == 200
        except httpx2.TransportError:
            return False

    def lines(self) -> list[dict[str, object]]:
        """What it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def say(self, text: str | bytes, *, and_go: bool = False) -> bytes:
        """Send bytes on a connection of their own, and read the beginning of the answer, unless we go away."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            try:
                connection.sendall(text.encode() if isinstance(text, str) else text)
                return b"" if and_go else connection.recv(65_536)
            except ConnectionError:
                return b""
