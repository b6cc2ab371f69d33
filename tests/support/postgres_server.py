"""A real PostgreSQL on a free loopback port, as an unprivileged user, since it refuses root."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

import psycopg

from tests.support.ports import free_port

USER: Final = "nobody"  # what it runs as where we are root
PASSWORD: Final = "secret"


def find_programs() -> Path:
    """The folder of Debian's newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: `make test-store` installs it")
    return found[-1].parent


class PostgresServer:
    """One server process with an empty database; safe on disk is nothing of it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not below a folder that only root may enter
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"user": USER, "group": "nogroup"} if os.geteuid() == 0 else {}

    def start(self) -> Self:
        """Start it and wait until it answers."""
        programs, data = find_programs(), self._folder / "data"
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if self._as:
            for path in (self._folder, password):
                shutil.chown(path, self._as["user"], self._as["group"])
        options = ["--username=postgres", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"]
        command = [str(programs / "initdb"), f"--pgdata={data}", "--locale=C", "--no-sync", *options]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._as)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with (self._folder / "log").open("wb") as log:
            command = [str(programs / "postgres"), "-D", str(data), *flags]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as)
        self._wait_until_ready(time.monotonic() + 30)
        return self

    def execute(self, *statements: str) -> None:
        """Run some SQL as the owner."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def stop(self) -> None:
        """End it, by its pid, and leave nothing behind."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast: it waits for nobody
            self._process.wait()
        shutil.rmtree(self._folder)

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.02)  # between two looks at the condition
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
