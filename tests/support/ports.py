"""Ports for servers that are started a moment after theirs was chosen."""

import secrets
import socket
from typing import Final

# Below what Linux gives to connections and to `bind(0)` (from 32768 on), and below Kubernetes' node ports: what is free
# now is not somebody else's when the server comes to it, or when it is started again on the same port. That holds for
# the port 10,000 above too, on which a Redis of a cluster talks to the others: none of those is ever given. And above
# Kubernetes' own, which end at 10,259.
FIRST_PORT: Final = 11_000
PORTS: Final = 9_000

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on and that this process was not given before."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)  # not `random`: tests side by side have the same seed
        if port not in _given and _is_free(host, port):
            _given.add(port)
            return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
