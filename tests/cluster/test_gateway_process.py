"""The gateway as it runs in a pod: a process on a port, stopped by SIGTERM, that nothing sent to it brings down."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.gateway_world import TEAM, World, bearer
from tests.support.kubectl import wait_until

JOBS: Final = "/api/v1/batch-jobs"
HEAD: Final = "POST /api/v1/batch-jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def gateway(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    yield from running(world, tmp_path_factory.mktemp("gateway"))


@pytest.fixture
def own_gateway(world: World, tmp_path: Path) -> Iterator[GatewayProcess]:
    """One of this test alone, to be stopped."""
    yield from running(world, tmp_path)


def running(world: World, folder: Path) -> Iterator[GatewayProcess]:
    started = GatewayProcess(world, folder)
    yield started
    started.process.kill()
    started.process.wait()


def chunked(key: str, chunks: int) -> bytes:
    head = f"{HEAD}{key}Transfer-Encoding: chunked\r\n\r\n"
    return head.encode() + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * chunks + b"0\r\n\r\n"


def test_nonsense_on_the_wire_is_refused_and_the_process_lives(gateway: GatewayProcess) -> None:
    key = f"Authorization: {bearer('alice')['Authorization']}\r\n"
    assert b" 413 " in gateway.say(chunked(key, 9)).partition(b"\r\n")[0]
    assert b" 413 " in gateway.say(f"{HEAD}{key}Content-Length: 999999999\r\n\r\n").partition(b"\r\n")[0]
    assert b" 401 " in gateway.say(chunked("", 1)).partition(b"\r\n")[0]
    assert b" 400 " in gateway.say("NONSENSE\r\n\r\n").partition(b"\r\n")[0]
    assert b" 400 " in gateway.say(f"{HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}").partition(b"\r\n")[0]
    gateway.say("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + "x" * 200_000 + "\r\n\r\n")
    gateway.say(f"{HEAD}{key}Content-Length: 100\r\n\r\n{{", and_go=True)
    assert gateway.is_ready()


def test_each_request_is_a_line_of_json_that_tells_no_secret(gateway: GatewayProcess) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{gateway.port}") as client:
        answer = client.get(f"{JOBS}/{TEAM}.none?token=hunter2", headers={**bearer("alice"), "X-Request-Id": "mine-1"})
        assert answer.status_code == 404
        assert "server" not in answer.headers
    [line] = wait_until(
        lambda: [one for one in gateway.lines() if one.get("request") == "mine-1"], "its line in the log"
    )
    assert (line["user"], line["code"], line["route"]) == ("alice", 404, f"{JOBS}/{{job}}")
    told = json.dumps(gateway.lines())
    assert "hunter2" not in told
    assert bearer("alice")["Authorization"].split()[1] not in told
    assert "Traceback" not in told


def test_a_sigterm_ends_it_with_code_0(own_gateway: GatewayProcess) -> None:
    own_gateway.process.send_signal(signal.SIGTERM)
    assert own_gateway.process.wait(60) == 0
    assert own_gateway.lines()[-1]["event"] == "stopped"
