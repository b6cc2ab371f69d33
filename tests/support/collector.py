"""A collector of OpenTelemetry spans: what an exporter posts over HTTP, read back."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Told(NamedTuple):
    """A span."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str  # empty: none
    began: int  # nanoseconds since 1970
    ended: int
    attributes: dict[str, Any]
    error: str | None


class Collector:
    """Listens on loopback while its context lasts."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces", self.path
                sink.spans += read(self.rfile.read(int(self.headers["Content-Length"])), self.headers)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process send its spans here, soon."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def read(body: bytes, headers: Any) -> list[Told]:
    """The spans of a request."""
    assert headers["Content-Type"] == "application/x-protobuf"
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        _told(_values(group.resource.attributes)["service.name"], span)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _told(service: str, span: Any) -> Told:
    is_bad = span.status.code == span.status.STATUS_CODE_ERROR
    return Told(
        service,
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        span.status.message if is_bad else None,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
