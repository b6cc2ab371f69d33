"""A Ctrl-C: what was begun is cleared away, nobody reads a traceback, and it never waits for an input."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchjob.cli.exits import INTERRUPTED
from batchjob.cli.interrupts import EXIT_INTERRUPTED

# The command as it is installed, but for the gateway: the first result comes, and then nothing more.
RESULTS = """
async def ask(place, gateway, doing):
    class Client:
        async def results(self, job):
            yield SimpleNamespace(id="a", result="x" * 100_000)
            print("begun", flush=True)
            await asyncio.sleep(3600)

    await doing(SimpleNamespace(namespace="team"), Client())
"""
# Items are read in a thread, which no Ctrl-C can end.
INPUT = """
async def ask(place, gateway, doing):
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
"""
STUCK = """
async def ask(place, gateway, doing):
    try:
        print("begun", flush=True)
        await asyncio.sleep(3600)
    finally:
        print("clearing away", flush=True)
        await asyncio.sleep(3600)
"""
SCRIPT = """
import asyncio, sys
from types import SimpleNamespace
from batchjob.cli import gateway, main
{ask}
gateway.ask = ask
main()
"""


@contextmanager
def downloading(ask: str, file: Path) -> Iterator[subprocess.Popen[str]]:
    """`batchjob results download`, once it has begun."""
    command = [sys.executable, "-c", SCRIPT.format(ask=ask), "results", "download", "a", "--to", str(file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said, though nobody closes its standard input."""
    code = process.wait(timeout=30)
    assert process.stderr
    return code, process.stderr.read()


@pytest.mark.parametrize("ask", [RESULTS, INPUT])
def test_a_ctrl_c_leaves_no_file_and_no_traceback(ask: str, tmp_path: Path) -> None:
    with downloading(ask, tmp_path / "out.jsonl") as process:
        assert ask == INPUT or (tmp_path / "out.jsonl.part").exists()
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_a_second_ctrl_c_does_not_wait_for_what_is_cleared_away(tmp_path: Path) -> None:
    with downloading(STUCK, tmp_path / "out.jsonl") as process:
        assert process.stdout
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "clearing away\n"
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "")


def test_the_exit_code_of_a_ctrl_c_is_one() -> None:
    assert EXIT_INTERRUPTED == INTERRUPTED


def test_to_hear_a_ctrl_c_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['batchjob', '--help']; from batchjob.cli import main\n"
    code += "try: main()\nfinally: print('asyncio' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
