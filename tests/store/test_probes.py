"""The worker's probe server: it answers and ends whatever its clients do."""

import socket
from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest

from batchjob.worker import probes
from batchjob.worker.heartbeat import Pulse
from batchjob.worker.probes import Probes


@pytest.fixture
def server() -> Iterator[Probes]:
    with closing(Probes(Pulse(60), 0)) as started:
        yield started


def get(server: Probes, path: str) -> tuple[int, str]:
    answer = httpx2.get(f"http://127.0.0.1:{server.port}{path}", trust_env=False, timeout=5)
    return answer.status_code, answer.text


def test_silent_clients_keep_neither_a_probe_from_its_answer_nor_the_server_from_its_end(server: Probes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)), socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/healthz") == (200, "ok\n")
        assert get(server, "/metrics")[0] == 200
        server.close()
    with pytest.raises(httpx2.ConnectError):
        get(server, "/healthz")


def test_a_client_that_says_nothing_is_hung_up_on(server: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes._Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as silent:
        assert silent.recv(1) == b""


def test_a_blocked_main_loop_is_told() -> None:
    with closing(Probes(Pulse(0), 0)) as server:
        assert get(server, "/healthz")[0] == 503
        assert get(server, "/")[0] == 404
