"""The S3 store: moto behind a layer that writes a row for each object stored and carries out faults.

Requests are served one at a time: moto's dictionaries are not made for threads, and a row must describe the object
that its own request stored. Objects live in memory and end with the process; the ledger does not.
"""

import io
import logging
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wsgi import get_input_stream

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .faults import Faults, Rule
    from .ledger import Ledger

SUBRESOURCES: Final = {"uploadId", "tagging", "acl", "retention", "legal-hold"}


class RecordingStore:
    """The WSGI application around moto."""

    def __init__(self, ledger: "Ledger", faults: "Faults") -> None:
        self._ledger = ledger
        self._faults = faults
        self._lock = threading.Lock()
        self._moto: WSGIApplication = create_backend_app("s3")

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        arrived, method = time.time(), environ["REQUEST_METHOD"]
        # The whole body first: an answer before it is read would reset the client's connection, and no other
        # request may wait for a slow sender.
        body = get_input_stream(environ).read()
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        # moto takes the first word of a host with dots, such as neighbours.demo.svc, for a bucket.
        environ["HTTP_HOST"] = "localhost"
        path = environ["PATH_INFO"].encode("latin-1").decode().lstrip("/")
        verdict = self._faults.decide(f"{method} {path}", f"{method} {path}")
        time.sleep(verdict.delay_seconds)
        if verdict.rule is not None:
            return _misbehave(verdict.rule, environ, start_response)
        if not _stores_an_object(method, path, environ["QUERY_STRING"]):
            with self._lock:
                return list(self._moto(environ, start_response))
        return self._store(arrived, path, environ, start_response)

    def _store(
        self, arrived: float, path: str, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        answered: list[tuple[str, list[tuple[str, str]]]] = []

        def hold_back(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
            answered.append((status, headers))

        with self._lock:
            body = list(self._moto(environ, hold_back))
            status, headers = answered[-1]
            bucket, _, key = path.partition("/")
            stored = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(bucket, key) if status < "3" else None
            if stored is not None:
                fields = {"bucket": bucket, "key": key, "size": stored.size, "etag": stored.etag}
                self._ledger.append(time=arrived, item=path, status=int(status.split()[0]), **fields)
        start_response(status, headers)
        return body


def serve_s3(host: str, port: int, buckets: Iterable[str], ledger: "Ledger", faults: "Faults") -> BaseWSGIServer:
    """Create the buckets and serve from a thread of its own until `shutdown()`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for bucket in buckets:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
    app = RecordingStore(ledger, faults)
    server = make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, name="s3", daemon=True).start()
    return server


def _stores_an_object(method: str, path: str, query_string: str) -> bool:
    query = parse_qs(query_string, keep_blank_values=True).keys()
    if "/" not in path.rstrip("/"):
        return False
    return "uploadId" in query if method == "POST" else method == "PUT" and not query & SUBRESOURCES


def _misbehave(rule: "Rule", environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    if rule.action == "disconnect":
        with suppress(OSError):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("a fault that a test asked for")
    headers = [("Content-Type", "application/xml")]
    if rule.retry_after is not None:
        headers.append(("Retry-After", str(rule.retry_after)))
    start_response(f"{rule.status} Fault", headers)
    return [b"<Error><Code>Fault</Code><Message>a fault that a test asked for</Message></Error>"]
