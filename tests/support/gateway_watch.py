"""Somebody who submits a run over HTTP and watches it by WebSocket, while the gateways on the cluster are killed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from tests.support.kubectl import Kubectl, wait_until

PODS: Final = ("pods", "--selector", "app.kubernetes.io/component=gateway")


def client(port: int, token: str | None) -> httpx2.Client:
    """Who has this token, or nobody."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


@contextmanager
def watch(port: int, token: str, after: str | None = None) -> Iterator[ClientConnection]:
    """A WebSocket that has signed in by its first message, and heard that it is ready."""
    with connect(f"ws://127.0.0.1:{port}/ws" + (f"?after={after}" if after else ""), proxy=None) as socket:
        socket.send(json.dumps({"token": token}))
        assert json.loads(socket.recv(30))["type"] == "ready"
        yield socket


def heard(socket: ClientConnection, seconds: float) -> list[str]:
    """The types of what is said within so long, heartbeats left out."""
    found, ends = list[str](), time.monotonic() + seconds
    with suppress(TimeoutError):
        while True:
            found.append(json.loads(socket.recv(max(0.0, ends - time.monotonic())))["type"])
    return [kind for kind in found if kind != "heartbeat"]


def events_until_end(
    cluster: Kubectl, port: int, token: str, submit: Callable[[], str]
) -> tuple[str, list[dict[str, Any]]]:
    """A BatchJob that is submitted once somebody watches, and all its events.

    Under way the gateway's pods are killed, and who watches comes back with the last id.
    """
    found: list[dict[str, Any]] = []
    job, last, killed = "", None, False
    while not (found and found[-1]["type"] == "batch:complete"):
        try:
            with watch(port, token, last) as socket:
                job = job or submit()
                while not (found and found[-1]["type"] == "batch:complete"):
                    event = json.loads(socket.recv(120))
                    if "id" not in event:
                        assert event["type"] == "heartbeat"
                        continue
                    last = event["id"]
                    if event["jobId"] == job:
                        found.append(event)
                    if not killed and event["type"] == "batch:progress":
                        killed = True
                        cluster("delete", *PODS, "--grace-period=0", "--force", "--wait=false")
        except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
            assert killed, "nobody was killed, and it broke off"
            wait_until(lambda: answers(port), "a gateway to be there again")
    assert killed
    return job, found


def check_order(events: list[dict[str, Any]], items: int) -> None:
    """In order, without a gap, up to the end."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    processed = [event["data"]["processed"] for event in events if event["type"] == "batch:progress"]
    assert processed == sorted(processed)
    assert events[-1]["data"]["result"]["succeeded"] == items


def answers(port: int) -> bool:
    """Whether a gateway is ready."""
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=30).status_code == 200
    except httpx2.TransportError:
        return False
