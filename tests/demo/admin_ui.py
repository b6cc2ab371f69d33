"""The admin UI on this machine for as long as the release is there: a port-forward that outlives the demo."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Final

from tests.support.kubectl import Kubectl, wait_until

STATE: Final = Path(".state/demo")
DETACHED: Final = ("setsid", "--fork", "sh", "-c", 'echo $$ > "$0"; exec "$@"')  # Ctrl-C ends the demo, and not this
FORWARDS: Final = re.compile(r"127\.0\.0\.1:(\d+) ->")  # as kubectl says it


def open_admin_ui(system: Kubectl, service: str, state: Path = STATE) -> str:
    """Forward a free port to the gateway, in the place of an earlier demo's; returns the address of the first page."""
    close_admin_ui(state)
    state.mkdir(parents=True, exist_ok=True)
    said = state / "port-forward.log"
    forward = system.command("port-forward", "--address", "127.0.0.1", f"service/{service}", ":80")
    command = [*DETACHED, str(_pid_file(state)), *forward]
    with said.open("wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=True)
    found = wait_until(lambda: FORWARDS.search(said.read_text()), "the port-forward to the gateway")
    return f"http://localhost:{found[1] if found else ''}/admin/queues"  # by name: cookies need no TLS then


def close_admin_ui(state: Path = STATE) -> None:
    """End it, if it runs."""
    file = _pid_file(state)
    try:
        pid = int(file.read_text())
        is_ours = b"port-forward" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if is_ours:
        os.kill(pid, signal.SIGTERM)
    file.unlink()


def _pid_file(state: Path) -> Path:
    return state / "port-forward.pid"
