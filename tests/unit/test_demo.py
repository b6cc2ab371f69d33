"""The demo leaves the admin UI open, and `make demo-down` closes it."""

import os
from pathlib import Path

import pytest

from tests.demo.admin_ui import close_admin_ui, open_admin_ui
from tests.support.kubectl import Kubectl, wait_until

KUBECTL = """#!/bin/sh
echo "Forwarding from 127.0.0.1:4711 -> 8080"
exec sleep 600 port-forward
"""


def lives(pid: int) -> bool:
    try:
        return b"Z (zombie)" not in Path(f"/proc/{pid}/status").read_bytes()
    except FileNotFoundError:
        return False


def test_the_admin_ui_stays_open_until_it_is_closed(tmp_path: Path) -> None:
    program, state = tmp_path / "kubectl", tmp_path / "state"
    program.write_text(KUBECTL.replace("sleep 600 port-forward", f"{tmp_path}/port-forward 600"))
    program.chmod(0o755)
    (tmp_path / "port-forward").symlink_to("/bin/sleep")
    assert open_admin_ui(Kubectl(program, tmp_path), "gateway", state) == "http://localhost:4711/admin/queues"
    first = int((state / "port-forward.pid").read_text())
    assert lives(first)
    open_admin_ui(Kubectl(program, tmp_path), "gateway", state)
    wait_until(lambda: not lives(first), "the first one to end")
    second = int((state / "port-forward.pid").read_text())
    (state / "port-forward.pid").write_text(str(os.getpid()))
    close_admin_ui(state)  # what has the number now is somebody else's
    (state / "port-forward.pid").write_text(str(second))
    close_admin_ui(state)
    wait_until(lambda: not lives(second), "the second one to end")
    with pytest.raises(FileNotFoundError):
        (state / "port-forward.pid").read_text()
    close_admin_ui(state)
