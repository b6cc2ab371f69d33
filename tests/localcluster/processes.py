"""Programs: run one to its end, or start one that stays, with one pid file and one log file each.

What stays is found again in two ways: by its pid file, and, because a killed run loses pid files and containerd's
shims never had one, by its name together with our own state folder in its command line. Both are needed: a name
alone would hit somebody else's containerd, a folder alone the shell in which somebody follows a log.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from tests.localcluster.errors import ClusterError

OURS: Final = frozenset({
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"),
    *("containerd", "containerd-shim-runc-v2", "runc", "ctr"),
})  # fmt: skip
DIE_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "KILL")
SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian keeps runc, nft and ip, not always on PATH
GENTLY: Final = (signal.SIGTERM, signal.SIGKILL)
AT_ONCE: Final = (signal.SIGKILL,)
POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 5.0  # a control-plane program ends in well under one; then it is killed

Argument = str | Path


def run(
    command: Sequence[Argument],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    The program dies with us, even when we are killed: an interrupted build must not go on unseen.
    With `log`, its output goes there as it comes. Raises ClusterError with the end of the output.
    """
    arguments = [*DIE_WITH_PARENT, *map(str, command)]
    environment = _environment(env or {})
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+") if log else nullcontext(subprocess.PIPE) as output:
        done = subprocess.run(
            arguments,
            input=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if log else subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment,
            check=False,
        )
    if done.returncode != 0:
        complaint = log.read_text(errors="replace") if log else done.stderr or done.stdout
        where = f" (log: {log})" if log else ""
        shown = " ".join(arguments[len(DIE_WITH_PARENT) :][:6])
        raise ClusterError(f"`{shown} …` ended with {done.returncode}{where}:\n{_last_lines(complaint, 12)}")
    return done.stdout or ""


class Processes:
    """The programs of one cluster that stay: start, look, stop; by name, from any process."""

    def __init__(self, state: Path, *, die_with_parent: bool = False) -> None:
        """Keep pid files and logs under `state`; with `die_with_parent`, they end when the caller does."""
        self.state = state
        self._prefix = DIE_WITH_PARENT if die_with_parent else ()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.state / "logs" / f"{name}.log"

    def start(self, name: str, command: Sequence[Argument], *, namespace: str | None = None) -> None:
        """Start a program in its own session, inside a network namespace if one is named."""
        # nsenter, not `ip netns exec`: that one remounts /sys and so hides the cgroups.
        inside = ("nsenter", f"--net=/run/netns/{namespace}") if namespace else ()
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        self._pid_file(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("wb") as output:
            child = subprocess.Popen(
                [*self._prefix, *inside, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment({}),
                start_new_session=True,
            )
        self._children[name] = child
        self._pid_file(name).write_text(str(child.pid))
        # The kernel shows a command line a moment after exec; before that, `pid` would take it for somebody else's.
        while not _command_line(child.pid) and child.poll() is None:
            time.sleep(0.001)

    def pid(self, name: str) -> int | None:
        """The pid of a running program of this cluster, else None."""
        try:
            pid = int(self._pid_file(name).read_text())
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    def memory_mb(self, pid: int) -> int:
        """The resident memory of a running program, in MB."""
        resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return resident_pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000

    def names(self) -> list[str]:
        """The programs that were started here and not stopped, whether they still run or not."""
        return sorted(file.stem for file in (self.state / "pids").glob("*.pid"))

    def wait(self, name: str, condition: Callable[[], bool], what: str, timeout_seconds: float = 60) -> None:
        """Wait until `condition` holds while the program lives; raises ClusterError with the end of its log."""

        deadline = time.monotonic() + timeout_seconds
        while not condition():
            ended = self._has_ended(name)
            if ended or time.monotonic() > deadline:
                why = f"{name} ended" if ended else f"not within {timeout_seconds:.0f} s"
                tail = _last_lines(self.log(name).read_text(errors="replace"), 8)
                raise ClusterError(f"{what}: {why}; the end of {self.log(name)}:\n{tail}")
            time.sleep(POLL_SECONDS)

    def stop(self, names: Iterable[str], signals: Sequence[signal.Signals] = GENTLY) -> None:
        """Ask programs to end, and kill what did not within a few seconds; unknown names are fine."""
        wanted = [name for name in names if self._pid_file(name).exists()]
        end((pid for name in wanted if (pid := self.pid(name))), signals)
        for name in wanted:
            if child := self._children.pop(name, None):
                child.wait()
            self._pid_file(name).unlink(missing_ok=True)

    def stop_strays(self) -> None:
        """End every program of ours that names our state folder: shims, and what a killed run left."""
        end(pid for pid in all_pids() if self._is_ours(pid))

    def _pid_file(self, name: str) -> Path:
        return self.state / "pids" / f"{name}.pid"

    def _has_ended(self, name: str) -> bool:
        child = self._children.get(name)
        return child is not None and child.poll() is not None

    def _is_ours(self, pid: int) -> bool:
        command = _command_line(pid)
        return (
            bool(command)
            and any(Path(word).name in OURS for word in command[: len(DIE_WITH_PARENT) + 3])
            and any(f"{self.state}/" in word for word in command)
        )


def end(pids: Iterable[int], signals: Sequence[signal.Signals] = GENTLY) -> None:
    """Each signal, then a few seconds for all to go; a pid that is gone already is fine."""
    left = set(pids) - {os.getpid()}
    for number in signals:
        for pid in left:
            _signal(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := {pid for pid in left if is_alive(pid)}) and time.monotonic() < deadline:
            time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SBIN}", **extra}


def root_of(pid: int) -> Path:
    """The root folder a process lives in: not `/` for one in a container or a chroot."""
    try:
        return Path(f"/proc/{pid}/root").readlink()
    except OSError:
        return Path("/")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def all_pids() -> list[int]:
    """Every process of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _last_lines(text: str, count: int) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
