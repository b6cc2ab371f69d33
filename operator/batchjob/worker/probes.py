"""/healthz and /metrics over HTTP, from threads: a probe must answer even while the main loop is busy.

Each connection has a thread of its own and a time limit, since any pod may open one and say nothing: that must keep
neither the kubelet from its answer nor the worker from its end.
"""

import contextlib
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from batchjob.metrics import REGISTRIES, Process
from batchjob.worker.heartbeat import Pulse

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


SILENCE_SECONDS: Final = 5  # of a client, before its connection is closed


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # `server_close` waits for none of them


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def handle(self) -> None:
        """One request; a client that says nothing or goes away is not worth a traceback."""
        with contextlib.suppress(OSError):  # TimeoutError is one
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """A probe every few seconds is not worth a line."""


class Probes:
    """The probe server; `port` 0 takes a free one."""

    def __init__(self, pulse: Pulse, port: int) -> None:
        metrics = make_wsgi_app(REGISTRIES[Process.WORKER])

        def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            match environ.get("PATH_INFO"):
                case "/metrics":
                    found: Iterable[bytes] = metrics(environ, start_response)
                    return found
                case "/healthz" if pulse.is_alive:
                    start_response("200 OK", [("Content-Type", "text/plain")])
                    return [b"ok\n"]
                case "/healthz":
                    start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
                    return [b"the main loop is blocked for longer than an item may take\n"]
                case _:
                    start_response("404 Not Found", [("Content-Type", "text/plain")])
                    return [b"/healthz and /metrics\n"]

        self._server: WSGIServer = make_server("", port, answer, server_class=_Server, handler_class=_Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
